"""Measuring only while the machine's memory is fast.

A virtual machine's memory changes its speed by nearly a half within seconds, with where its host
puts the processors. Here a program's run begins when the memory is at a given speed, and is taken
again if it no longer is at the end, or was not in between, where the program measured it (in the
median, as Motet does and llama.cpp does not). How fast the program was is not looked at.
"""

import sys
import time
from collections.abc import Callable
from typing import Protocol, TypeVar

from motet.engine.benchmark import reading_speed

_SAMPLE = 0.5  # seconds of reading that tell the memory's speed
_PAUSE = 2.0  # seconds until the next look at a memory that is slow
_PATIENCE = 3600.0  # seconds for one run, with its waiting and its repetitions


class Run(Protocol):
    """What a program has measured: among it the memory's bytes a second, if it knows them."""

    @property
    def read_bytes(self) -> dict[str, float]: ...


Result = TypeVar("Result", bound=Run)


class SteadyMemory:
    """Takes runs again in which the memory was seen below `least` bytes a second.

    With `least` 0 all runs are taken as they are. `repeated` counts those taken again, `taken` the
    others.
    """

    def __init__(self, least: float, threads: int) -> None:
        self.least, self.threads = least, threads
        self.taken = self.repeated = 0

    def run(self, once: Callable[[], Result]) -> Result:
        """What `once` gives while the memory is fast; stops the program if it is not in an hour."""
        if not self.least:
            return once()
        end = time.monotonic() + _PATIENCE
        while True:
            self._wait(end)
            result = once()
            slowest = min([self._speed(), *result.read_bytes.values()])
            if slowest >= self.least:
                self.taken += 1
                return result
            self.repeated += 1
            print(f"  again, the memory fell to {slowest / 1e9:.0f} GB/s", file=sys.stderr)

    def _wait(self, end: float) -> None:
        announced = False
        while time.monotonic() < end:
            speed = self._speed()
            if speed >= self.least:
                return
            if not announced:
                print(f"  waiting for the memory, now at {speed / 1e9:.0f} GB/s", file=sys.stderr)
                announced = True
            time.sleep(_PAUSE)
        sys.exit(
            f"The memory did not stay at {self.least / 1e9:.0f} GB/s for one run within an hour:"
            " try when the machine is quieter, or ask for less with --memory."
        )

    def _speed(self) -> float:
        return reading_speed(self.threads, _SAMPLE)
