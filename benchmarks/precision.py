"""What the fast mode loses: its logits beside those of the exact mode, on the embedded model.

    python benchmarks/precision.py

Both modes read the same held-out conversations, prompts and answers; at every position of an
answer their next-token distributions are compared. The divergence is that of fast from exact.
"""

from random import Random

import numpy as np
from numpy.typing import NDArray

from motet.checkpoint import open_checkpoint
from motet.engine.native import native_model
from motet.nano import embedded_nano_path
from motet.training.conversations import make_example, make_situation
from motet.training.exercise import Split

CONVERSATIONS = 300
SEED = 600_000_000


def log_probabilities(logits: NDArray[np.float32]) -> NDArray[np.float64]:
    shifted = logits.astype(float) - logits.max(-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))


def main() -> None:
    """Print one table."""
    checkpoint = open_checkpoint(embedded_nano_path())
    models = {name: native_model(checkpoint, precision=name) for name in ("exact", "fast")}
    random = Random(SEED)
    divergence, same, error = [], [], []
    for _ in range(CONVERSATIONS):
        situation = make_situation(random, checkpoint.vocabulary, Split.VALIDATION)
        example = make_example(situation, checkpoint.vocabulary)
        ids = np.array(example.ids[:-1], dtype=np.int32)
        own = np.array(example.learned[1:])
        exact, fast = (
            model.step([(model.sequence(), ids, ids.size)])[own] for model in models.values()
        )
        p, q = log_probabilities(exact), log_probabilities(fast)
        divergence.append((np.exp(p) * (p - q)).sum(-1))
        same.append(exact.argmax(-1) == fast.argmax(-1))
        centred = exact - exact.mean(-1, keepdims=True)
        difference = fast - exact
        difference -= difference.mean(-1, keepdims=True)
        error.append(np.linalg.norm(difference, axis=-1) / np.linalg.norm(centred, axis=-1))
    all_divergence, all_same, all_error = map(np.concatenate, (divergence, same, error))
    print(f"The embedded model, {all_same.size:,} positions of {CONVERSATIONS} held-out answers\n")
    print("| fast beside exact | |")
    print("|---|--:|")
    print(f"| logit error, relative, median | {np.median(all_error):.4f} |")
    print(f"| divergence (KL), mean, nats | {all_divergence.mean():.5f} |")
    print(f"| same likeliest token | {all_same.mean():.2%} |")


if __name__ == "__main__":
    main()
