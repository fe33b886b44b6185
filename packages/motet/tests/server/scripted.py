"""What models write, as tokens, and servers that play it."""

import asyncio
import json
from collections.abc import AsyncGenerator, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from fastapi.testclient import TestClient

from motet.engine import (
    Engine,
    EngineError,
    FinishReason,
    GeneratedTokens,
    GenerationRequest,
    ScriptedEngine,
)
from motet.harmony import Vocabulary, o200k_harmony
from motet.server.app import make_app
from motet.server.keys import KeyRing
from motet.server.model import ServedModel
from motet.server.settings import Settings

VOCABULARY = o200k_harmony().first(3000)
NO_KEYS = KeyRing(())


@dataclass(frozen=True)
class Writing:
    """The messages of one turn, in the order they are written."""

    tokens: tuple[int, ...] = ()
    vocabulary: Vocabulary = field(default=VOCABULARY, repr=False)

    def thought(self, text: str) -> "Writing":
        return self._message("analysis", text, self.vocabulary.end)

    def preamble(self, text: str) -> "Writing":
        return self._message("commentary", text, self.vocabulary.end)

    def answer(self, text: str) -> "Writing":
        return self._message("final", text, self.vocabulary.return_)

    def call(self, name: str, arguments: str) -> "Writing":
        v = self.vocabulary
        header = [
            *(v.channel, *v.encode(f"commentary to=functions.{name} ")),
            *(v.constrain, *v.encode("json"), v.message),
        ]
        return self._more([*header, *v.encode(arguments), v.call])

    def _message(self, channel: str, text: str, end: int) -> "Writing":
        v = self.vocabulary
        return self._more([v.channel, *v.encode(channel), v.message, *v.encode(text), end])

    def _more(self, tokens: Sequence[int]) -> "Writing":
        v = self.vocabulary
        opening = [v.start, *v.encode("assistant")] if self.tokens else []
        return Writing((*self.tokens, *opening, *tokens), v)


def thought(text: str) -> Writing:
    return Writing().thought(text)


def scripted_engine(*scripts: Writing | Sequence[int | EngineError]) -> ScriptedEngine:
    plain = [each.tokens if isinstance(each, Writing) else each for each in scripts]
    return ScriptedEngine(plain, vocabulary_size=VOCABULARY.size, context_length=4096)


def served(engine: Engine) -> ServedModel:
    return ServedModel(engine, VOCABULARY, ("test-model", "alias"), dated=False)


def client(
    engine: Engine,
    settings: Settings | None = None,
    keys: KeyRing = NO_KEYS,
    *,
    shares_store: bool = False,
) -> TestClient:
    """A client of a server in this process; errors become answers, as in a real one."""
    settings = settings or Settings(allowed_hosts=["*"])
    app = make_app(served(engine), settings, keys, shares_store=shares_store)
    return TestClient(app, raise_server_exceptions=False)


class PatientEngine:
    """Writes its tokens, then nothing more until it is closed; counts its generations."""

    obeys_constraints = False
    reads_grammars = False
    vocabulary_size = VOCABULARY.size
    context_length = 4096

    def __init__(self, tokens: Iterable[int]) -> None:
        self.tokens = tuple(tokens)
        self.open = 0
        self.ended = 0

    async def generate(self, request: GenerationRequest) -> AsyncGenerator[GeneratedTokens, None]:
        self.open += 1
        try:
            for token in self.tokens:
                yield GeneratedTokens((token,))
            await asyncio.Event().wait()
        finally:
            self.open -= 1
            self.ended += 1

    async def close(self) -> None:
        pass


class FailingEngine(PatientEngine):
    """Fails every request at once."""

    def __init__(self, error: Exception) -> None:
        super().__init__(())
        self.error = error

    async def generate(self, request: GenerationRequest) -> AsyncGenerator[GeneratedTokens, None]:
        raise self.error
        yield GeneratedTokens(())


def sse(text: str) -> list[tuple[str | None, str]]:
    """The events of a stream: name and data of each."""
    events = []
    for block in text.strip().split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.split("\n"))
        events.append((fields.get("event"), fields["data"]))
    return events


def user(text: str = "Hello") -> dict[str, Any]:
    return {"role": "user", "content": text}


ADD = {
    "type": "function",
    "name": "add",
    "description": "Adds.",
    "parameters": {
        "type": "object",
        "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}},
        "required": ["a", "b"],
    },
}
CHAT_ADD = {"type": "function", "function": {k: v for k, v in ADD.items() if k != "type"}}


class RepeatingEngine(PatientEngine):
    """Answers every request with the same tokens."""

    async def generate(self, request: GenerationRequest) -> AsyncGenerator[GeneratedTokens, None]:
        yield GeneratedTokens(self.tokens, finish=FinishReason.STOP)


class LosingEngine(PatientEngine):
    """Writes its tokens and fails a moment later, when the stream has begun."""

    async def generate(self, request: GenerationRequest) -> AsyncGenerator[GeneratedTokens, None]:
        for token in self.tokens:
            yield GeneratedTokens((token,))
        await asyncio.sleep(0.1)
        raise EngineError("lost")


ANSWER = thought("Hm.").answer("Yes.")
CALL = thought("I must add.").call("add", '{"a":1,"b":2}')
ERROR_FIELDS = {"message", "type", "param", "code"}


def error_of(answer: Any, status: int) -> dict[str, Any]:
    """The error of an answer, in OpenAI's shape."""
    assert answer.status_code == status, answer.text
    error: dict[str, Any] = answer.json()["error"]
    assert error.keys() == ERROR_FIELDS
    return error


def response_events(text: str) -> list[dict[str, Any]]:
    events = [(name, json.loads(data)) for name, data in sse(text)]
    assert all(name == event["type"] for name, event in events)
    return [event for _, event in events]
