"""What the keys and values of a sequence weigh: arithmetic on pages of 64 positions.

A sequence has two kinds of pages. Those of the layers that see everything stay as long as it does;
those of the layers with a sliding window are given back once the window has left them.
"""

from __future__ import annotations

from dataclasses import dataclass

from motet import _native
from motet.checkpoint import ModelConfig
from motet.checkpoint.config import SLIDING

PAGE = _native.PAGE_POSITIONS


@dataclass(frozen=True)
class PageSizes:
    """Bytes of a page of either kind, and how many sliding pages the window reaches back.

    `reach` counts those that the first token behind a full page needs.
    """

    full: int
    sliding: int
    reach: int

    @classmethod
    def of(cls, model: _native.Model, config: ModelConfig) -> PageSizes:
        """The sizes for a model."""
        full, sliding = model.page_bytes
        reach = pages(config.sliding_window - 1) if SLIDING in config.layer_types else 0
        return cls(full, sliding, reach)

    def growth(self, length: int, count: int) -> int:
        """Bytes that a sequence of `length` tokens takes to read `count` more in one step."""
        return (pages(length + count) - pages(length)) * (self.full + self.sliding)

    def fitting(self, length: int, free: int) -> int:
        """How many more tokens a sequence of `length` tokens can read in `free` bytes."""
        new = max(0, free) // (self.full + self.sliding)
        return (pages(length) + new) * PAGE - length

    def needed(self, tokens: int) -> int:
        """Bytes within which so many tokens can be read one page after the other."""
        count = pages(tokens)
        return count * self.full + min(count, self._held) * self.sliding

    def capacity(self, limit: int, most: int) -> int:
        """How many tokens, at most `most`, need no more than `limit` bytes."""
        low, high = 0, pages(most)
        while low < high:
            middle = (low + high + 1) // 2
            low, high = (middle, high) if self.needed(middle * PAGE) <= limit else (low, middle - 1)
        return min(low * PAGE, most)

    @property
    def _held(self) -> int:
        """Sliding pages held at most while one page of tokens after the other is read."""
        return self.reach + 2


def pages(tokens: int) -> int:
    """How many pages so many tokens take."""
    return -(-tokens // PAGE)
