"""The parts a turn consists of, token by token: a header, a free text, a text in a format.

Each knows which tokens may come next and which must. `room` is always the number of tokens that the
part may still have, its terminator included: a text ends whole characters, brackets and all, before
it is used up.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from motet.harmony.errors import HarmonyError
from motet.harmony.grammar.closing import ending
from motet.harmony.grammar.formats import CompiledFormat, tokens_of
from motet.harmony.grammar.headers import HeaderNode, Kind
from motet.harmony.grammar.text import WHOLE, Mask, TextMasks

_LOOK_INTERVAL = 8  # tokens from one search for a way to end to the next, if there is none
_LONGEST_ENDING = 20_000  # bytes
_BYTES_PER_TOKEN = 8  # more than text has, so that a way that would fit is found


class Part(Protocol):
    """One part of a turn."""

    @property
    def is_slow(self) -> bool:
        """Whether `allowed` has more to do than to look a mask up."""

    @property
    def is_over(self) -> bool:
        """Whether the last token of the part has been taken."""

    @property
    def was_closed(self) -> bool:
        """Whether it was ended for lack of room."""

    def allowed(self, room: int, /) -> Mask:
        """The tokens that may come next: bool [vocabulary]."""

    def accept(self, token: int, room: int, /) -> bool:
        """Take a token; False if it has no room, and `forced` says what comes instead."""

    def forced(self, room: int, /) -> Sequence[int]:
        """The tokens that must come next; they are taken by this call."""


class HeaderPart:
    """A walk down the tree of headers, to `kind`."""

    is_slow = False
    was_closed = False

    def __init__(self, root: HeaderNode, size: int) -> None:
        self._node = root
        self._size = size

    @property
    def is_over(self) -> bool:
        """Whether the header is complete."""
        return self._node.kind is not None

    @property
    def kind(self) -> Kind:
        """What kind of message has begun, once the header is complete."""
        assert self._node.kind
        return self._node.kind

    def allowed(self, _room: int, /) -> Mask:
        """The branches of the tree."""
        mask = np.zeros(self._size, dtype=np.bool_)
        mask[list(self._node.children)] = True
        return mask

    def accept(self, token: int, _room: int, /) -> bool:
        """Go down the branch."""
        if token not in self._node.children:
            raise HarmonyError(f"The token {token} is in no header that may come here.")
        self._node = self._node.children[token]
        return True

    def forced(self, _room: int, /) -> Sequence[int]:
        """Tokens up to where the tree branches."""
        tokens = []
        while len(self._node.children) == 1:
            ((token, self._node),) = self._node.children.items()
            tokens.append(token)
        return tokens


class FreeText:
    """Text of any kind, at least a character unless it `may_be_empty`."""

    is_slow = False

    def __init__(self, masks: TextMasks, terminator: int, *, may_be_empty: bool) -> None:
        self.is_over = False
        self.was_closed = False
        self._masks = masks
        self._terminator = terminator
        self._state = WHOLE
        self._may_end = may_be_empty

    @property
    def missing(self) -> int:
        """Bytes that the open character lacks: as many tokens end it at least."""
        return self._masks.missing(self._state)

    def allowed(self, room: int, /) -> Mask:
        """Tokens that leave room to end the character they may begin, and the terminator."""
        may_end = self._may_end and self._state == WHOLE
        # A room that was too small from the beginning ends the character at least.
        missing = max(room - 2, self.missing - 1)
        return self._masks.mask(self._state, missing, self._terminator if may_end else None)

    def accept(self, token: int, _room: int, /) -> bool:
        """Go on by a token of the text, or end it."""
        if token == self._terminator:
            self.is_over = True
            return True
        state = self._masks.following(self._state, token)
        if state < 0:
            raise HarmonyError(f"The token {token} cannot come here: it is no text.")
        self._state, self._may_end = state, True
        return True

    def forced(self, room: int, /) -> Sequence[int]:
        """The terminator, if there is room for nothing else."""
        if self._state != WHOLE or room > 1:
            return ()
        self.is_over = self.was_closed = True
        return (self._terminator,)


class FormattedText:
    """Text in a format, up to a terminator that may come where the format is complete."""

    def __init__(self, compiled: CompiledFormat, size: int, terminator: int) -> None:
        self.is_slow = True
        self.is_over = False
        self.was_closed = False
        self._compiled = compiled
        self._size = size
        self._terminator = terminator
        self._matcher = compiled.matcher()
        self._bytewise = compiled.bytewise.deep_copy()
        self._unread = bytearray()  # what the bytewise matcher has not seen yet
        self._ending: Sequence[int] | None = None
        self._until_look = 1
        # A token adds no more to what is needed to end than a text within the text, or two.
        self._growth = len(compiled.shortest) + 8
        self._is_closing = False

    def allowed(self, _room: int, /) -> Mask:
        """What the format allows next."""
        bits = np.frombuffer(self._matcher.compute_bitmask(), dtype=np.uint8)
        mask = np.unpackbits(bits, count=self._size, bitorder="little").view(np.bool_)
        end = self._compiled.vocabulary.endoftext
        mask[self._terminator] = mask[end] and self._matcher.is_accepting()
        mask[end] = False
        return mask

    def accept(self, token: int, room: int, /) -> bool:
        """Go on by a token, unless what follows from it could not be ended in the room."""
        if token == self._terminator:
            self.is_over = True
            return True
        if not self._has_room_behind(token, room):
            self._is_closing = True
            return False
        if not self._matcher.consume_token(token):
            raise HarmonyError(f"The token {token} cannot come here: {self._matcher.get_error()}")
        self._unread += self._compiled.vocabulary.token_bytes(token) or b""
        return True

    def forced(self, _room: int, /) -> Sequence[int]:
        """What the format leaves no choice about; the end, if the room is needed for it."""
        if self._is_closing:
            self.is_over = self.was_closed = True
            return (*(self._ending or ()), self._terminator)
        if self._matcher.is_stopped():
            self.is_over = True
            return (self._terminator,)
        if self._matcher.is_accepting():
            return ()
        run = self._matcher.compute_ff_tokens()
        if run:
            ending, self._ending = self._ending, None
            if ending and list(ending[: len(run)]) == run:
                self._ending = ending[len(run) :]
            self._until_look -= len(run)
            self._matcher.consume_tokens(run)
            self._unread += self._compiled.vocabulary.decode_bytes(run)
        return run

    def _has_room_behind(self, token: int, room: int) -> bool:
        """Whether the text can be ended behind this token; looked at seldom while room is ample."""
        before, self._ending = self._ending, None
        self._until_look -= 1
        if self._until_look > 0:
            return True
        self._until_look = _LOOK_INTERVAL
        after = self._ending_behind(token, room)
        if after is not None and len(after) + 1 < room:
            self._ending = after
            self._until_look = (room - len(after)) // self._growth
            return True
        self._ending = before if before is not None else self._ending_behind(None, room)
        # Where there was no way to the end before, this token makes nothing worse.
        return self._ending is None or len(self._ending) >= room

    def _ending_behind(self, token: int | None, room: int) -> list[int] | None:
        """Tokens that end the text behind `token`, or from here; None if none were found."""
        vocabulary = self._compiled.vocabulary
        self._bytewise.consume_tokens(list(self._unread))
        self._unread.clear()
        matcher = self._bytewise
        if token is not None:
            matcher = matcher.deep_copy()
            if not matcher.consume_tokens(list(vocabulary.token_bytes(token) or b"")):
                return None
        limit = min(_BYTES_PER_TOKEN * room, _LONGEST_ENDING)
        found = ending(matcher, limit, self._compiled.shortest)
        return None if found is None else tokens_of(found, vocabulary)
