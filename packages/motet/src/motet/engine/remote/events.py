"""Server-sent events that carry JSON, from the bytes of a response.

Lines end at line feeds alone: JSON may hold other characters that Python's and httpx's idea of a
line ends at. An event is one `data:` line, which is what all these servers send; comments, which
keep a connection open, are passed over.
"""

import json
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from typing import Any

from motet.engine.errors import EngineError

_LONGEST_LINE = 64 << 20  # bytes; SGLang repeats a whole answer, log probabilities and all


async def streamed_events(chunks: AsyncIterator[bytes]) -> AsyncGenerator[Any, None]:
    """The JSON values of a stream, up to `[DONE]` or its end. Raises EngineError."""
    lines = _Lines()
    async for chunk in chunks:
        for line in lines.feed(chunk):
            if line == b"data: [DONE]":
                return
            if (event := _event(line)) is not None:
                yield event


def whole_events(data: bytes) -> list[Any]:
    """The same for a stream that is here to its end."""
    lines = [line.rstrip(b"\r") for line in data.split(b"\n") if not line.startswith(b"data: [DO")]
    return [event for line in lines if (event := _event(line)) is not None]


class _Lines:
    def __init__(self) -> None:
        self._begun = bytearray()

    def feed(self, chunk: bytes) -> Iterator[bytes]:
        """The lines that the chunk completes."""
        head, *rest = chunk.split(b"\n")
        self._begun += head
        for piece in rest:
            yield bytes(self._begun).rstrip(b"\r")
            self._begun = bytearray(piece)
        if len(self._begun) > _LONGEST_LINE:
            raise EngineError("it sent a line without an end")


def _event(line: bytes) -> Any:
    field, _, value = line.partition(b":")
    if field == b"error":  # older versions of llama.cpp
        return {"error": value.decode(errors="replace")}
    if field != b"data" or not value.strip():
        return None
    try:
        return json.loads(value)
    except (ValueError, RecursionError) as error:
        shown = value[:60].decode(errors="replace")
        raise EngineError(f"it sent something that is no JSON: {shown.strip()}") from error
