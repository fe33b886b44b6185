"""Texts that end an answer, found across the borders of tokens and cut off exactly."""

from __future__ import annotations

from collections.abc import Sequence


class StopCutter:
    """Passes text on up to the first stop text that is complete, which is not passed on.

    What may become a stop text is held back until that is decided. The result does not depend on
    the pieces the text comes in.
    """

    def __init__(self, stops: Sequence[str] = ()) -> None:
        self.stopped = False
        self._stops = [stop for stop in stops if stop]
        self._held = ""

    def feed(self, text: str) -> str:
        """The text that is certain to belong to the answer; nothing once it has stopped."""
        if self.stopped:
            return ""
        self._held += text
        found = [
            (start + len(stop), start)
            for stop in self._stops
            if (start := self._held.find(stop)) >= 0
        ]
        if found:
            self.stopped = True
            return self._released(min(found)[1])
        return self._released(len(self._held) - self._longest_beginning())

    def finish(self) -> str:
        """What was held back, when the text has ended by itself."""
        return "" if self.stopped else self._released(len(self._held))

    def _released(self, count: int) -> str:
        text, self._held = self._held[:count], self._held[count:]
        return text

    def _longest_beginning(self) -> int:
        """The length of the longest end of the held text that a stop text begins with."""
        return max(
            (
                length
                for stop in self._stops
                for length in range(1, min(len(stop), len(self._held) + 1))
                if self._held.endswith(stop[:length])
            ),
            default=0,
        )
