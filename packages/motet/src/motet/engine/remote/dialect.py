"""How one kind of server is spoken to: a request as its JSON, its streamed JSON as tokens."""

from typing import Any, Protocol

from motet.engine.errors import EngineError
from motet.engine.request import GeneratedTokens, GenerationRequest


class Reader(Protocol):
    """Reads the events of one streamed answer."""

    def read(self, event: Any, /) -> GeneratedTokens | None:
        """The tokens in an event, None if it has neither tokens nor the end; raises EngineError.

        What is not shaped as the server's documentation says may raise any of LookupError,
        TypeError and ValueError.
        """


class Dialect(Protocol):
    """One server's language."""

    @property
    def path(self) -> str:
        """Where requests are posted."""

    def body(self, request: GenerationRequest, maximum_tokens: int, /) -> dict[str, Any]:
        """The request in this language; raises EngineError for what the server cannot do."""

    def reader(self, request: GenerationRequest, /) -> Reader:
        """A reader for the answer to this request."""


def refuse_unless(condition: bool, what: str) -> None:
    """Raise EngineError about something the server cannot do."""
    if not condition:
        raise EngineError(what)


def token_ids(value: Any) -> tuple[int, ...]:
    """A JSON array as token ids; raises TypeError if it is something else."""
    if not isinstance(value, list) or any(type(token) is not int for token in value):
        raise TypeError("token ids must be a list of integers")
    return tuple(value)
