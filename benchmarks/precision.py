"""What the fast modes lose: their logits beside those of the exact mode, on the embedded model.

    python benchmarks/precision.py

Both modes read the same held-out conversations, prompts and answers; at every position of an
answer their next-token distributions are compared. The divergence is that of fast from exact.
"""

from dataclasses import dataclass, field
from random import Random

import numpy as np
from numpy.typing import NDArray

from motet.checkpoint import open_checkpoint
from motet.engine.native import Precision, native_model
from motet.nano import embedded_nano_path
from motet.training.conversations import make_example, make_situation
from motet.training.exercise import Split

CONVERSATIONS = 300
SEED = 600_000_000


def log_probabilities(logits: NDArray[np.float32]) -> NDArray[np.float64]:
    shifted = logits.astype(float) - logits.max(-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))


@dataclass
class Losses:
    """What a mode loses at each position: nats, whether the likeliest token stays, logit error."""

    divergence: list[NDArray[np.float64]] = field(default_factory=list)
    same: list[NDArray[np.bool_]] = field(default_factory=list)
    error: list[NDArray[np.float64]] = field(default_factory=list)

    def add(self, exact: NDArray[np.float32], fast: NDArray[np.float32]) -> None:
        """Take in the logits [positions, vocabulary] of an answer."""
        p, q = log_probabilities(exact), log_probabilities(fast)
        self.divergence.append((np.exp(p) * (p - q)).sum(-1))
        self.same.append(exact.argmax(-1) == fast.argmax(-1))
        centred = exact - exact.mean(-1, keepdims=True)
        difference = fast - exact
        difference -= difference.mean(-1, keepdims=True)
        self.error.append(np.linalg.norm(difference, axis=-1) / np.linalg.norm(centred, axis=-1))


def main() -> None:
    """Print one table."""
    checkpoint = open_checkpoint(embedded_nano_path())
    exact = native_model(checkpoint, precision="exact")
    modes: tuple[Precision, ...] = ("fast", "fast4")
    models = {name: native_model(checkpoint, precision=name) for name in modes}
    losses = {name: Losses() for name in modes}
    random = Random(SEED)
    for _ in range(CONVERSATIONS):
        situation = make_situation(random, checkpoint.vocabulary, Split.VALIDATION)
        example = make_example(situation, checkpoint.vocabulary)
        ids = np.array(example.ids[:-1], dtype=np.int32)
        own = np.array(example.learned[1:])
        wanted = exact.step([(exact.sequence(), ids, ids.size)])[own]
        for name, model in models.items():
            losses[name].add(wanted, model.step([(model.sequence(), ids, ids.size)])[own])
    positions = sum(each.size for each in losses["fast"].same)
    print(f"The embedded model, {positions:,} positions of {CONVERSATIONS} held-out answers\n")
    print("| beside exact | logit error, median | divergence (KL), nats | same likeliest token |")
    print("|---|--:|--:|--:|")
    for name, each in losses.items():
        divergence, same, error = map(np.concatenate, (each.divergence, each.same, each.error))
        print(f"| {name} | {np.median(error):.4f} | {divergence.mean():.5f} | {same.mean():.2%} |")


if __name__ == "__main__":
    main()
