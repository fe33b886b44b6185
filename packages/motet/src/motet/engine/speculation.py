"""Drafts: tokens guessed from what was said before, checked by the model several in one step.

Answers repeat their prompts: names, numbers, code. So what followed the last occurrence of the last
few tokens is a fair guess at what follows now (prompt lookup). A step that reads guessed tokens
gives the logits behind each, and from these the tokens are drawn as ever, in order and with the
generation's own random numbers, for as long as the drawn token is the guessed one. Logits do not
depend on the batch, so the tokens are those that would have come without guessing: a draft can
only cost time.

Whether it gains any depends on the model: a row more in a step costs a small model next to nothing,
while a mixture of experts that is read from memory has other experts to read for every row. So two
things are measured as the engine runs: how often a generation's guesses are right, which is known
without drafting, and what a further row adds to a step. A draft goes as far as a guessed token is
likelier to be right than its price, the time of its row as a share of what a token takes anyway.
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Tokens: TypeAlias = NDArray[np.int32]

MAXIMUM_DRAFT = 8
_CONTEXTS = (3, 2)  # how many last tokens are looked up, the first that occurred before
_NEWEST = 1 / 8  # weight of the newest guess in the share of right ones
_FADING = 0.98  # weight of earlier steps beside the newest
_UNKNOWN_PRICE = 0.5
_HELD_UP = 4  # times the usual
_HIGHEST_PRICE = 0.9  # from here on guessing is not worth looking up


class Guesses:
    """The guesses at one generation's next tokens, and how good they have been."""

    def __init__(self) -> None:
        self.right = 0.5  # the share, lately
        self._guess: Tokens = np.empty(0, np.int32)

    def draft(self, tokens: Tokens, price: float) -> Tokens:
        """What is worth reading behind `tokens` where a row has this price."""
        self._guess = lookup(tokens) if price < _HIGHEST_PRICE else tokens[:0]
        worth = sum(self.right**n > price for n in range(1, self._guess.size + 1))
        return self._guess[:worth]

    def compare(self, tokens: Tokens) -> None:
        """See which tokens have come in the end."""
        for guessed, token in zip(self._guess.tolist(), tokens.tolist(), strict=False):
            self.right += _NEWEST * ((guessed == token) - self.right)
            if guessed != token:
                break


class StepTimes:
    """Seconds of a step as a line over its rows, fitted to the recent steps.

    A step that something else held up counts as a few times the usual at most.
    """

    def __init__(self) -> None:
        # Sums over the steps, old ones fading: 1, rows, rows^2, seconds, rows * seconds.
        self._steps = self._rows = self._squares = self._seconds = self._products = 0.0

    def note(self, rows: int, seconds: float) -> None:
        """Take note of a step of so many rows."""
        if self._steps:
            usual = self._seconds / self._steps * max(1.0, rows * self._steps / self._rows)
            seconds = min(seconds, _HELD_UP * usual)
        self._steps = _FADING * self._steps + 1
        self._rows = _FADING * self._rows + rows
        self._squares = _FADING * self._squares + rows**2
        self._seconds = _FADING * self._seconds + seconds
        self._products = _FADING * self._products + rows * seconds

    def price(self, rows: int) -> float:
        """What a row more costs in a step of `rows`, as a share of the step's time for each."""
        spread = self._steps * self._squares - self._rows**2
        if spread <= 1e-2 * self._steps**2:
            return _UNKNOWN_PRICE  # the steps were all alike
        each = (self._steps * self._products - self._rows * self._seconds) / spread
        fixed = (self._seconds - each * self._rows) / self._steps
        step = fixed + rows * each
        return min(max(rows * each / step, 0.0), 1.0) if step > 0 else 1.0


def lookup(tokens: Tokens) -> Tokens:
    """What followed the last earlier occurrence of the last tokens; empty if there was none.

    Where that reaches the end, the tokens repeat themselves, and the guess is that they go on.
    """
    for length in _CONTEXTS:
        starts = tokens.size - length  # places to look at, before the last tokens themselves
        if starts <= 0:
            continue
        same = tokens[:starts] == tokens[starts]
        for i in range(1, length):
            same &= tokens[i : starts + i] == tokens[starts + i]
        places = np.flatnonzero(same)
        if places.size:
            found = int(places[-1]) + length
            return np.resize(tokens[found : found + MAXIMUM_DRAFT], MAXIMUM_DRAFT)
    return tokens[:0]
