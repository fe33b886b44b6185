"""Measuring a model on the native engine, beside what the machine allows.

Each figure is the median of several rounds. The limit of a round is the larger of two times: to
read the bytes it needs at the memory's speed, and to compute its operations at the arithmetic
units' speed. Shared machines have a memory that changes its speed by half within a minute, so it is
measured before and after every round, and the mean counts; in a process of its own, so that what is
read does not count as the model's memory. Contexts are made of zeros: what attention costs does not
depend on what was said.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from motet import _native
from motet.checkpoint import ModelConfig
from motet.engine.cost import StepCost, step_cost
from motet.engine.errors import EngineError
from motet.engine.native import Precision
from motet.engine.processors import available_processors

# Many times what caches hold, or the part that they hold would show.
_MEMORY_BYTES = 1 << 30
_SECONDS = 1.0  # for each limit of the machine
_BETWEEN_ROUNDS = 0.3  # seconds for the memory's speed
_DECODED = 16  # tokens in a round of decoding


@dataclass(frozen=True)
class Machine:
    """Operations and bytes a second, with `threads` threads."""

    threads: int
    float_operations: float
    int8_operations: float
    read_bytes: float

    def limit(self, cost: StepCost, precision: Precision) -> float:
        """Seconds that a step of this cost takes at least."""
        peak = self.float_operations if precision == "exact" else self.int8_operations
        return max(cost.bytes / self.read_bytes, cost.operations / peak)


@dataclass(frozen=True)
class Phase:
    """One thing to measure: sequences that each read `tokens` at a context of `depth`."""

    name: str
    sequences: int = 1
    tokens: int = 1
    depth: int = 0


@dataclass(frozen=True)
class Figure:
    """The speed of a phase in tokens a second, all sequences together, and the machine's limit."""

    phase: Phase
    cost: StepCost
    tokens_per_second: float
    limit: float
    share: float  # of the limit that is reached, round by round
    read_bytes: float  # of memory in a second, before and after the rounds

    @property
    def operations_per_second(self) -> float:
        """Multiplications and additions that the step asks for, as quick as they were done."""
        tokens = self.phase.sequences * self.phase.tokens
        return self.cost.operations * self.tokens_per_second / tokens


def measure_machine(threads: int | None = None) -> Machine:
    """What this machine can do at best with so many threads."""
    threads = threads or available_processors()
    arithmetic = _native.arithmetic_speed(threads, _SECONDS)
    return Machine(threads, *arithmetic, reading_speed(threads, _SECONDS))


def phases(
    prompts: Sequence[int], depths: Sequence[int], batches: Sequence[int]
) -> Iterator[Phase]:
    """Prompts of these lengths, answers at these depths of context, and in these batches."""
    for tokens in prompts:
        yield Phase(f"prompt {tokens}", tokens=tokens)
    for depth in depths:
        yield Phase(f"answer at {depth}", depth=depth)
    for count in batches:
        yield Phase(f"batch {count}", sequences=count)


def measure(
    model: _native.Model,
    config: ModelConfig,
    phase: Phase,
    machine: Machine,
    precision: Precision,
    rounds: int,
) -> Figure:
    """Run one phase `rounds` times, after one round that does not count.

    In between the weights are brought into large pages, as an engine does when it is idle. What
    comes from the disk for that is slow when it is first read, where the machine is a virtual one.
    """
    run = _decoding if phase.tokens == 1 else _prefill
    cost = step_cost(
        config,
        sequences=phase.sequences,
        tokens=phase.tokens,
        depth=phase.depth,
        precision=precision,
    )
    run(model, config, phase)
    if model.bring_large_pages():
        while model.bring_large_pages():
            pass
        run(model, config, phase)
    seconds, limits, speeds = [], [], []
    before = reading_speed(machine.threads, _BETWEEN_ROUNDS)
    for _ in range(rounds):
        seconds.append(run(model, config, phase))
        after = reading_speed(machine.threads, _BETWEEN_ROUNDS)
        speeds.append((before + after) / 2)
        limits.append(replace(machine, read_bytes=speeds[-1]).limit(cost, precision))
        before = after
    shares = [limit / spent for limit, spent in zip(limits, seconds, strict=True)]
    tokens = phase.sequences * phase.tokens
    return Figure(
        phase,
        cost,
        tokens / statistics.median(seconds),
        tokens / statistics.median(limits),
        statistics.median(shares),
        statistics.median(speeds),
    )


def reading_speed(threads: int, seconds: float) -> float:
    """Bytes of memory a second with so many threads, on average over so long.

    Raises:
        EngineError: if there is no room for what is read.
    """
    program = (
        f"from motet import _native; print(_native.reading_speed{threads, _MEMORY_BYTES, seconds})"
    )
    measured = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    if measured.returncode != 0:
        reason = (measured.stderr.splitlines() or [f"exit code {measured.returncode}"])[-1]
        raise EngineError(
            f"The memory's speed could not be measured, for which {_MEMORY_BYTES >> 30} GiB of it"
            f" must be free: {reason}"
        )
    return float(measured.stdout)


def _prefill(model: _native.Model, config: ModelConfig, phase: Phase) -> float:
    random = np.random.default_rng(phase.tokens)
    sequence = model.sequence()
    sequence.skip(phase.depth)
    tokens = random.integers(0, config.vocabulary_size, phase.tokens, dtype=np.int32)
    return _seconds(lambda: model.step([(sequence, tokens, 1)]))


def _decoding(model: _native.Model, config: ModelConfig, phase: Phase) -> float:
    """Seconds of one step, on average over a few: every one meets other experts."""
    random = np.random.default_rng(phase.sequences)
    sequences = [model.sequence() for _ in range(phase.sequences)]
    for sequence in sequences:
        sequence.skip(phase.depth)
    shape = (_DECODED, phase.sequences, 1)
    steps = random.integers(0, config.vocabulary_size, shape, dtype=np.int32)

    def decode() -> None:
        for tokens in steps:
            model.step([(*pair, 1) for pair in zip(sequences, tokens, strict=True)])

    return _seconds(decode) / _DECODED


def _seconds(action: Callable[[], object]) -> float:
    started = time.perf_counter()
    action()
    return time.perf_counter() - started
