"""The native engine's speed on the embedded model, beside transformers on the same weights.

    python benchmarks/engine.py

Both run on the same processors, in turns within one run; each figure is the median of several
rounds, and the ratio is what to read. The embedded model is tiny: this shows that the whole way is
quick enough for it, and nothing about gpt-oss-20b.
"""

import os
import statistics
import time
from collections.abc import Callable

import numpy as np
import torch
from transformers import GptOssForCausalLM

from motet.checkpoint import open_checkpoint
from motet.engine.native import native_model
from motet.nano import embedded_nano_path

ROUNDS = 7
PROMPT = 512
NEW_TOKENS = 64
PROCESSORS = len(os.sched_getaffinity(0))


class Motet:
    """Prompt and greedy continuation through the native model."""

    def __init__(self) -> None:
        self.model = native_model(
            open_checkpoint(embedded_nano_path()), precision="fast", threads=PROCESSORS
        )

    def run(self, prompts: np.ndarray) -> tuple[float, float]:
        """Seconds for the prompts [sequences, tokens] and for the new tokens."""
        sequences = [self.model.sequence() for _ in prompts]
        rows = list(prompts.astype(np.int32))
        started = time.perf_counter()
        logits = self.model.step([(s, row, 1) for s, row in zip(sequences, rows, strict=True)])
        filled = time.perf_counter()
        for _ in range(NEW_TOKENS):
            tokens = logits.argmax(-1).astype(np.int32)
            batch = [(s, tokens[i : i + 1], 1) for i, s in enumerate(sequences)]
            logits = self.model.step(batch)
        return filled - started, time.perf_counter() - filled


class Transformers:
    """The same through GptOssForCausalLM with its key-value cache, in float32."""

    def __init__(self) -> None:
        torch.set_num_threads(PROCESSORS)
        self.model = GptOssForCausalLM.from_pretrained(embedded_nano_path(), dtype=torch.float32)

    @torch.inference_mode()
    def run(self, prompts: np.ndarray) -> tuple[float, float]:
        """Seconds for the prompts [sequences, tokens] and for the new tokens."""
        ids = torch.from_numpy(prompts)
        started = time.perf_counter()
        output = self.model(ids, use_cache=True, logits_to_keep=1)
        filled = time.perf_counter()
        for _ in range(NEW_TOKENS):
            tokens = output.logits[:, -1:].argmax(-1)
            output = self.model(tokens, past_key_values=output.past_key_values, use_cache=True)
        return filled - started, time.perf_counter() - filled


def speeds(run: Callable[[np.ndarray], tuple[float, float]], prompts: np.ndarray) -> np.ndarray:
    """Tokens per second of prompt and of answer."""
    return np.array([prompts.size, len(prompts) * NEW_TOKENS]) / run(prompts)


def main() -> None:
    """Print one table."""
    engines = {"motet": Motet().run, "transformers": Transformers().run}
    vocabulary = open_checkpoint(embedded_nano_path()).config.vocabulary_size
    print(f"{PROCESSORS} threads, tokens per second, median of {ROUNDS} rounds\n")
    print("| sequences | phase | motet | transformers | ratio |")
    print("|---|---|---|---|---|")
    for count in (1, 8):
        prompts = np.random.default_rng(count).integers(0, vocabulary, (count, PROMPT))
        measured: dict[str, list[np.ndarray]] = {name: [] for name in engines}
        for round_ in range(ROUNDS + 1):
            for name, run in engines.items():
                figures = speeds(run, prompts)
                if round_:  # the first round warms up
                    measured[name].append(figures)
        for phase, label in enumerate((f"prompt of {PROMPT}", "answer")):
            ours, theirs = (
                statistics.median(figures[phase] for figures in measured[name]) for name in engines
            )
            print(f"| {count} | {label} | {ours:,.0f} | {theirs:,.0f} | {ours / theirs:.1f}× |")


if __name__ == "__main__":
    main()
