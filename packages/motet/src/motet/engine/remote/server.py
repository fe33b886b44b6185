"""The nouns of this room: what a server is, how long it may take, how often it is asked again."""

from dataclasses import dataclass
from enum import StrEnum
from random import uniform
from typing import Any

from motet.engine.errors import EngineError


class ServerKind(StrEnum):
    """Whose dialect a server speaks."""

    VLLM = "vLLM"
    SGLANG = "SGLang"
    LLAMA_CPP = "llama.cpp"
    MOTET = "Motet"


@dataclass(frozen=True)
class ServerInfo:
    """What a server says about itself; `url` is without `/v1` and without a slash at the end.

    `vocabulary_size` is None where the server does not say it. `takes_seeds` is false if it would
    pass over a seed.
    """

    url: str
    kind: ServerKind
    model: str
    context_length: int
    vocabulary_size: int | None = None
    takes_seeds: bool = True


@dataclass(frozen=True)
class TimeLimits:
    """Seconds a server may take: to be reached, until the first token, from one to the next.

    The first token waits for a place in the server's batch and for the prompt to be read.
    """

    connect: float = 5.0
    first_token: float = 600.0
    between_tokens: float = 60.0


@dataclass(frozen=True)
class Retries:
    """How a generation that has no token yet is tried again: `rounds` times all servers in all.

    Between two rounds it waits a random part of a delay that doubles from `first_delay` up to
    `longest_delay` seconds, so that many clients do not come back at the same moment, and at least
    as long as the server asked for, `longest_delay` permitting.
    """

    rounds: int = 4
    first_delay: float = 0.5
    longest_delay: float = 8.0

    def delay(self, rounds_done: int, asked_for: float) -> float:
        """Seconds to wait after so many rounds."""
        backoff = uniform(0, min(self.first_delay * 2**rounds_done, self.longest_delay))
        return max(backoff, min(asked_for, self.longest_delay))


class Unavailable(EngineError):  # noqa: N818  (it says what is so, not what went wrong)
    """A server that could not begin an answer now; later or elsewhere it may be begun.

    `is_busy` if it is well and only has too much to do; `retry_after` are the seconds it asked for.
    """

    def __init__(self, message: str, *, is_busy: bool = False, retry_after: float = 0.0) -> None:
        super().__init__(message)
        self.is_busy = is_busy
        self.retry_after = retry_after


def error_message(value: Any) -> str:
    """The sentence in a server's JSON error, whichever of the usual shapes it has."""
    for key in ("error", "message", "detail"):
        if isinstance(value, dict) and key in value:
            value = value[key]
    return " ".join(str(value).split())[:500] or "no reason given"
