"""Measure the nano model with Motet's own engine and write the table into its model card.

`python -m motet.training.evaluate_nano` asks held-out problems in fresh surroundings: per task and
effort `--prompts` at temperature 0 and `--samples` at temperature 1.0, held to the grammar of the
turn as every command of Motet holds it, and again freely. Answers are graded exactly; one counts
only if its harmony needs no repair.
"""

from __future__ import annotations

import argparse
import asyncio
from dataclasses import dataclass
from pathlib import Path
from random import Random

from motet.checkpoint import open_checkpoint
from motet.engine import GenerationRequest, NativeEngine, SamplingParameters
from motet.harmony import Conversation, ReasoningEffort, Vocabulary, render_for_completion
from motet.harmony.grammar import TurnGrammar, compile_turn
from motet.nano import embedded_nano_path
from motet.training.conversations import Situation, make_situation, result_ids
from motet.training.exercise import Split
from motet.training.grading import is_right_answer, is_right_call, is_well_formed
from motet.training.tasks import TASKS

SEED = 500_000_000
MAXIMUM_TOKENS = 700
CONCURRENT = 32
BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"


@dataclass(frozen=True)
class Outcome:
    """How one situation went."""

    right: bool
    well_formed: bool


@dataclass(frozen=True)
class Shares:
    """How many outcomes were right and how many well-formed, in percent."""

    right: float
    well_formed: float


@dataclass(frozen=True)
class Row:
    """The shares over all situations of one task and effort."""

    task: str
    effort: ReasoningEffort
    held: Shares
    held_sampled: Shares
    free: Shares
    free_sampled: Shares


class Examiner:
    """Puts situations to one engine."""

    def __init__(self, engine: NativeEngine, vocabulary: Vocabulary) -> None:
        self._engine, self._vocabulary = engine, vocabulary
        self._places = asyncio.Semaphore(CONCURRENT)

    async def examine(
        self, situation: Situation, sampling: SamplingParameters, *, held: bool
    ) -> Outcome:
        """Let the model answer, with the function's result if it called the right one.

        `held`: to the grammar of the turn.
        """
        vocabulary, exercise = self._vocabulary, situation.exercise
        conversation = Conversation(situation.messages)
        async with self._places:
            grammar = compile_turn(vocabulary, conversation) if held else None
            prompt = render_for_completion(conversation, vocabulary)
            answer = await self._complete(prompt, sampling, grammar)
            well_formed = is_well_formed(answer, vocabulary)
            if exercise.call:
                if not is_right_call(answer, exercise.call, vocabulary):
                    return Outcome(False, well_formed)
                prompt = [*prompt, *answer, *result_ids(exercise.call, vocabulary)]
                answer = await self._complete(prompt, sampling, grammar)
                well_formed = well_formed and is_well_formed(answer, vocabulary)
            return Outcome(is_right_answer(answer, exercise, vocabulary), well_formed)

    async def _complete(
        self, prompt: list[int], sampling: SamplingParameters, grammar: TurnGrammar | None
    ) -> list[int]:
        request = GenerationRequest(
            prompt,
            sampling,
            MAXIMUM_TOKENS,
            self._vocabulary.stop_ids,
            constraint=grammar.constraint(MAXIMUM_TOKENS) if grammar else None,
        )
        return [token async for part in self._engine.generate(request) for token in part.tokens]


async def measure(
    examiner: Examiner,
    vocabulary: Vocabulary,
    task: str,
    effort: ReasoningEffort,
    prompts: int,
    samples: int,
) -> Row:
    """The row of one task and effort."""
    random = Random(f"{SEED} {task} {effort}")
    situations = [
        make_situation(random, vocabulary, Split.VALIDATION, task, effort) for _ in range(prompts)
    ]
    greedy = [SamplingParameters(temperature=0)] * prompts
    drawn = [SamplingParameters(temperature=1.0, seed=SEED + index) for index in range(samples)]

    async def shares(sampling: list[SamplingParameters], *, held: bool) -> Shares:
        pairs = zip(situations, sampling, strict=False)
        return _shares(
            await asyncio.gather(*(examiner.examine(*pair, held=held) for pair in pairs))
        )

    return Row(
        task,
        effort,
        held=await shares(greedy, held=True),
        held_sampled=await shares(drawn, held=True),
        free=await shares(greedy, held=False),
        free_sampled=await shares(drawn, held=False),
    )


def table(rows: list[Row], prompts: int, samples: int) -> str:
    """The rows in Markdown."""
    head = (
        f"Held-out problems through Motet's engine, {prompts} prompts per row at temperature 0,\n"
        f"{samples} at 1.0, held to the grammar of the turn, as in every command, and freely. All\n"
        "numbers in percent.\n\n"
        "| | | held | | at 1.0 | | free | | at 1.0 | |\n"
        "|---|---|--:|--:|--:|--:|--:|--:|--:|--:|\n"
        f"| task | effort |{' right | well-formed |' * 4}\n"
    )
    return head + "".join(map(_line, rows))


def _line(row: Row) -> str:
    kinds = (row.held, row.held_sampled, row.free, row.free_sampled)
    cells = [f"{share:.1f}" for each in kinds for share in (each.right, each.well_formed)]
    return f"| {row.task} | {row.effort} | {' | '.join(cells)} |\n"


def write_between_markers(path: Path, text: str) -> None:
    """Replace what stands between the two markers of a Markdown file."""
    before, _, rest = path.read_text(encoding="utf-8").partition(BEGIN)
    _, _, after = rest.partition(END)
    path.write_text(f"{before}{BEGIN}\n{text}{END}{after}", encoding="utf-8")


def _shares(outcomes: list[Outcome]) -> Shares:
    count = max(1, len(outcomes))
    return Shares(
        right=100 * sum(each.right for each in outcomes) / count,
        well_formed=100 * sum(each.well_formed for each in outcomes) / count,
    )


async def _main(arguments: argparse.Namespace) -> None:
    checkpoint = open_checkpoint(arguments.model)
    engine = NativeEngine(checkpoint, threads=arguments.threads)
    examiner, rows = Examiner(engine, checkpoint.vocabulary), []
    for task in arguments.tasks:
        for effort in reversed(ReasoningEffort):
            rows.append(
                await measure(
                    examiner,
                    checkpoint.vocabulary,
                    task,
                    effort,
                    arguments.prompts,
                    arguments.samples,
                )
            )
            print(rows[-1], flush=True)
    await engine.close()
    text = table(rows, arguments.prompts, arguments.samples)
    print(text)
    if arguments.card:
        write_between_markers(arguments.card, text)


def main() -> None:
    """Read the options and measure."""
    model = embedded_nano_path()
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--model", type=Path, default=model, help="a checkpoint folder")
    add("--prompts", type=int, default=500, help="per task and effort, at temperature 0")
    add("--samples", type=int, default=150, help="per task and effort, at temperature 1.0")
    add("--tasks", nargs="+", default=list(TASKS), choices=list(TASKS))
    add("--threads", type=int, default=None)
    add("--card", type=Path, default=model.parent / "MODEL_CARD.md", help="gets the table")
    add("--no-card", dest="card", action="store_const", const=None, help="print the table only")
    asyncio.run(_main(parser.parse_args()))


if __name__ == "__main__":
    main()
