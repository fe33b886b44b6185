"""Responses while they are made: in the foreground for one reader, or in the background for any.

A response in the background goes on when its client has gone, can be cancelled, and keeps its
events so that a reader may begin again after the last one it has seen. Those of the last finished
ones stay for a while; the response itself is in the store by then.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

from motet.agent import Turn
from motet.harmony import HarmonyEvent
from motet.server.errors import ApiError
from motet.server.http import logged
from motet.server.responses.events import Event, ResponseStream

UNFINISHED = ("queued", "in_progress")
_KEPT_EVENTS = 50_000  # of all that have ended; a token or two make one of half a kilobyte


@dataclass(frozen=True)
class Making:
    """A turn and the response it becomes; `keep` stores both once they are over."""

    turn: Turn
    stream: ResponseStream
    keep: Callable[[], Awaitable[None]]

    async def events(
        self, harmony: AsyncGenerator[HarmonyEvent, None]
    ) -> AsyncGenerator[Event, None]:
        """The events of the response, from the events of its turn."""
        for event in self.stream.begin():
            yield event
        try:
            async with aclosing(harmony):
                async for said in harmony:
                    for event in self.stream.feed(said):
                        yield event
            last = self.stream.finish(self.turn)
        except Exception as error:
            last = self.stream.fail(self.turn, logged(error))
        await self.keep()
        for event in last:
            yield event


class Run:
    """A response in the background; `is_over` once nothing more will come."""

    def __init__(
        self, owner: str, making: Making, harmony: AsyncGenerator[HarmonyEvent, None]
    ) -> None:
        self.owner = owner
        self._making = making
        self._events: list[Event] = []
        self._grown = asyncio.Event()
        self._ending = asyncio.Lock()  # may be cancelled by several at once
        self.is_over = False
        self._task = asyncio.create_task(self._work(harmony))

    @property
    def response(self) -> dict[str, Any]:
        """What the response is now."""
        return self._making.stream.response

    @property
    def size(self) -> int:
        """How many events it keeps."""
        return len(self._events)

    async def follow(self, after: int | None = None) -> AsyncGenerator[Event, None]:
        """The events behind the one with the number `after`, to the end."""
        position = 0 if after is None else after + 1
        while True:
            while position < len(self._events):
                yield self._events[position]
                position += 1
            if self.is_over:
                return
            await self._grown.wait()

    async def cancel(self) -> None:
        """End it now, unless it is being stored already, and wait until it has ended."""
        async with self._ending:
            if self.response["status"] in UNFINISHED:
                self._task.cancel()
            await asyncio.wait({self._task})
            if self.is_over:
                return
            for event in self._making.stream.cancel(self._making.turn):
                self._add(event)
            try:
                await self._making.keep()
            finally:
                self._end()

    async def wait(self, seconds: float) -> None:
        """Wait for its end, so long at the most."""
        await asyncio.wait({self._task}, timeout=seconds)

    async def _work(self, harmony: AsyncGenerator[HarmonyEvent, None]) -> None:
        try:
            async with aclosing(self._making.events(harmony)) as events:
                async for event in events:
                    self._add(event)
        except Exception as error:
            logged(error)
        self._end()

    def _add(self, event: Event) -> None:
        self._events.append(event)
        self._grown.set()
        self._grown = asyncio.Event()

    def _end(self) -> None:
        self.is_over = True
        self._grown.set()


class Runs:
    """All responses in the background, the last finished ones included."""

    def __init__(self) -> None:
        self._runs: dict[str, Run] = {}

    def start(self, owner: str, making: Making, harmony: AsyncGenerator[HarmonyEvent, None]) -> Run:
        """Begin to make a response in the background."""
        self._forget_oldest()
        run = Run(owner, making, harmony)
        self._runs[run.response["id"]] = run
        return run

    def get(self, owner: str, response_id: str) -> Run | None:
        """A run by the id of its response, if it is there and belongs to the owner."""
        run = self._runs.get(response_id)
        return run if run and run.owner == owner else None

    def forget(self, response_id: str) -> None:
        """Let a run's events go."""
        self._runs.pop(response_id, None)

    def _forget_oldest(self) -> None:
        finished = [(name, run.size) for name, run in self._runs.items() if run.is_over]
        excess = sum(size for _, size in finished) - _KEPT_EVENTS
        for name, size in finished:
            if excess <= 0:
                return
            del self._runs[name]
            excess -= size

    async def drain(self, seconds: float) -> None:
        """Give the runs so long to end, then cancel them."""
        running = [run for run in self._runs.values() if not run.is_over]
        await asyncio.gather(*(run.wait(seconds) for run in running))
        cancelled = (run.cancel() for run in running if not run.is_over)
        for failed in await asyncio.gather(*cancelled, return_exceptions=True):
            if isinstance(failed, Exception):
                logged(failed)


def not_in_background(response_id: str) -> ApiError:
    """Only what runs in the background can be cancelled."""
    return ApiError(
        f"{response_id} was not made in the background; to cancel it, close the connection.",
        param="response_id",
    )
