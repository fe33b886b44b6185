"""Free text: any ordinary tokens whose bytes, one after the other, are valid UTF-8.

Tokens may end within a character, so what may follow depends on where the last one ended: on the
state of a UTF-8 decoder, of which there are eight. The state every token leads to from every state
is computed once for a vocabulary; the masks are then look-ups.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from motet.harmony.vocabulary import Vocabulary

Mask = NDArray[np.bool_]

WHOLE = 0
"""The state between characters."""

# States by the bytes that may come next, as in table 3-7 of the Unicode standard: any lead byte,
# or the second byte behind E0, ED, F0 or F4, or one, two or three more bytes from 80 to BF.
_LEAD, _ONE, _TWO, _THREE, _E0, _ED, _F0, _F4 = range(8)
_MISSING = np.array([0, 1, 2, 3, 2, 2, 3, 3], dtype=np.int8)  # bytes to the character's end
_STATES = len(_MISSING)
_NO = -1


def _transitions() -> NDArray[np.int8]:
    """The next state by state and byte; -1 where the byte cannot come."""
    table = np.full((_STATES, 256), _NO, dtype=np.int8)
    for first, last, state in (
        (0x00, 0x7F, _LEAD),
        (0xC2, 0xDF, _ONE),
        (0xE0, 0xE0, _E0),
        (0xE1, 0xEC, _TWO),
        (0xED, 0xED, _ED),
        (0xEE, 0xEF, _TWO),
        (0xF0, 0xF0, _F0),
        (0xF1, 0xF3, _THREE),
        (0xF4, 0xF4, _F4),
    ):
        table[_LEAD, first : last + 1] = state
    for state, first, last, following in (
        (_ONE, 0x80, 0xBF, _LEAD),
        (_TWO, 0x80, 0xBF, _ONE),
        (_THREE, 0x80, 0xBF, _TWO),
        (_E0, 0xA0, 0xBF, _ONE),
        (_ED, 0x80, 0x9F, _ONE),
        (_F0, 0x90, 0xBF, _TWO),
        (_F4, 0x80, 0x8F, _TWO),
    ):
        table[state, first : last + 1] = following
    return table


class TextMasks:
    """What each token does to the state of a UTF-8 decoder, for one vocabulary."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self._following = _following(vocabulary)
        self._masks: dict[tuple[int, int, int | None], Mask] = {}

    def following(self, state: int, token: int) -> int:
        """The state `token` leads to; -1 if it cannot come."""
        return int(self._following[state, token])

    def missing(self, state: int) -> int:
        """How many bytes the open character lacks."""
        return int(_MISSING[state])

    def mask(self, state: int, missing: int, terminator: int | None) -> Mask:
        """Tokens after which at most `missing` bytes lack, and `terminator`: bool [vocabulary]."""
        key = (state, min(missing, 3), terminator)
        if key not in self._masks:
            following = self._following[state]
            mask = (following != _NO) & (_MISSING[following] <= missing)
            if terminator is not None:
                mask[terminator] = True
            mask.flags.writeable = False
            self._masks[key] = mask
        return self._masks[key]


@lru_cache(maxsize=4)
def text_masks(vocabulary: Vocabulary) -> TextMasks:
    """The masks of a vocabulary; they take about a tenth of a second to make, once."""
    return TextMasks(vocabulary)


def _following(vocabulary: Vocabulary) -> NDArray[np.int8]:
    """The state after each token from each state: int8 [states, vocabulary], -1 for never."""
    table = _transitions()
    texts = [vocabulary.token_bytes(token) or b"" for token in range(vocabulary.size)]
    lengths = np.array([len(text) for text in texts])
    starts = np.concatenate(([0], np.cumsum(lengths)[:-1]))
    data = np.frombuffer(b"".join(texts), dtype=np.uint8)
    states = np.repeat(np.arange(_STATES, dtype=np.int8)[:, None], vocabulary.size, axis=1)
    for place in range(int(lengths.max())):
        longer = np.flatnonzero(lengths > place)
        current = states[:, longer]
        after = table[current, data[starts[longer] + place]]
        states[:, longer] = np.where(current == _NO, _NO, after)
    states[:, lengths == 0] = _NO
    return states
