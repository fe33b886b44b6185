"""What the native engine gains by guessing tokens.

    python benchmarks/speculation.py [--large]

Two tables. What a step takes with more rows, which decides what a guessed token costs: the shortest
of several steps on one thread, of the embedded model or (`--large`, 4 GB of memory) of random
weights in the shape of gpt-oss-20b with 4 layers and a sixth of the vocabulary. And the processor
time of answers without speculation over that with it, on one thread, so that other work on the
machine does not count; the answers must be the same.
"""

import argparse
import asyncio
import random
import statistics
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

from motet.checkpoint import Checkpoint, open_checkpoint
from motet.checkpoint.random import random_tensors
from motet.engine import GenerationRequest, NativeEngine, SamplingParameters
from motet.engine.native import native_model
from motet.harmony import Conversation, ReasoningEffort, render_for_completion
from motet.nano import embedded_nano_path
from motet.training.conversations import make_situation
from motet.training.exercise import Split

ROUNDS = 5
QUESTIONS = 8
STEPS = 20
ROWS = (1, 2, 3, 5, 9)
CHECKPOINT = open_checkpoint(embedded_nano_path())
VOCABULARY = CHECKPOINT.vocabulary
GREEDY = SamplingParameters(temperature=0)
TASKS = ("ordering", "letters", "arithmetic", "lookup")


def prompts(task: str, count: int) -> list[list[int]]:
    """Held-out questions at high effort."""
    choose = random.Random(task)
    situations = [
        make_situation(choose, VOCABULARY, Split.VALIDATION, task, ReasoningEffort.HIGH)
        for _ in range(count)
    ]
    return [render_for_completion(Conversation(each.messages), VOCABULARY) for each in situations]


async def answers(engine: NativeEngine, asked: list[list[int]], at_once: int) -> list[list[int]]:
    """The answers to all questions, so many at a time."""
    places = asyncio.Semaphore(at_once)

    async def answer(prompt: list[int]) -> list[int]:
        async with places:
            request = GenerationRequest(prompt, GREEDY, 700, VOCABULARY.stop_ids)
            return [token async for piece in engine.generate(request) for token in piece.tokens]

    return list(await asyncio.gather(*map(answer, asked)))


def measure_rows(checkpoint: Checkpoint) -> None:
    """Steps of a sequence that reads one token more, or several."""
    model = native_model(checkpoint, precision="fast", threads=1)
    sequence = model.sequence()
    sequence.skip(300)
    choose = np.random.default_rng(0)
    shortest = dict.fromkeys(ROWS, float("inf"))
    for _ in range(STEPS):
        for rows in ROWS:
            tokens = choose.integers(0, checkpoint.config.vocabulary_size, rows, dtype=np.int32)
            started = time.perf_counter()
            model.step([(sequence, tokens, rows)])
            shortest[rows] = min(shortest[rows], time.perf_counter() - started)
            sequence.truncate(300)
    for rows, seconds in shortest.items():
        print(f"| {rows} | {seconds * 1e3:.2f} | {seconds / shortest[1]:.2f}× |")


def large_checkpoint() -> Checkpoint:
    """The shape of gpt-oss-20b with fewer layers and tokens in the same proportion."""
    config = replace(
        CHECKPOINT.config,
        layers=4,
        hidden_size=2880,
        intermediate_size=2880,
        experts=32,
        experts_per_token=4,
        attention_heads=64,
        key_value_heads=8,
        vocabulary_size=201_088 // 6,
    )
    tensors = {tensor.name: tensor for tensor in random_tensors(config, 0)}
    return Checkpoint(Path("random"), "huggingface", (), config, tensors, None)


async def measure_guesses(task: str, at_once: int) -> None:
    """The same questions with and without speculation, their prompts known both times."""
    asked = prompts(task, QUESTIONS)
    plain, guessing = (
        NativeEngine(CHECKPOINT, threads=1, speculation=choice) for choice in (False, True)
    )
    ratios = []
    for round_ in range(ROUNDS + 1):
        started = time.process_time()
        expected = await answers(plain, asked, at_once)
        between = time.process_time()
        if await answers(guessing, asked, at_once) != expected:
            raise SystemExit("guessing has changed an answer")
        if round_:  # the first round reads the prompts and learns the prices
            ratios.append((between - started) / (time.process_time() - between))
    totals = guessing.statistics().totals
    right = totals.accepted_tokens / max(1, totals.drafted_tokens)
    share = totals.accepted_tokens / totals.generated_tokens
    print(f"| {task} | {at_once} | {right:.0%} | {share:.0%} | {statistics.median(ratios):.2f}× |")
    await plain.close()
    await guessing.close()


async def main(large: bool) -> None:
    """Print two tables."""
    print("| rows in a step | ms | beside one |\n|--:|--:|--:|")
    measure_rows(large_checkpoint() if large else CHECKPOINT)
    print("\n| answers | at once | guesses right | of all tokens | less processor time |")
    print("|---|--:|--:|--:|--:|")
    for task in TASKS:
        for at_once in (1, 8):
            await measure_guesses(task, at_once)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--large", action="store_true")
    asyncio.run(main(parser.parse_args().large))
