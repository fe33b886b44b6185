"""A short way to the end of a text in a format, from wherever it stands.

Used where the room for an answer runs out: what was begun is ended validly instead of being cut.
The way is walked byte by byte and greedily: in a string the quote comes first, between values the
brackets that close, and brackets that open come last. A byte taken again and again gives way to
others, so that no repetition of a pattern is walked for ever.
"""

from __future__ import annotations

from collections import Counter, deque
from functools import cache
from typing import Any

from llguidance import LLMatcher, LLTokenizer, TokenizerWrapper

_END = 256  # the id behind those of the bytes
_BETWEEN_FIRST, _BETWEEN_LAST = b'}],:"0123456789ntfe.', b"-\\[{"
_IN_STRING_FIRST, _IN_STRING_LAST = b'"0123456789abcdefghijklmnopqrstuvwxyz', b"\\"
_MANY = 24  # possible bytes; between values there are fewer
_WINDOW, _TIRED = 64, 32  # a byte is tired if it was as many of so many


def _order(first: bytes, last: bytes) -> bytes:
    return first + bytes(byte for byte in range(256) if byte not in first + last) + last


_BETWEEN = _order(_BETWEEN_FIRST, _BETWEEN_LAST)
_IN_STRING = _order(_IN_STRING_FIRST, _IN_STRING_LAST)


def byte_matcher(grammar: str) -> LLMatcher:
    """A matcher whose tokens are the bytes; its `is_error` says whether the grammar is wrong."""
    return LLMatcher(_byte_tokenizer(), grammar, log_level=0)


def ending(matcher: LLMatcher, limit: int) -> bytes | None:
    """Bytes that end the text from where a byte matcher stands, which is left as it is.

    None if no way of at most `limit` bytes was found.
    """
    walker = matcher.deep_copy()
    recent: deque[int] = deque()
    counts: Counter[int] = Counter()
    taken = bytearray()
    while not walker.is_accepting():
        run = walker.compute_ff_tokens()
        if not run:
            byte = _choice(int.from_bytes(walker.compute_bitmask(), "little"), counts)
            if byte is None:
                return None
            run = [byte]
            counts[byte] += 1
            recent.append(byte)
            if len(recent) > _WINDOW:
                counts[recent.popleft()] -= 1
        taken += bytes(run)
        if len(taken) > limit or not walker.consume_tokens(run):
            return None
    return bytes(taken)


def _choice(possible: int, counts: Counter[int]) -> int | None:
    """The preferred one of the possible bytes, which are the bits of a number."""
    possible &= (1 << 256) - 1
    order = _IN_STRING if possible.bit_count() > _MANY else _BETWEEN
    options = [byte for byte in order if possible >> byte & 1]
    fresh = (byte for byte in options if counts[byte] < _TIRED)
    return next(fresh, options[0] if options else None)


class _Bytes:
    """The 256 bytes as llguidance wants to see a tokenizer."""

    def __init__(self) -> None:
        self.eos_token_id = _END
        self.bos_token_id = None
        self.tokens = [*(bytes((byte,)) for byte in range(256)), b"<end>"]
        self.special_token_ids = [_END]

    def __call__(self, text: Any) -> list[int]:
        return list(text.encode() if isinstance(text, str) else text)


@cache
def _byte_tokenizer() -> LLTokenizer:
    return LLTokenizer(TokenizerWrapper(_Bytes()), n_vocab=_END + 1)
