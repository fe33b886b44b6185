"""What the native engine gains by not reading the same beginning twice, and by guessing tokens.

    python benchmarks/serving.py [--threads N]

Both are measured on the embedded model, with and without in turns within one run; each figure is
the median of the rounds' ratios, and answers must be the same both ways. The embedded model is
tiny: for gpt-oss-20b reading a prompt costs more and a guessed token is dearer, and the engine
guesses as its own measurements allow.
"""

import argparse
import asyncio
import os
import random
import statistics
import time
from collections.abc import Awaitable, Callable
from contextlib import aclosing

from motet.checkpoint import open_checkpoint
from motet.engine import GenerationRequest, NativeEngine, SamplingParameters
from motet.harmony import Conversation, Message, ReasoningEffort, render_for_completion
from motet.nano import embedded_nano_path
from motet.training.conversations import make_situation
from motet.training.exercise import Split

ROUNDS = 5
QUESTIONS = 8
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


async def first_token(engine: NativeEngine, prompt: list[int]) -> tuple[float, int]:
    """Seconds until the first token has come, and how much of the prompt was known."""
    started = time.perf_counter()
    async with aclosing(engine.generate(GenerationRequest(prompt, GREEDY, 1))) as stream:
        piece = await anext(stream)
    return time.perf_counter() - started, piece.cached


async def answers(engine: NativeEngine, asked: list[list[int]], at_once: int) -> list[list[int]]:
    """The answers to all questions, so many at a time."""
    places = asyncio.Semaphore(at_once)

    async def answer(prompt: list[int]) -> list[int]:
        async with places:
            request = GenerationRequest(prompt, GREEDY, 700, VOCABULARY.stop_ids)
            return [token async for piece in engine.generate(request) for token in piece.tokens]

    return list(await asyncio.gather(*map(answer, asked)))


async def measure_cache(engine: NativeEngine, length: int) -> None:
    """A question behind an opening of so many tokens, known and unknown."""
    opening: list[int] = []
    while len(opening) < length:
        opening += prompts("lookup", 1)[0]
    question = render_for_completion(Conversation((Message.user("Sort 3, 1, 2."),)), VOCABULARY)
    prompt = opening[:length] + question
    ratios = []
    known = 0
    for _ in range(ROUNDS):
        engine.clear_cache()
        cold, _ = await first_token(engine, prompt)
        warm, known = await first_token(engine, prompt)
        ratios.append(cold / warm)
    print(f"| {length + len(question)} | {known} | {statistics.median(ratios):.1f}× |")


async def timed(action: Callable[[], Awaitable[list[list[int]]]]) -> tuple[float, list[list[int]]]:
    """Seconds and result."""
    started = time.perf_counter()
    result = await action()
    return time.perf_counter() - started, result


async def measure_guesses(task: str, at_once: int, threads: int) -> None:
    """The same questions with and without speculation, their prompts known both times."""
    asked = prompts(task, QUESTIONS)
    plain, guessing = (
        NativeEngine(CHECKPOINT, threads=threads, speculation=choice) for choice in (False, True)
    )
    ratios = []
    for round_ in range(ROUNDS + 1):
        without, expected = await timed(lambda: answers(plain, asked, at_once))
        seconds, got = await timed(lambda: answers(guessing, asked, at_once))
        if got != expected:
            raise SystemExit("guessing has changed an answer")
        if round_:  # the first round reads the prompts and learns the prices
            ratios.append(without / seconds)
    totals = guessing.statistics().totals
    right = totals.accepted_tokens / max(1, totals.drafted_tokens)
    share = totals.accepted_tokens / totals.generated_tokens
    print(
        f"| {task} | {at_once} | {right:.0%} | {share:.0%} | {statistics.median(ratios):.2f}× |",
        flush=True,
    )
    await plain.close()
    await guessing.close()


async def main(threads: int) -> None:
    """Print two tables."""
    print(f"{threads} threads, median of {ROUNDS} rounds\n")
    print("| prompt | of it known | first token sooner |\n|--:|--:|--:|")
    engine = NativeEngine(CHECKPOINT, threads=threads)
    for length in (128, 512, 2048):
        await measure_cache(engine, length)
    await engine.close()
    print(
        "\n| answers | at once | guesses right | of all tokens | quicker |\n|---|--:|--:|--:|--:|"
    )
    for task in TASKS:
        for at_once in (1, 8):
            await measure_guesses(task, at_once, threads)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    asyncio.run(main(parser.parse_args().threads))
