"""Feed random and mutated token sequences to the harmony parser and check that nothing is lost.

    python benchmarks/fuzz_parser.py --sequences 1000000 --seed 1

Each sequence is checked against the invariant of packages/motet/tests/harmony/parser_fuzz.py: no
exception; every byte written or put in is in exactly one message or was left out by exactly one
repair; every message can be rendered and is read back as it is. A run prints one line and is the
same for the same seed; a sequence that fails is printed with what it takes to repeat it. With
`--jobs` the sequences are divided among processes, the seed counted up by one for each.
"""

import argparse
import sys
import time
import traceback
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "packages/motet/tests/harmony"))

from parser_fuzz import Sequences, check

SHOWN = 10


@dataclass(frozen=True)
class Outcome:
    """What a number of sequences came to; `failures` tells of the first ones."""

    sequences: int
    tokens: int
    repairs: int
    messages: int
    exceptions: int
    violations: int
    failures: tuple[str, ...]


def run(seed: int, count: int) -> Outcome:
    """Check `count` sequences."""
    source = Sequences(seed)
    tokens_read = repairs = messages = exceptions = violations = 0
    failures: list[str] = []
    for number in range(count):
        tokens, role, tools = source.one()
        tokens_read += len(tokens)
        try:
            parser = check(tokens, source.vocabulary, role, tools)
            repairs += len(parser.repairs)
            messages += len(parser.messages)
        except Exception as error:
            violations += isinstance(error, AssertionError)
            exceptions += not isinstance(error, AssertionError)
            if len(failures) < SHOWN:
                failures.append(_failure(seed, number, tokens, error))
    return Outcome(count, tokens_read, repairs, messages, exceptions, violations, tuple(failures))


def _failure(seed: int, number: int, tokens: Sequence[int], error: Exception) -> str:
    place = traceback.extract_tb(error.__traceback__)[-1]
    return f"seed {seed}, sequence {number}, {place.name}: {error!r:.200}\n  {list(tokens)}"


def main() -> int:
    """Run, print one line, and return 1 if anything failed."""
    options = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    options.add_argument("--sequences", type=int, default=1_000_000)
    options.add_argument("--seed", type=int, default=1)
    options.add_argument("--jobs", type=int, default=1)
    chosen = options.parse_args()
    seeds = range(chosen.seed, chosen.seed + chosen.jobs)
    each = [len(range(job, chosen.sequences, chosen.jobs)) for job in range(chosen.jobs)]
    started = time.perf_counter()
    if chosen.jobs == 1:
        outcomes = [run(chosen.seed, chosen.sequences)]
    else:
        with ProcessPoolExecutor(chosen.jobs) as pool:
            outcomes = list(pool.map(run, seeds, each))
    for failure in (failure for outcome in outcomes for failure in outcome.failures):
        print(failure, file=sys.stderr)

    def total(name: str) -> int:
        return sum(getattr(outcome, name) for outcome in outcomes)

    print(
        f"{total('sequences'):,} sequences of {total('tokens'):,} tokens, seed {chosen.seed}: "
        f"{total('messages'):,} messages, {total('repairs'):,} repairs, "
        f"{total('exceptions'):,} exceptions, {total('violations'):,} violations of the account, "
        f"{time.perf_counter() - started:.0f} s"
    )
    return int(total("exceptions") + total("violations") > 0)


if __name__ == "__main__":
    sys.exit(main())
