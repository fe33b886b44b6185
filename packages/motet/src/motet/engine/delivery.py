"""From the worker thread into the callers' event loops."""

import asyncio
from collections import defaultdict, deque
from collections.abc import Iterable
from typing import TypeAlias

from motet.engine.errors import EngineError
from motet.engine.request import GeneratedTokens

Output: TypeAlias = GeneratedTokens | EngineError


class Mailbox:
    """Where one caller waits for its outputs; belongs to the event loop it was made in.

    `abandoned` says that nobody will read any more.
    """

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.abandoned = False
        self._outputs: deque[Output] = deque()
        self._arrived = asyncio.Event()

    def put(self, output: Output) -> None:
        """Add an output; to be called in the mailbox's own loop."""
        self._outputs.append(output)
        self._arrived.set()

    async def next(self) -> GeneratedTokens:
        """All tokens that have arrived, once some have; raises an EngineError that comes first."""
        while not self._outputs:
            self._arrived.clear()
            await self._arrived.wait()
        first = self._outputs.popleft()
        if isinstance(first, EngineError):
            raise first
        while self._outputs and isinstance(later := self._outputs[0], GeneratedTokens):
            first += later
            self._outputs.popleft()
        return first


def deliver(outputs: Iterable[tuple[Mailbox, Output]]) -> None:
    """Put the outputs into their mailboxes, with one call into each event loop."""
    by_loop = defaultdict(list)
    for mailbox, output in outputs:
        by_loop[mailbox.loop].append((mailbox, output))
    for loop, letters in by_loop.items():
        try:
            loop.call_soon_threadsafe(_put, letters)
        except RuntimeError:  # the loop has been closed
            for mailbox, _ in letters:
                mailbox.abandoned = True


def _put(letters: list[tuple[Mailbox, Output]]) -> None:
    for mailbox, output in letters:
        mailbox.put(output)
