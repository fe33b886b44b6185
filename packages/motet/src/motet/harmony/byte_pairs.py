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

# Unicode White_Space without \r and \n; Python's own \s would add U+001C to U+001F.
_BLANK = "[\t\v\f \x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]"
_LONG_BLANK = re.compile(f"{_BLANK}{{{LONG_BLANK},}}")


class BytePairEncoder:
    """Text to token ids, the id being the token's position in `tokens`."""

    def __init__(self, tokens: Sequence[bytes]) -> None:
        ranks = {token: rank for rank, token in enumerate(tokens)}
        self._encoding = tiktoken.Encoding(
            "motet", pat_str=O200K_PATTERN, mergeable_ranks=ranks, special_tokens={}
        )

    def encode(self, text: str) -> list[int]:
        """The ids of `text`; a lone surrogate, which no UTF-8 can carry, counts as U+FFFD."""
        if len(text) < LONG_BLANK:
            return self._encoding.encode_ordinary(text)
        ids: list[int] = []
        for part, is_piece in _parts(text):
            if is_piece:
                ids += self._encoding._encode_single_piece(part)
            else:
                ids += self._encoding.encode_ordinary(part)
        return ids


def _parts(text: str) -> Iterator[tuple[str, bool]]:
    """Cut `text` at the edges of its long blanks: (part, whether it is exactly one piece)."""
    position = 0
    for blank in _LONG_BLANK.finditer(text):
        start, end = blank.span()
        if text[end : end + 1] in ("\r", "\n"):
            continue
        if end < len(text):
            end -= 1
        yield text[position:start], False
        yield text[start:end], True
        position = end
    yield text[position:], False
