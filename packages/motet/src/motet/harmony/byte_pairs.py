"""Byte-pair encoding of ordinary text, exactly as tiktoken does it, without tiktoken's panic.

tiktoken splits text into pieces with a backtracking expression and then merges the bytes of each
piece. The expression's stack overflows in `\\s+(?!\\S)` when about a million whitespace characters
stand together, with a panic that is not even an `Exception`. Long blanks (whitespace without line
breaks, and no line break after it) are therefore cut out first. The cut changes nothing: no piece
that begins before a blank reaches into it, since whitespace that is no line break is only matched
at the beginning of a piece or in front of a line break; the blank is one piece, less its last
character if more text follows (that one may belong to the next word); and without look-behind the
expression goes on from there as at the beginning of a text. The rest is tiktoken's, in about
linear time for any text.
"""

import re
from collections.abc import Iterator, Sequence

import tiktoken

O200K_PATTERN = "|".join(
    (
        r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+"
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)?",
        r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*"
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)?",
        r"\p{N}{1,3}",
        r" ?[^\s\p{L}\p{N}]+[\r\n/]*",
        r"\s*[\r\n]+",
        r"\s+(?!\S)",
        r"\s+",
    )
)
"""How o200k splits text into pieces; merges never cross a piece's edge."""

LONG_BLANK = 50_000
"""Blanks of this many characters and more never reach tiktoken's expression."""

# Unicode White_Space without \r and \n; Python's own whitespace would add U+001C to U+001F.
BLANKS = "\t\v\f \x85\xa0\u1680" + "".join(map(chr, range(0x2000, 0x200B)))
BLANKS += "\u2028\u2029\u202f\u205f\u3000"
_blank = re.compile(f"[{BLANKS}]*")


class BytePairEncoder:
    """Text to token ids, the id being the token's position in `tokens`."""

    def __init__(self, tokens: Sequence[bytes], *, long_blank: int = LONG_BLANK) -> None:
        """`tokens` must hold all single bytes; `long_blank` must be at least 2."""
        ranks = {token: rank for rank, token in enumerate(tokens)}
        self._encoding = tiktoken.Encoding(
            "motet", pat_str=O200K_PATTERN, mergeable_ranks=ranks, special_tokens={}
        )
        self._long_blank = long_blank

    def encode(self, text: str) -> list[int]:
        """The ids of `text`; a lone surrogate, which no UTF-8 can carry, counts as U+FFFD."""
        ids: list[int] = []
        position = 0
        for start, end in _long_blanks(text, self._long_blank):
            if end == len(text):
                piece_end = end
            elif text[end] in "\r\n":
                continue
            else:
                piece_end = end - 1
            ids += self._encoding.encode_ordinary(text[position:start])
            ids += self._encoding._encode_single_piece(text[start:piece_end])
            position = piece_end
        return ids + self._encoding.encode_ordinary(text[position:])


def _long_blanks(text: str, length: int) -> Iterator[tuple[int, int]]:
    """Where the blanks of at least `length` characters begin and end.

    Such a blank covers one of any positions `length` apart, so only those are looked at.
    """
    position = length - 1
    while position < len(text):
        end = position
        if text[position] in BLANKS:
            end = _end_of_blank(text, position)
            before = text[position - length + 1 : position]
            start = position - len(before) + len(before.rstrip(BLANKS))
            if end - start >= length:
                yield start, end
        position = end + length


def _end_of_blank(text: str, position: int) -> int:
    match = _blank.match(text, position)
    assert match is not None
    return match.end()
