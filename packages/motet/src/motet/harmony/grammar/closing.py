"""A short way to the end of a text in a format, from wherever it stands.

Used where the room for an answer runs out: what was begun is ended validly instead of being cut.
The way is walked byte by byte and greedily. What closes comes first (quotes, brackets, commas
behind a value), what opens comes last, and of the rest the bytes taken least often, so that all
branches of a pattern are tried. Where that leads nowhere, chance takes over, always the same. A way
that is long is tried without its middle, and the tail of the shortest text known in its stead.
"""

from __future__ import annotations

from collections import Counter
from functools import cache
from random import Random
from typing import Any

from llguidance import LLMatcher, LLParserLimits, LLTokenizer, TokenizerWrapper

LIMITS = LLParserLimits(verbose_errors=False)  # its errors would repeat the whole grammar
_END = 256  # the id behind those of the bytes
_CLOSING_STRING = b'"'
_CLOSING_VALUE = b'}],:"'
_ORDINARY = b"1234567890ntfeZabcdghijklmopqrsuvwxyz"
_OPENING = b"-\\[{"
_MANY = 24  # bytes possible within a string; there are fewer between values
_GREEDY_CHOICES = 400
_ALL, _ASCII = (1 << 256) - 1, (1 << 128) - 1
_SHORTENED = 64  # bytes; of a longer text so many at both ends are tried without the middle


def byte_matcher(grammar: str) -> LLMatcher:
    """A matcher whose tokens are the bytes; its `is_error` says whether the grammar is wrong."""
    return LLMatcher(_byte_tokenizer(), grammar, log_level=0, limits=LIMITS)


def shortest_text(matcher: LLMatcher, limit: int) -> bytes | None:
    """A short text of the format of a byte matcher that stands at its beginning.

    None if none of at most `limit` bytes was found.
    """
    found = _walk(matcher, limit, Random(0))
    if found is None or len(found) <= _SHORTENED:
        return found
    heads, tails = range(_SHORTENED), range(len(found) - _SHORTENED, len(found))
    shorter = (found[:head] + found[tail:] for head in heads for tail in tails)
    return min((text for text in shorter if _ends(matcher, text)), key=len, default=found)


def ending(matcher: LLMatcher, limit: int, shortest: bytes) -> bytes | None:
    """Bytes that end the text from where a byte matcher stands, which is left as it is.

    `shortest` is a whole text of the format, and of use if there is trouble. None if no way of at
    most `limit` bytes was found.
    """
    found = _walk(matcher, limit, None)
    if found is not None and len(found) <= _SHORTENED:
        return found
    start = _rest_of_character(matcher)
    tails = (shortest[-length:] for length in range(1, min(_SHORTENED, limit)))
    return next((start + tail for tail in tails if _ends(matcher, start + tail)), found)


def _rest_of_character(matcher: LLMatcher) -> bytes:
    """Bytes up to where a character may begin."""
    walker = matcher.deep_copy()
    taken = bytearray()
    while (possible := _possible(walker)) and not possible & _ASCII and len(taken) < 3:
        taken.append((possible & -possible).bit_length() - 1)
        walker.consume_token(taken[-1])
    return bytes(taken)


def _possible(matcher: LLMatcher) -> int:
    """The bytes that may come next, as the bits of a number."""
    return int.from_bytes(matcher.compute_bitmask(), "little") & _ALL


def _ends(matcher: LLMatcher, text: bytes) -> bool:
    """Whether the format is complete behind this text."""
    walker = matcher.deep_copy()
    return walker.try_consume_tokens(list(text)) == len(text) and walker.is_accepting()


def _walk(matcher: LLMatcher, limit: int, chance: Random | None) -> bytes | None:
    """A way to the end, greedily and then, if there is one, by chance."""
    walker = matcher.deep_copy()
    chooser = _Chooser(chance)
    taken = bytearray()
    while not walker.is_accepting():
        run = walker.compute_ff_tokens()
        if not run:
            byte = chooser.choose(_possible(walker))
            if byte is None:
                return None
            run = [byte]
        taken += bytes(run)
        if len(taken) > limit or not walker.consume_tokens(run):
            return None
    return bytes(taken)


class _Chooser:
    """Chooses one of several possible bytes, time and again."""

    def __init__(self, chance: Random | None) -> None:
        self._counts: Counter[int] = Counter()
        self._choices = 0
        self._left = _GREEDY_CHOICES
        self._chance = chance

    def choose(self, possible: int) -> int | None:
        """One of the bytes whose bits are set; None if there is none, or no way was found."""
        closing = _CLOSING_STRING if possible.bit_count() > _MANY else _CLOSING_VALUE
        for byte in closing:
            # A byte that closes nothing, but is a pattern's own, must not be taken for ever.
            if possible >> byte & 1 and 2 * self._counts[byte] <= self._choices + _MANY:
                return self._taken(byte)
        options = [byte for byte in range(256) if possible >> byte & 1]
        if not options:
            return None
        self._left -= 1
        if self._left < 0:
            return self._chance.choice(options) if self._chance else None
        return self._taken(min(options, key=lambda byte: (self._counts[byte], _RANKS[byte])))

    def _taken(self, byte: int) -> int:
        self._counts[byte] += 1
        self._choices += 1
        return byte


def _ranks() -> bytes:
    """By byte: its place in the order of preference."""
    known = _ORDINARY + _OPENING
    others = bytes(byte for byte in range(256) if byte not in known)
    order = _ORDINARY + others + _OPENING
    return bytes(order.index(byte) for byte in range(256))


_RANKS = _ranks()


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
