"""Noticing that a model repeats itself without end.

A loop is a tail of the tokens that consists of one piece, at least four times over and at least 256
tokens in all. Models that fall into this seldom leave it again.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

_SHORTEST = 256  # tokens of repetition
_REPETITIONS = 4
_WINDOW = 1024  # so that pieces of up to 256 tokens are noticed
_INTERVAL = 64  # tokens from one look to the next


class LoopDetector:
    """Watches the tokens of one chain of thought."""

    def __init__(self) -> None:
        self._tail: deque[int] = deque(maxlen=_WINDOW)
        self._until_look = _SHORTEST

    def feed(self, token: int) -> bool:
        """Whether the tokens so far end in a loop; looked at every 64 tokens."""
        self._tail.append(token)
        self._until_look -= 1
        if self._until_look:
            return False
        self._until_look = _INTERVAL
        return ends_in_loop(list(self._tail))


def ends_in_loop(tokens: Sequence[int]) -> bool:
    """Whether some tail of at least 256 tokens is one piece repeated four times or more."""
    backwards = tokens[::-1]
    borders = [0]  # by length less one: the longest proper prefix that is a suffix too
    for length in range(1, len(backwards)):
        border = borders[-1]
        while border and backwards[border] != backwards[length]:
            border = borders[border - 1]
        borders.append(border + (backwards[border] == backwards[length]))
    return any(
        length >= _SHORTEST and (length - border) * _REPETITIONS <= length
        for length, border in enumerate(borders, start=1)
    )
