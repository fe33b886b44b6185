"""HTTP details every route shares: strict JSON in, safe JSON out, server-sent events, and an eye on
whether the client is still there.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Callable, Coroutine, Mapping
from contextlib import aclosing, suppress
from typing import Any, TypeVar

from fastapi import Request
from fastapi.responses import Response, StreamingResponse
from fastapi.routing import APIRoute
from starlette.types import Receive, Scope, Send

from motet.server.errors import ApiError, ClientGone, as_api_error
from motet.server.logs import logger

T = TypeVar("T")
Event = dict[str, Any]
SILENCE_SECONDS = 15.0  # a long prompt takes minutes on a small machine


class _StrictRequest(Request):
    async def json(self) -> Any:
        """The body; NaN and infinities, which JSON does not have, are refused."""
        try:
            return json.loads(await self.body(), parse_constant=_refuse)
        except json.JSONDecodeError:
            raise
        except (ValueError, RecursionError) as error:
            reason = str(error) if isinstance(error, ValueError) else "it is nested too deeply"
            raise json.JSONDecodeError(reason, "", 0) from error


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON number")


class strict_routes(APIRoute):  # noqa: N801  (used like an option)
    """Routes that read their bodies strictly."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The handler, with a request that reads strictly."""
        handler = super().get_route_handler()

        async def handle(request: Request) -> Response:
            strict = _StrictRequest(request.scope, request.receive)
            await strict.body()  # here its size can be complained about; below it could not
            return await handler(strict)

        return handle


def json_bytes(value: Any) -> bytes:
    """Compact JSON in UTF-8; half a surrogate pair, which no UTF-8 has, becomes a question mark."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return text.encode("utf-8", errors="replace")


def answer(value: Any, *, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """A JSON answer."""
    return Response(json_bytes(value), status, _safe(headers), "application/json")


def error_answer(error: BaseException) -> Response:
    """The answer that an error becomes."""
    api_error = as_api_error(error)
    return answer(api_error.body, status=api_error.status, headers=api_error.headers)


class _EventsResponse(StreamingResponse):
    """A stream that ends with its client.

    Starlette's own way of ending it is a cancel scope that cancels again and again, also what a
    generator awaits while it closes; then generations would not be closed in order.
    """

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with suppress(ClientGone):
            await while_connected(Request(scope, receive), self.stream_response(send))


def events_answer(
    events: AsyncGenerator[bytes, None], headers: Mapping[str, str] | None = None
) -> StreamingResponse:
    """A stream of server-sent events that no proxy should hold back."""
    plain = {"cache-control": "no-cache", "x-accel-buffering": "no"}
    return _EventsResponse(
        _kept_alive(events), headers=plain | _safe(headers), media_type="text/event-stream"
    )


async def _kept_alive(events: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes, None]:
    """The events, and a remark wherever none comes for a while: proxies give up on silence."""
    async with aclosing(events):
        while True:
            coming = asyncio.ensure_future(anext(events, None))
            try:
                while not (await asyncio.wait({coming}, timeout=SILENCE_SECONDS))[0]:
                    yield b": still working\n\n"
                if (event := coming.result()) is None:
                    return
                yield event
            finally:
                coming.cancel()
                await asyncio.wait({coming})


async def data_events(chunks: AsyncGenerator[Event, None]) -> AsyncGenerator[bytes, None]:
    """Chunks as events without names, an error as the last of them, `[DONE]` at the end."""
    try:
        async with aclosing(chunks):
            async for chunk in chunks:
                yield b"data: " + json_bytes(chunk) + b"\n\n"
    except Exception as error:
        api_error = logged(error)
        yield b"data: " + json_bytes(api_error.body) + b"\n\n"
    yield b"data: [DONE]\n\n"


async def named_events(events: AsyncGenerator[Event, None]) -> AsyncGenerator[bytes, None]:
    """Events under the names of their types, an error as the last of them."""
    number = -1
    try:
        async with aclosing(events):
            async for event in events:
                number = event["sequence_number"]
                yield _named(event)
    except Exception as error:
        api_error = logged(error)
        yield _named(
            {
                "type": "error",
                "sequence_number": number + 1,
                "code": api_error.code,
                "message": api_error.message,
                "param": api_error.param,
            }
        )


def _named(event: Event) -> bytes:
    return f"event: {event['type']}\ndata: ".encode() + json_bytes(event) + b"\n\n"


def logged(error: BaseException) -> ApiError:
    """The error as a client may see it; what nobody expected goes to the log."""
    api_error = as_api_error(error)
    if api_error.status >= 500:
        logger.error("a request failed", exc_info=error)
    return api_error


async def while_connected(request: Request, work: Coroutine[Any, Any, T]) -> T:
    """The result of `work`, which is cancelled when the client has gone. Raises ClientGone."""
    working = asyncio.ensure_future(work)
    leaving = asyncio.ensure_future(_disconnected(request))
    try:
        await asyncio.wait({working, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise ClientGone
        return working.result()
    finally:
        for task in (working, leaving):
            task.cancel()
        await asyncio.gather(working, leaving, return_exceptions=True)


async def _disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _safe(headers: Mapping[str, str] | None) -> dict[str, str]:
    """Headers hold Latin-1 alone, and no line breaks."""
    return {
        name: " ".join(value.encode("ascii", errors="replace").decode().split())
        for name, value in (headers or {}).items()
    }
