"""One server: a stream of tokens from it, how busy it is, and whether it is well.

A stream is one HTTP request. Closing it closes the connection, by which the server learns that
nobody wants the rest. What goes wrong before the first token is `Unavailable` if the same request
may succeed later; after the first token every failure is final, for a second answer would not
continue the first.
"""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from time import monotonic
from typing import Any

import httpx

from motet.engine.errors import EngineError
from motet.engine.remote.dialect import Dialect, Reader
from motet.engine.remote.events import streamed_events
from motet.engine.remote.server import ServerInfo, TimeLimits, Unavailable, error_message
from motet.engine.request import GeneratedTokens, GenerationRequest

_TRY_AGAIN = frozenset((429, 502, 503, 504))
_BUSY = 429
_FIRST_REST = 0.5  # seconds a server that failed is left alone, doubling with each failure
_LONGEST_REST = 30.0


class Backend:
    """A server that gives tokens.

    `live` counts its streams, `started` all there ever were. It belongs to the event loop it is
    first used in.
    """

    def __init__(
        self, info: ServerInfo, dialect: Dialect, limits: TimeLimits, headers: dict[str, str]
    ) -> None:
        self.info = info
        self.live = 0
        self.started = 0
        self._dialect = dialect
        self._limits = limits
        self._headers = headers
        self._client: httpx.AsyncClient | None = None
        self._failures = 0
        self._rests_until = 0.0

    @property
    def rest(self) -> float:
        """Seconds for which it is better left alone; 0 if it is well."""
        return max(0.0, self._rests_until - monotonic())

    async def stream(
        self, request: GenerationRequest, maximum_tokens: int
    ) -> AsyncGenerator[GeneratedTokens, None]:
        """The continuation, in pieces of which the last has a `finish`.

        Raises Unavailable before the first piece and EngineError at any time; both name the server.
        """
        body = self._dialect.body(request, maximum_tokens)
        self.live += 1
        self.started += 1
        begun = False
        try:
            async with aclosing(self._pieces(body, self._dialect.reader(request))) as pieces:
                async for piece in pieces:
                    begun = True
                    self._failures = 0
                    yield piece
        except Unavailable as error:
            self._note_failure(error)
            raise
        except httpx.HTTPError as error:
            what = _named(error)
            self._note_failure(error)
            if not begun:
                raise Unavailable(f"{self.info.url} cannot be reached: {what}") from error
            raise EngineError(f"{self.info.url} broke off in the middle: {what}") from error
        except TimeoutError as error:
            self._note_failure(error)
            raise EngineError(self._too_slow(begun)) from error
        except EngineError as error:
            raise EngineError(f"{self.info.url} failed: {error}") from error
        finally:
            self.live -= 1

    async def close(self) -> None:
        """Close all connections."""
        if self._client:
            await self._client.aclose()

    async def _pieces(
        self, body: dict[str, Any], reader: Reader
    ) -> AsyncGenerator[GeneratedTokens, None]:
        deadline = asyncio.get_running_loop().time() + self._limits.first_token
        async with asyncio.timeout_at(deadline):
            response = await self._opened(body)
        try:
            async with aclosing(streamed_events(response.aiter_bytes())) as events:
                while True:
                    async with asyncio.timeout_at(deadline):
                        piece = await _next_piece(events, reader)
                    yield piece
                    if piece.finish:
                        return
                    deadline = asyncio.get_running_loop().time() + self._limits.between_tokens
        finally:
            await response.aclose()

    async def _opened(self, body: dict[str, Any]) -> httpx.Response:
        """The response to a request that was accepted."""
        client = self._client = self._client or self._new_client()
        request = client.build_request("POST", self.info.url + self._dialect.path, json=body)
        response = await client.send(request, stream=True)
        if response.status_code == httpx.codes.OK:
            return response
        try:
            await response.aread()
        finally:
            await response.aclose()
        raise refusal(response)

    def _new_client(self) -> httpx.AsyncClient:
        return httpx.AsyncClient(
            headers=self._headers,
            timeout=httpx.Timeout(None, connect=self._limits.connect),
            limits=httpx.Limits(max_connections=None, max_keepalive_connections=20),
        )

    def _note_failure(self, error: Exception) -> None:
        """Leave the server alone for a while; one that is only busy is as well as before."""
        rest = _FIRST_REST
        if isinstance(error, Unavailable):
            rest = max(rest, error.retry_after)
        if not (isinstance(error, Unavailable) and error.is_busy):
            rest = max(rest, _FIRST_REST * 2**self._failures)
            self._failures = min(self._failures + 1, 10)
        self._rests_until = monotonic() + min(rest, _LONGEST_REST)

    def _too_slow(self, begun: bool) -> str:
        if begun:
            seconds = self._limits.between_tokens
            return f"{self.info.url} fell silent in the middle for {seconds:g} seconds"
        return f"{self.info.url} gave no token within {self._limits.first_token:g} seconds"


def refusal(response: httpx.Response) -> EngineError:
    """What an answer other than 200, read to its end, means."""
    url = str(response.url.copy_with(path="/", query=None)).rstrip("/")
    status = response.status_code
    try:
        reason = error_message(response.json())
    except ValueError:
        reason = error_message(response.text or response.reason_phrase)
    if status in _TRY_AGAIN:
        return Unavailable(
            f"{url} has no room now ({status}): {reason}",
            is_busy=status == _BUSY,
            retry_after=_seconds(response.headers.get("retry-after", "")),
        )
    if status in (httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN):
        return EngineError(f"it wants a key ({status}); put the right one into MOTET_ENGINE_KEY")
    return EngineError(f"it refused the request ({status}): {reason}")


async def _next_piece(events: AsyncGenerator[Any, None], reader: Reader) -> GeneratedTokens:
    async for event in events:
        try:
            piece = reader.read(event)
        except (LookupError, TypeError, ValueError, AttributeError) as error:
            raise EngineError(f"it sent an event that cannot be read: {error!r}") from error
        if piece is not None:
            return piece
    raise EngineError("it ended the stream before the end of the answer")


def _seconds(value: str) -> float:
    """A Retry-After header in seconds; dates are not worth the trouble."""
    return float(value) if value.isascii() and value.isdigit() else 0.0


def _named(error: httpx.HTTPError) -> str:
    return str(error) or type(error).__name__
