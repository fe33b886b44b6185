"""From the worker thread into the callers' event loops."""

import asyncio
from collections import defaultdict
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
        self.outputs: asyncio.Queue[Output] = asyncio.Queue()
        self.abandoned = False

    async def next(self) -> GeneratedTokens:
        """Everything that has arrived, once something has; raises an EngineError that arrived."""
        generated = _tokens(await self.outputs.get())
        while not generated.finish and not self.outputs.empty():
            generated += _tokens(self.outputs.get_nowait())
        return generated


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
        mailbox.outputs.put_nowait(output)


def _tokens(output: Output) -> GeneratedTokens:
    if isinstance(output, EngineError):
        raise output
    return output
