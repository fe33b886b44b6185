"""An engine that lets others compute: tokens in and out of one server or of several.

All servers have to run the same model. A generation goes to one of them (`routing.py`); where that
one cannot begin it, the next is asked, and after all of them there is a pause and another round.
Once the first token is there nothing is tried again.

The servers are held to what an engine promises whatever they do: an answer ends at the first stop
id and after `maximum_tokens`, and holds only ids of the vocabulary. Constraints are functions of
tokens, which no server takes; their grammars are passed on if all servers hold to them.
"""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing

from motet.engine.errors import EngineError
from motet.engine.remote.backend import Backend
from motet.engine.remote.routing import Router
from motet.engine.remote.server import Retries, ServerInfo, TimeLimits, Unavailable
from motet.engine.remote.survey import describe_server, dialect_for, examine, reads_grammars
from motet.engine.request import FinishReason, GeneratedTokens, GenerationRequest
from motet.harmony import Vocabulary


class RemoteEngine:
    """Generates on servers that were described by `describe_server`.

    `context_length` is the shortest of theirs. `key` is sent as a bearer token. The constructor
    asks every server for one token, and raises EngineError if one of them cannot be used with this
    vocabulary. The engine belongs to the event loop it is first used in.
    """

    def __init__(
        self,
        servers: Sequence[ServerInfo],
        vocabulary: Vocabulary,
        *,
        key: str | None = None,
        limits: TimeLimits | None = None,
        retries: Retries | None = None,
    ) -> None:
        self.obeys_constraints = False
        self.vocabulary_size = vocabulary.size
        self.context_length = min(server.context_length for server in servers)
        self._retries = retries or Retries()
        self._closed = False
        limits = limits or TimeLimits()
        headers = bearer(key)
        for server in servers:
            examine(server, vocabulary, headers, limits)
        self.reads_grammars = all(
            reads_grammars(server, vocabulary, headers, limits) for server in servers
        )
        self._backends = [
            Backend(server, dialect_for(server, vocabulary), limits, headers) for server in servers
        ]
        self._router = Router(self._backends)

    @classmethod
    def connect(
        cls, urls: Sequence[str], vocabulary: Vocabulary, *, key: str | None = None
    ) -> "RemoteEngine":
        """An engine on the servers at these addresses. Raises EngineError."""
        servers = [describe_server(url, bearer(key)) for url in urls]
        return cls(servers, vocabulary, key=key)

    async def generate(self, request: GenerationRequest) -> AsyncGenerator[GeneratedTokens, None]:
        """Yield the continuation of the prompt as it comes; raises EngineError."""
        room = self._checked_room(request)
        maximum = min(request.maximum_tokens or room, room)
        tried: list[Backend] = []
        rounds = 0
        while True:
            if self._closed:
                raise EngineError("the engine has been closed; make a new one")
            backend = self._router.choose(request.prompt, tried)
            try:
                async with aclosing(self._held(backend, request, maximum)) as pieces:
                    async for piece in pieces:
                        yield piece
                return
            except Unavailable as error:
                tried.append(backend)
                if len(tried) < len(self._backends):
                    continue
                rounds += 1
                if rounds == self._retries.rounds:
                    raise EngineError(f"{error}; tried {rounds} times") from error
                delay = self._retries.delay(rounds - 1, error.retry_after)
            await asyncio.sleep(delay)
            tried.clear()

    async def close(self) -> None:
        """Refuse further requests and close all connections, live ones too."""
        self._closed = True
        for backend in self._backends:
            await backend.close()

    async def _held(
        self, backend: Backend, request: GenerationRequest, maximum: int
    ) -> AsyncGenerator[GeneratedTokens, None]:
        """A server's answer, cut where the request ends it."""
        written = list(request.prompt)
        try:
            async with aclosing(backend.stream(request, maximum)) as pieces:
                async for given in pieces:
                    left = maximum - (len(written) - len(request.prompt))
                    piece = _cut(given, request.stop_ids, left)
                    self._check_ids(piece.tokens, "the answer")
                    written += piece.tokens
                    yield piece
                    if piece.finish:
                        return
        finally:
            if len(written) > len(request.prompt):
                self._router.remember(written, backend)

    def _checked_room(self, request: GenerationRequest) -> int:
        """How many tokens fit behind the prompt; raises EngineError if none does."""
        self._check_ids(request.prompt, "the prompt")
        room = self.context_length - len(request.prompt)
        if room < 1:
            raise EngineError(
                f"the prompt has {len(request.prompt)} tokens, but the server's context of"
                f" {self.context_length} has to hold at least one token of the answer too; shorten"
                " the conversation"
            )
        return room

    def _check_ids(self, tokens: Sequence[int], where: str) -> None:
        for token in tokens:
            if not 0 <= token < self.vocabulary_size:
                raise EngineError(
                    f"{where} holds the token {token}, but the model's vocabulary has"
                    f" {self.vocabulary_size} tokens; is it another model?"
                )


def bearer(key: str | None) -> dict[str, str]:
    """The header that carries a key."""
    return {"authorization": f"Bearer {key}"} if key else {}


def _cut(piece: GeneratedTokens, stop_ids: frozenset[int], left: int) -> GeneratedTokens:
    """The piece up to its first stop id and to the tokens that are left."""
    for count, token in enumerate(piece.tokens[:left], start=1):
        if token in stop_ids:
            return _first(piece, count, FinishReason.STOP)
    if len(piece.tokens) >= left and piece.finish is not FinishReason.STOP:
        return _first(piece, left, FinishReason.LENGTH)
    return _first(piece, left, piece.finish)


def _first(piece: GeneratedTokens, count: int, finish: FinishReason | None) -> GeneratedTokens:
    logprobs = None if piece.logprobs is None else piece.logprobs[:count]
    return GeneratedTokens(piece.tokens[:count], logprobs, finish)
