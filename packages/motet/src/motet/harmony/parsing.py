"""Token ids of a model to messages: a state machine that is total.

It is fed one id at a time and is always in one of three places: between messages, in a header, in a
text. No sequence of ids makes it raise, none yields a message that could not be rendered again, and
nothing a model wrote is lost: it is in a message, or in the record of a repair. What departs from
the format is read as what it most likely means (docs/harmony.md has the table of repairs). Time is
linear: a header has bounded length, and text is passed on as it comes.

Every repair says what it left out and what it put in, so that an account can be made: what was
written and put in is, byte for byte, what the messages hold and what was left out.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass

from motet.harmony.content import TextContent
from motet.harmony.events import (
    HarmonyEvent,
    MessageEnd,
    MessageEnded,
    MessageStarted,
    Repaired,
    TextDelta,
)
from motet.harmony.header import (
    AUTHORS,
    CHANNEL,
    SPACE,
    Header,
    Known,
    Mark,
    Segment,
    header_text,
    read_header,
)
from motet.harmony.messages import Author, Message
from motet.harmony.names import CHANNELS, COMMENTARY, Role
from motet.harmony.repairs import Repair, RepairKind
from motet.harmony.settling import is_call, settle, split_texts
from motet.harmony.utf8 import Utf8Reader
from motet.harmony.vocabulary import Vocabulary

MAXIMUM_HEADER_TOKENS = 128
"""A longer header is none: the model forgot `<|message|>` and has begun with the text."""

MAXIMUM_HEADER_SEGMENTS = 8
"""Nor has a header so many special tokens; one of three is the longest that is well-formed."""

START = "<|start|>"
MESSAGE = "<|message|>"

_TERMINATORS = ("end", "return", "call", "endoftext")


@dataclass(frozen=True)
class ParseResult:
    """The messages in a sequence of tokens and what had to be mended to read them."""

    messages: tuple[Message, ...]
    repairs: tuple[Repair, ...]

    @property
    def is_well_formed(self) -> bool:
        """Whether the tokens followed the format: nothing had to be repaired."""
        return not self.repairs


def parse_tokens(
    tokens: Iterable[int],
    vocabulary: Vocabulary,
    role: Role | None = Role.ASSISTANT,
    *,
    tools: Collection[str] | None = None,
    channels: Collection[str] = CHANNELS,
) -> ParseResult:
    """Read a whole sequence; the arguments are those of HarmonyParser. Never raises."""
    parser = HarmonyParser(vocabulary, role, tools=tools, channels=channels)
    for token in tokens:
        parser.feed(token)
    parser.finish()
    return ParseResult(tuple(parser.messages), tuple(parser.repairs))


class HarmonyParser:
    """Reads token ids as they are generated.

    With a `role` it begins in that role's header, right after a prompt's `<|start|>assistant`;
    with None it begins between messages. `tools` are the names on offer (`functions.f`,
    `browser.search`, `python`), which lets it mend calls by a wrong name; None if not known.
    `channels` are the valid ones.
    """

    def __init__(
        self,
        vocabulary: Vocabulary,
        role: Role | None = Role.ASSISTANT,
        *,
        tools: Collection[str] | None = None,
        channels: Collection[str] = CHANNELS,
    ) -> None:
        self.messages: list[Message] = []
        self.repairs: list[Repair] = []
        self._vocabulary = vocabulary
        self._names = {token: name for name, token in vocabulary.special.items()}
        self._known = Known(tools, channels)
        self._is_completion = role is Role.ASSISTANT
        self._events: list[HarmonyEvent] = []
        self._position = 0
        self._role: Role | None = None
        self._segments: list[Segment] = []
        self._tokens: list[int] = []
        self._texts: list[str] = []
        self._breaks_line = False
        self._repairs_before = 0
        self._read: Callable[[int, bytes | None], None] = self._between
        if role is not None:
            self._open_header(role)

    def feed(self, token: int) -> list[HarmonyEvent]:
        """Read one more token, any integer at all."""
        self._events = []
        self._read(token, self._vocabulary.token_bytes(token))
        self._position += 1
        return self._events

    def finish(self) -> list[HarmonyEvent]:
        """The tokens have ended: close what is open."""
        self._events = []
        if self._read == self._in_text:
            self._end_message("cut")
        elif self._read == self._in_header:
            self._cut_header()
        return self._events

    # Between messages

    def _between(self, token: int, text: bytes | None) -> None:
        name = self._names.get(token)
        if name == "start":
            self._open_header(None)
        elif name in _TERMINATORS:
            self._repair(RepairKind.STRAY_TERMINATOR, f"<|{name}|>")
        elif name in ("channel", "message", "constrain"):
            self._open_missing_header(Role.ASSISTANT)
            self._in_header(token, text)
        elif text is None:
            self._drop(token)
        elif text.isspace():
            self._repair(RepairKind.STRAY_SPACE, text.decode())
        else:
            self._open_missing_header(None)
            self._in_header(token, text)

    # In a header

    def _open_header(self, role: Role | None) -> None:
        self._role = role
        self._segments = [Segment()]
        self._tokens = []
        self._repairs_before = len(self.repairs)
        self._read = self._in_header

    def _open_missing_header(self, role: Role | None) -> None:
        self._repair(RepairKind.MISSING_START, added=f"{START}{role or ''}")
        self._open_header(role)

    def _in_header(self, token: int, text: bytes | None) -> None:
        name = self._names.get(token)
        self._tokens.append(token)
        if text is not None:
            self._segments[-1].data += text
            self._find_text(text)
        elif name == "message":
            self._open_message(self._header(is_complete=True), has_message=True)
        elif name == "channel":
            self._add_channel()
        elif name == "constrain":
            self._add_segment("constrain")
        elif name == "start":
            self._restart_header()
        elif name in _TERMINATORS:
            self._end_header(name)
        else:
            self._drop(token)

    def _header(self, *, is_complete: bool) -> Header:
        return read_header(self._segments, self._role, self._known, is_complete=is_complete)

    def _written_header(self) -> str:
        """The header as it stands, with what began it."""
        return f"{START}{self._role or ''}{header_text(self._segments)}"

    def _add_segment(self, mark: Mark) -> None:
        self._segments.append(Segment(mark))
        self._find_text(b"")

    def _find_text(self, added: bytes) -> None:
        """Notice a text without `<|message|>`: it has line breaks, or goes on and on."""
        is_long = (
            len(self._tokens) > MAXIMUM_HEADER_TOKENS
            or len(self._segments) > MAXIMUM_HEADER_SEGMENTS
        )
        if is_long or b"\n" in added:
            header = self._header(is_complete=False)
            if is_long or header.texts:
                self._open_message(header, has_message=False)

    def _add_channel(self) -> None:
        """`<|channel|>`: part of the header, unless a text without `<|message|>` has begun."""
        header = self._header(is_complete=True)
        if header.texts and header.recipient is None:
            self._open_message(header, has_message=False)
            self._end_message("")
            self._open_missing_header(Role.ASSISTANT)
            self._tokens.append(self._vocabulary.channel)
        self._add_segment("channel")

    def _restart_header(self) -> None:
        """`<|start|>` inside a header."""
        header = self._header(is_complete=False)
        if header.texts:
            self._open_message(header, has_message=False)
            self._end_message("")
        else:
            self._repair(RepairKind.REPEATED_START, self._written_header())
        self._open_header(None)

    def _end_header(self, written: str) -> None:
        """A terminator inside a header: the text is behind the header, or there is none."""
        header = self._header(is_complete=False)
        if header.is_bare:
            self._discard_header(RepairKind.EMPTY_MESSAGE, f"<|{written}|>")
        else:
            self._open_message(header, has_message=False)
            self._end_message(written)

    def _cut_header(self) -> None:
        """The tokens ended in a header: text, unless it may be words of structure, the last cut."""
        header = self._header(is_complete=False)
        if self._known.may_become_structure(header.text):
            self._discard_header(RepairKind.CUT_IN_HEADER)
        else:
            self._open_message(header, has_message=False)
            self._end_message("cut")

    def _discard_header(self, kind: RepairKind, terminator: str = "") -> None:
        self._repair(kind, f"{self._written_header()}{terminator}")
        self._read = self._between

    def _open_message(self, header: Header, *, has_message: bool) -> None:
        settle(header, self._known, is_completion=self._is_completion)
        for kind, detail, added in header.notes:
            self._repair(kind, detail, added)
        said, text = split_texts(header) if has_message else ("", header.text)
        if said:
            self._insert_message(said)
        if not has_message:
            self._repair(RepairKind.MISSING_MESSAGE, added=MESSAGE)
        elif text:
            self._repair(RepairKind.TEXT_IN_HEADER)
        self._start_message(header, text)
        self._breaks_line = has_message and bool(text) and text[-1] not in SPACE

    # In a text

    def _insert_message(self, said: str) -> None:
        """A message of its own for a sentence in the header of a call."""
        author = AUTHORS[Role.ASSISTANT]
        added = f"{START}{author.role}{CHANNEL}{COMMENTARY}{MESSAGE}<|end|>"
        self._repair(RepairKind.TEXT_IN_HEADER, added=added)
        self._start_message(Header(author, COMMENTARY), said)
        self._end_message("end")

    def _start_message(self, header: Header, text: str) -> None:
        self._current = header
        self._utf8 = Utf8Reader()
        self._texts = []
        self._read = self._in_text
        self._events.append(
            MessageStarted(
                len(self.messages),
                header.author,
                header.channel,
                header.recipient,
                header.content_type,
            )
        )
        self._add_text(text.encode("utf-8", "surrogateescape"))

    def _in_text(self, token: int, text: bytes | None) -> None:
        self._tokens.append(token)
        if text is not None:
            self._add_text(self._after_header(text))
            return
        name = self._names.get(token)
        if name == "start":
            self._end_message("")
            self._open_header(None)
        elif name == "channel":
            self._end_message("")
            self._open_missing_header(Role.ASSISTANT)
            self._in_header(token, text)
        elif name in _TERMINATORS:
            self._end_message(name)
        else:
            self._drop(token)

    def _after_header(self, text: bytes) -> bytes:
        """A line break keeps words of the header apart from those behind `<|message|>`."""
        breaks_line, self._breaks_line = self._breaks_line, False
        return b"\n" + text if breaks_line and not text[:1].isspace() else text

    def _add_text(self, data: bytes) -> None:
        self._emit(*self._utf8.feed(data))

    def _emit(self, text: str, invalid: list[bytes]) -> None:
        for broken in invalid:
            self._repair(RepairKind.INVALID_UTF8, broken.hex(), "\N{REPLACEMENT CHARACTER}")
        if text:
            self._texts.append(text)
            self._events.append(TextDelta(len(self.messages), text))

    def _end_message(self, written: str) -> None:
        """End it by what was written: a terminator, nothing ("") or no more tokens ("cut")."""
        self._emit(*self._utf8.finish())
        header = self._current
        end: MessageEnd = "cut" if written == "cut" else self._meant_end(header, written)
        message = Message(
            header.author,
            (TextContent("".join(self._texts)),),
            header.channel,
            header.recipient,
            header.content_type,
            self._exact_tokens(header.author),
        )
        self._events.append(MessageEnded(len(self.messages), message, end))
        self.messages.append(message)
        self._read = self._between

    def _meant_end(self, header: Header, written: str) -> MessageEnd:
        """A message of the assistant to a tool is a call, and none other is."""
        ends_turn = written in ("return", "endoftext")
        end: MessageEnd = "call" if is_call(header) else "return" if ends_turn else "end"
        if written in ("", "endoftext"):
            self._repair(RepairKind.MISSING_END, written and f"<|{written}|>", f"<|{end}|>")
        elif written != end:
            self._repair(RepairKind.WRONG_TERMINATOR, f"<|{written}|>", f"<|{end}|>")
        return end

    def _exact_tokens(self, author: Author) -> tuple[int, ...] | None:
        """What follows `<|start|>`, if that can be repeated as it is."""
        if author.role is not Role.ASSISTANT or len(self.repairs) > self._repairs_before:
            return None
        given = self._vocabulary.encode(self._role) if self._role else []
        return (*given, *self._tokens)

    def _drop(self, token: int) -> None:
        """Leave out a token that stands for nothing here."""
        if self._vocabulary.is_special(token):
            self._repair(RepairKind.STRAY_SPECIAL, self._vocabulary.decode((token,)))
        else:
            self._repair(RepairKind.UNKNOWN_TOKEN, str(token))

    def _repair(self, kind: RepairKind, detail: str = "", added: str = "") -> None:
        repair = Repair(kind, self._position, detail, added)
        self.repairs.append(repair)
        self._events.append(Repaired(repair))
