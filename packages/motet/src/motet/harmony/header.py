"""Reading a message's header: who speaks, on which channel, to whom, in which format.

A header arrives as segments: bytes of text, each but the first introduced by `<|channel|>` or
`<|constrain|>`. Special tokens are told apart by id and never by spelling, so text that spells
`<|channel|>` is only text. The recipient may stand before or after the channel. Whatever else
stands there is sorted by what the model most likely meant, and everything not understood is noted.

A header is complete if `<|message|>` followed it. If that is missing, reading stops at the first
word that cannot belong to a header: from there on it is the message's text.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Literal

from motet.harmony.messages import Author
from motet.harmony.names import ANALYSIS, COMMENTARY, CONSTRAIN, FINAL, FUNCTIONS, SPEAKERS, Role
from motet.harmony.repairs import RepairKind

Mark = Literal["", "channel", "constrain"]

_WORD = re.compile(r"\s*(\S+)")
_NAME = re.compile(r"\s*([\w.-]+)")
_FORMAT = re.compile(r"[\w.+/-]+")
_ADDRESSED = re.compile(r"\s+to=\S")
_COMMON_FORMATS = ("json", "code")
_BUILTIN = ("python", "browser")
_PEOPLE = frozenset(("all", *(role.value for role in Role)))
_AUTHORS = {role: Author(role, "tool" if role is Role.TOOL else None) for role in Role}


@dataclass
class Segment:
    """Header text and the special token in front of it."""

    mark: Mark = ""
    data: bytearray = field(default_factory=bytearray)


@dataclass(frozen=True)
class Known:
    """What the reader of a header may know beforehand.

    `tools` are the names a call may go to (`functions.f`, `browser.search`, `python`), None if the
    reader does not know; `channels` are those the system message names.
    """

    tools: Collection[str] | None
    channels: Collection[str]

    def channel_at_start(self, text: str) -> str | None:
        """The channel whose name begins `text`, whatever the case; the longest if several do."""
        lowered = text.lower()
        found = [name for name in self.channels if lowered.startswith(name.lower())]
        return max(found, key=len, default=None)

    def begins_with_channel(self, text: str) -> bool:
        """Whether `text` begins with a channel's name as a word: `final`, `analysisWe`."""
        text = text.lstrip()
        name = self.channel_at_start(text)
        return name is not None and text.startswith(name) and not text[len(name) :][:1].islower()

    def is_tool(self, name: str) -> bool:
        """Whether calls to `name` are plausible."""
        if self.tools is not None and self.full_name(name) in self.tools:
            return True
        return name in _BUILTIN or name.startswith((f"{FUNCTIONS}.", *(f"{b}." for b in _BUILTIN)))

    def full_name(self, name: str) -> str:
        """The tool that is meant by `name`, which may lack its namespace or have one too many."""
        wanted = (name, f"{FUNCTIONS}.{name}", name.removeprefix(f"{FUNCTIONS}."))
        return next((tool for tool in wanted if tool in (self.tools or ())), name)


@dataclass
class Header:
    """A header as read; `rest` is the text that followed it without `<|message|>`."""

    author: Author
    is_complete: bool
    channel: str | None = None
    recipient: str | None = None
    content_type: str | None = None
    rest: str = ""
    notes: list[tuple[RepairKind, str]] = field(default_factory=list)

    @property
    def is_bare(self) -> bool:
        """Whether it says nothing but who speaks."""
        return not (self.channel or self.recipient or self.content_type or self.rest.strip())


def read_header(
    segments: list[Segment], role: Role | None, known: Known, *, is_complete: bool
) -> Header:
    """Read a header; `role` is given where the prompt already named the speaker. Never raises."""
    return _Reader(role, known, is_complete).read(segments)


def settle(header: Header, known: Known, *, is_completion: bool) -> None:
    """Give an assistant's message the recipient and channel it must have.

    In a completion all messages are the assistant's, whoever it pretends to be: it has no say in
    what a system or a user said, nor in what a tool answered.
    """
    if is_completion and header.author.role is not Role.ASSISTANT:
        _settle_author(header)
    if header.author.role is Role.ASSISTANT:
        _settle_recipient(header, known)
        _settle_channel(header)


def printable(text: str) -> str:
    """`text`, with bytes that are no UTF-8 as `\\xNN`."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def header_text(segments: list[Segment]) -> str:
    """All segments as the model wrote them."""
    marks = {"": "", "channel": "<|channel|>", "constrain": CONSTRAIN}
    return "".join(
        marks[part.mark] + part.data.decode("utf-8", "backslashreplace") for part in segments
    )


class _Reader:
    """Reads one header, segment by segment."""

    def __init__(self, role: Role | None, known: Known, is_complete: bool) -> None:
        self._role = role
        self._known = known
        self._is_complete = is_complete
        self._others: list[str] = []
        self._header = Header(_AUTHORS[role or Role.ASSISTANT], is_complete)

    def read(self, segments: list[Segment]) -> Header:
        for segment in segments:
            text = segment.data.decode("utf-8", "surrogateescape")
            match segment.mark:
                case "channel":
                    text = self._channel(text)
                case "constrain":
                    text = self._constrain(text)
                case "":
                    text = self._speaker(text)
            self._words(text)
        self._sort_others()
        return self._header

    def _note(self, kind: RepairKind, detail: str = "") -> None:
        self._header.notes.append((kind, printable(detail)))

    def _speaker(self, text: str) -> str:
        """Take the author off the front of the first segment; returns what follows."""
        text = self._name(text, self._role) if self._role else self._author(text)
        is_assistant = self._header.author.role is Role.ASSISTANT
        if is_assistant and self._known.begins_with_channel(text):
            self._note(RepairKind.MISSING_CHANNEL_MARK)
            return self._channel(text.lstrip())
        return text

    def _name(self, text: str, role: Role) -> str:
        """Behind a role the prompt named: a name (`:bob`), or the role again."""
        word, rest = _split(text)
        name = word.removeprefix(":")
        if text.startswith(":") and _NAME.fullmatch(name) and role is not Role.TOOL:
            self._header.author = Author(role, printable(name))
            return rest
        behind = word.removeprefix(role)
        if behind != word and (not behind or self._known.begins_with_channel(behind)):
            self._note(RepairKind.REPEATED_ROLE)
            return behind + rest
        return text

    def _author(self, text: str) -> str:
        """The first word of a header that a `<|start|>` began."""
        word, rest = _split(text)
        role, colon, name = word.partition(":")
        if role in SPEAKERS:
            if colon and not name:
                self._note(RepairKind.UNKNOWN_ROLE, colon)
            self._header.author = (
                Author(Role(role), printable(name)) if name else _AUTHORS[Role(role)]
            )
            return rest
        behind = word.removeprefix(Role.ASSISTANT)
        if behind != word and self._known.begins_with_channel(behind):
            return behind + rest
        if not word or word.startswith("to=") or self._known.begins_with_channel(word):
            self._note(RepairKind.MISSING_ROLE)
            return text
        return self._stranger(text, word, rest)

    def _stranger(self, text: str, word: str, rest: str) -> str:
        """A first word that is no role: a tool that answers, a wrong role, or already text."""
        is_named = word == Role.TOOL or self._known.is_tool(word)
        is_text = not self._is_complete and rest.strip()
        if _ADDRESSED.match(rest) or (is_named and not is_text):
            self._header.author = Author(Role.TOOL, printable(word))
            return rest
        if not self._is_complete:
            self._note(RepairKind.MISSING_ROLE)
            return text
        self._note(RepairKind.UNKNOWN_ROLE, word)
        return rest

    def _channel(self, text: str) -> str:
        """Take a channel's name off the front; returns what follows."""
        word, rest = _split(text)
        if self._header.author.role is not Role.ASSISTANT and word:
            self._set_channel(printable(word))
            return rest
        name = self._known.channel_at_start(word)
        if name is None:
            return self._odd_channel(text, word, rest)
        written = word[: len(name)]
        if word != name or text[0].isspace():
            self._note(RepairKind.UNKNOWN_CHANNEL, "" if written == name else written)
        self._set_channel(name)
        return f"{word[len(name) :]}{rest}"

    def _odd_channel(self, text: str, word: str, rest: str) -> str:
        if not word or not self._is_complete:
            return text
        self._note(RepairKind.UNKNOWN_CHANNEL, word)
        self._header.channel = self._header.channel or COMMENTARY
        return rest

    def _set_channel(self, name: str) -> None:
        if earlier := self._header.channel:
            self._note(RepairKind.REPEATED_CHANNEL, "" if earlier == name else earlier)
        self._header.channel = name

    def _constrain(self, text: str) -> str:
        word, rest = _split(text, _WORD if self._is_complete else _NAME)
        if not word:
            self._note(RepairKind.HEADER_LEFTOVER, CONSTRAIN)
            return text
        if earlier := self._header.content_type:
            self._note(RepairKind.HEADER_LEFTOVER, earlier)
        self._header.content_type = f"{CONSTRAIN}{printable(word)}"
        return rest

    def _words(self, text: str) -> None:
        """What stands behind a role, a channel or a format: mostly `to=…`, or `json`."""
        while (split := _split(text))[0]:
            word, rest = split
            if word.startswith("to="):
                text = self._to(text.lstrip().removeprefix("to="))
            elif self._is_complete:
                self._others.append(word)
                text = rest
            elif self._takes_format() and word in _COMMON_FORMATS:
                self._header.content_type = word
                text = rest
            else:
                self._header.rest += text
                return
        self._header.rest += "" if self._is_complete else text

    def _takes_format(self) -> bool:
        return self._header.recipient is not None and self._header.content_type is None

    def _to(self, text: str) -> str:
        """Take the recipient off the front, behind its `to=`; returns what follows."""
        name, rest = _split(text, _WORD if self._is_complete else _NAME)
        if not name:
            self._note(RepairKind.HEADER_LEFTOVER, "to=")
            return text
        if earlier := self._header.recipient:
            self._note(RepairKind.REPEATED_RECIPIENT, "" if earlier == name else earlier)
        self._header.recipient = printable(name)
        return rest

    def _sort_others(self) -> None:
        """Words of a complete header that nothing introduced: a recipient, a content type."""
        header, left = self._header, []
        for word in self._others:
            if header.recipient is None and self._known.is_tool(word):
                self._note(RepairKind.MISSING_TO)
                header.recipient = printable(word)
            else:
                left.append(word)
        if left and header.content_type is None and _is_format(left):
            header.content_type = left.pop()
        if left:
            self._note(RepairKind.HEADER_LEFTOVER, " ".join(left))


def _is_format(words: list[str]) -> bool:
    is_only = len(words) == 1 and _FORMAT.fullmatch(words[0]) is not None
    return is_only or words[-1] in _COMMON_FORMATS


def _settle_author(header: Header) -> None:
    author = header.author
    words = (author.name or author.role, header.recipient, header.channel)
    header.notes.append((RepairKind.FOREIGN_ROLE, " ".join(word for word in words if word)))
    header.author = _AUTHORS[Role.ASSISTANT]
    header.recipient, header.channel = None, COMMENTARY


def _settle_recipient(header: Header, known: Known) -> None:
    if header.recipient is None:
        return
    name, mark, leaked = header.recipient.partition("<|")
    if mark:
        header.notes.append((RepairKind.HEADER_LEFTOVER, mark + leaked))
    if not name or name in _PEOPLE:
        header.notes.append((RepairKind.RECIPIENT_IS_NO_TOOL, name))
        header.recipient = None
        return
    header.recipient = known.full_name(name)
    is_odd = known.tools is None and "." not in name and name not in _BUILTIN
    if is_odd or header.recipient != name:
        header.notes.append((RepairKind.UNKNOWN_RECIPIENT, ""))


def _settle_channel(header: Header) -> None:
    recipient = header.recipient or ""
    is_function = recipient.startswith(f"{FUNCTIONS}.")
    if header.channel is None:
        is_builtin = recipient.partition(".")[0] in _BUILTIN
        header.channel = ANALYSIS if is_builtin else COMMENTARY if recipient else FINAL
        header.notes.append((RepairKind.MISSING_CHANNEL, ""))
    elif (header.channel == FINAL and recipient) or (header.channel == ANALYSIS and is_function):
        header.notes.append((RepairKind.CALL_ON_WRONG_CHANNEL, header.channel))
        header.channel = COMMENTARY


def _split(text: str, pattern: re.Pattern[str] = _WORD) -> tuple[str, str]:
    """The first word and what follows it; the word is empty if there is none."""
    found = pattern.match(text)
    return (found[1], text[found.end() :]) if found else ("", text)
