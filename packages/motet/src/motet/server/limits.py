"""What stands around every request: host, key, size, log line, its place in the metrics.

One ASGI layer and no more, because it has to see the connection end when a stream breaks off.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from contextlib import ExitStack
from time import monotonic
from typing import Any
from uuid import uuid4

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from motet.server.errors import ApiError
from motet.server.http import error_answer, logged
from motet.server.keys import NOBODY, KeyRing
from motet.server.logs import logger
from motet.server.metrics import Metrics

BODY_SECONDS = 60.0  # that a client may be silent in the middle of its request
_PORT = re.compile(r":[0-9]*$")
_OPEN = ("/health", "/health/live", "/health/ready")


class Gate:
    """Admits, measures and logs the requests of one server."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        keys: KeyRing,
        metrics: Metrics,
        hosts: Sequence[str],
        maximum_body: int,
        log_prompts: bool,
    ) -> None:
        self._app = app
        self._keys = keys
        self._metrics = metrics
        self._hosts = hosts
        self._maximum_body = maximum_body
        self._log_prompts = log_prompts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, whatever happens."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        visit = _Visit(scope, receive, send, self._maximum_body, keeps_words=self._log_prompts)
        with self._metrics.running.track_inprogress(), ExitStack() as stack:
            try:
                scope["motet.owner"] = NOBODY
                self._check_host(visit.header(b"host") or "")
                if scope["path"] not in _OPEN:
                    key = self._keys.owner(visit.header(b"authorization"))
                    scope["motet.owner"] = key.name
                    stack.enter_context(self._keys.admitted(key))
                visit.check_length()
                await self._app(scope, visit.receive, visit.send)
            except Exception as error:
                api_error = logged(error)
                if not visit.status:
                    await error_answer(api_error)(scope, receive, visit.send)
            finally:
                self._note(scope, visit)

    def _check_host(self, header: str) -> None:
        """Refuse a name that is not this server's: a web page may have made it lead here."""
        name = _PORT.sub("", header).lower()
        if "*" not in self._hosts and name not in self._hosts:
            raise ApiError(
                f"This server is not to be called {name!r}; --allowed-hosts lists its names.",
                status=403,
                code="host_not_allowed",
            )

    def _note(self, scope: Scope, visit: _Visit) -> None:
        route = getattr(scope.get("route"), "path", "other")
        status = str(visit.status or 499)
        seconds = monotonic() - visit.started
        self._metrics.requests.labels(route, status).inc()
        self._metrics.seconds.labels(route).observe(seconds)
        fields: dict[str, Any] = {
            "request": visit.id,
            "method": scope["method"],
            "path": scope["path"],
            "status": int(status),
            "seconds": round(seconds, 4),
            "key": scope["motet.owner"],
        }
        if self._log_prompts:
            fields |= {"asked": _text(visit.asked), "answered": _text(visit.answered)}
        logger.info("request", extra={"fields": fields})


class _Visit:
    """One request on its way through."""

    def __init__(
        self, scope: Scope, receive: Receive, send: Send, maximum: int, *, keeps_words: bool
    ) -> None:
        self.id = f"req_{uuid4().hex}"
        self.started = monotonic()
        self.status = 0
        self.asked = bytearray()
        self.answered = bytearray()
        self._headers = dict(scope["headers"])
        self._receive = receive
        self._send = send
        self._maximum = maximum
        self._read = 0
        self._is_whole = False
        self._keeps_words = keeps_words

    def header(self, name: bytes) -> str | None:
        """A header of the request."""
        value = self._headers.get(name)
        return None if value is None else value.decode("latin-1")

    def check_length(self) -> None:
        """Refuse a body that says it is too long."""
        length = self.header(b"content-length") or "0"
        if not length.isdigit() or int(length) > self._maximum:
            raise self._too_long()

    async def receive(self) -> Message:
        """The next part of the request, unless it is too long together."""
        try:
            async with asyncio.timeout(None if self._is_whole else BODY_SECONDS):
                message = await self._receive()
        except TimeoutError as error:
            raise _too_slow() from error
        if message["type"] == "http.request":
            body = message.get("body", b"")
            self._is_whole = not message.get("more_body", False)
            self._read += len(body)
            if self._read > self._maximum:
                raise self._too_long()
            if self._keeps_words:
                self.asked += body
        return message

    async def send(self, message: Message) -> None:
        """The next part of the answer; the first one takes the request's id along."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = [*message.get("headers", ()), (b"x-request-id", self.id.encode())]
            message = {**message, "headers": headers}
        elif self._keeps_words:
            self.answered += message.get("body", b"")
        await self._send(message)

    def _too_long(self) -> ApiError:
        return ApiError(
            f"The request is longer than the {self._maximum} bytes this server allows.",
            status=413,
            code="request_too_large",
        )


def _too_slow() -> ApiError:
    return ApiError(
        f"Nothing of the request has come for {BODY_SECONDS:g} seconds; send it whole.",
        status=408,
        code="request_timeout",
    )


def _text(data: bytearray) -> str:
    return data.decode("utf-8", errors="replace")
