"""Reading a message's header: who speaks, on which channel, to whom, in which format.

A header arrives as segments: bytes of text, each but the first introduced by `<|channel|>` or
`<|constrain|>`. Special tokens are told apart by id and never by spelling, so text that spells
`<|channel|>` is only text. The recipient may stand before or after the channel. Words are structure
where the grammar of a header, or a list of known words, says so; everything else is the message's
text, which began too early, and is kept as such.

A header is complete if a special token followed it that can. If it is not, reading stops at the
first word that cannot belong to a header: from there on it is text. White space between the words
of a header is that of ASCII.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Literal

from motet.harmony.messages import Author
from motet.harmony.names import COMMENTARY, CONSTRAIN, FINAL, FUNCTIONS, SPEAKERS, Role
from motet.harmony.repairs import RepairKind

Mark = Literal["", "channel", "constrain"]

CHANNEL = "<|channel|>"
FORMATS = frozenset(("json", "code", "text", "markdown", "xml", "yaml"))
"""The content types that are known by name, in any case."""

BUILTIN = ("python", "browser")
NOBODY = frozenset(("all", *Role))
"""Recipients that an assistant's message does not call."""

AUTHORS = {role: Author(role, "tool" if role is Role.TOOL else None) for role in Role}
SPACE = " \t\n\r\f\v"

_ROLES = frozenset(Role)
_WORD = re.compile(rf"[^{SPACE}]+")
_NAME = re.compile(r"\w(?:[\w.:/-]*\w)?")
_FORMAT = re.compile(r"[^\W\d_][\w.+/-]*")
_TO = re.compile(rf"(?:^|(?<=[{SPACE}]))to=(?={_NAME.pattern})")
_SPELLED = re.compile(r"<\|\w+\|>")
_PUNCTUATION = re.compile(r"[!#-&*-/:-@\\^_|~)\]}]+")
"""That of ASCII, without the quotes and brackets that may begin a text."""

_ARGUMENTS = ("{", "[")


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
        text = text.lstrip(SPACE)
        name = self.channel_at_start(text)
        return name is not None and text.startswith(name) and not text[len(name) :][:1].islower()

    def is_tool(self, name: str) -> bool:
        """Whether calls to `name` are plausible."""
        if self.tools is not None and self.full_name(name) in self.tools:
            return True
        spaces = (f"{FUNCTIONS}.", *(f"{builtin}." for builtin in BUILTIN))
        return name in BUILTIN or (name.startswith(spaces) and bool(_NAME.fullmatch(name)))

    def recipient_at_start(self, text: str) -> tuple[str, str]:
        """The name that begins `text`, and what follows; a tool on offer may be named anyhow."""
        name, rest = _split(text, _NAME)
        text = text.lstrip(SPACE)
        odd = [tool for tool in self.tools or () if text.startswith(tool) and len(tool) > len(name)]
        longest = max(odd, key=len, default=None)
        return (longest, text[len(longest) :]) if longest else (name, rest)

    def full_name(self, name: str) -> str:
        """The tool that is meant by `name`, which may lack its namespace or have one too many."""
        wanted = (name, f"{FUNCTIONS}.{name}", name.removeprefix(f"{FUNCTIONS}."))
        return next((tool for tool in wanted if tool in (self.tools or ())), name)

    def is_structure(self, word: str) -> bool:
        """Whether `word`, alone in a header, is none of the text: names, formats, control tokens.

        Control tokens may be spelled out, with such a word behind them. Punctuation alone is no
        text either.
        """
        plain = [part for part in _SPELLED.split(word) if part]
        if len(plain) != 1 or plain[0] != word:
            return all(map(self.is_structure, plain))
        return (
            word.lower() in FORMATS
            or word in self.channels
            or word in _ROLES
            or self.is_tool(word)
            or _PUNCTUATION.fullmatch(word) is not None
        )

    def may_become_structure(self, text: str) -> bool:
        """Whether `text` has words of structure only, of which the last may have been cut off."""
        *words, last = _WORD.findall(text) or [""]
        wholes = (*self.channels, *Role, *FORMATS, *BUILTIN, *(self.tools or ()), "to=", FUNCTIONS)
        may_be = self.is_structure(last) or any(whole.startswith(last) for whole in wholes)
        return may_be and all(map(self.is_structure, words))


@dataclass
class Header:
    """A header as read.

    `texts` are the pieces of text found in it, those behind the recipient marked with True. `notes`
    are the repairs: kind, what is left out and what is put in.
    """

    author: Author
    channel: str | None = None
    recipient: str | None = None
    content_type: str | None = None
    texts: list[tuple[str, bool]] = field(default_factory=list)
    notes: list[tuple[RepairKind, str, str]] = field(default_factory=list)

    @property
    def is_bare(self) -> bool:
        """Whether it says nothing but who speaks."""
        return not (self.channel or self.recipient or self.content_type or self.texts)

    @property
    def text(self) -> str:
        """All text found in it."""
        return " ".join(text for text, _ in self.texts)

    def note(self, kind: RepairKind, detail: str = "", added: str = "") -> None:
        """Note a repair."""
        self.notes.append((kind, detail, added))


def read_header(
    segments: list[Segment], role: Role | None, known: Known, *, is_complete: bool
) -> Header:
    """Read a header; `role` is given where the prompt already named the speaker. Never raises."""
    return _Reader(role, known, is_complete).read(segments)


def header_text(segments: list[Segment]) -> str:
    """All segments as the model wrote them."""
    marks = {"": "", "channel": CHANNEL, "constrain": CONSTRAIN}
    return "".join(
        marks[part.mark] + part.data.decode("utf-8", "backslashreplace") for part in segments
    )


class _Reader:
    """Reads one header, segment by segment."""

    def __init__(self, role: Role | None, known: Known, is_complete: bool) -> None:
        self._role = role
        self._known = known
        self._is_complete = is_complete
        self._header = Header(AUTHORS[role or Role.ASSISTANT])
        self._note = self._header.note

    def read(self, segments: list[Segment]) -> Header:
        take = {"": self._speaker, "channel": self._channel, "constrain": self._constrain}
        for segment in segments:
            text = segment.data.decode("utf-8", "surrogateescape")
            self._words(take[segment.mark](text))
        return self._header

    def _speaker(self, text: str) -> str:
        """Take the author off the front of the first segment; returns what follows."""
        text = self._name(text, self._role) if self._role else self._author(text)
        is_assistant = self._header.author.role is Role.ASSISTANT
        if is_assistant and self._known.begins_with_channel(text):
            self._note(RepairKind.MISSING_CHANNEL_MARK, added=CHANNEL)
            return self._channel(text.lstrip(SPACE))
        return text

    def _name(self, text: str, role: Role) -> str:
        """Behind a role the prompt named: a name (`:bob`), or the role again."""
        word, rest = _split(text)
        if text.startswith(":") and role is not Role.TOOL and self._is_name(word[1:], rest):
            self._header.author = Author(role, word[1:])
            return rest
        behind = word.removeprefix(role)
        if behind != word and (not behind or self._known.begins_with_channel(behind)):
            self._note(RepairKind.REPEATED_ROLE, role)
            return behind + rest
        is_format = word.lower() in FORMATS and self._is_name(word, rest)
        if text.startswith("to=") or (is_format and text.startswith(word)):
            self._note(RepairKind.MISSING_SPACE)
        return text

    def _author(self, text: str) -> str:
        """The first word of a header that a `<|start|>` began."""
        word, rest = _split(text)
        role, colon, name = word.partition(":")
        if role in SPEAKERS:
            is_named = self._is_name(name, rest)
            self._header.author = Author(Role(role), name) if is_named else AUTHORS[Role(role)]
            if colon and not is_named:
                self._note(RepairKind.UNKNOWN_ROLE, colon)
                return name + rest
            return rest
        behind = word.removeprefix(Role.ASSISTANT)
        if behind != word and self._known.begins_with_channel(behind):
            return behind + rest
        if behind != word and behind.startswith("to="):
            self._note(RepairKind.MISSING_SPACE)
            return behind + rest
        return self._stranger(text, word, rest)

    def _stranger(self, text: str, word: str, rest: str) -> str:
        """A first word that is no role: a tool that answers, a wrong role, or no author at all."""
        is_absent = not word or word.startswith("to=") or self._known.begins_with_channel(word)
        is_named = word == Role.TOOL or self._known.is_tool(word)
        if not is_absent and (is_named or _NAME.fullmatch(word)):
            is_alone = self._is_structure(rest) if self._is_complete else not rest.strip(SPACE)
            if (is_named and is_alone) or _TO.match(rest, len(rest) - len(rest.lstrip(SPACE))):
                self._header.author = Author(Role.TOOL, word)
                return rest
            if self._is_name(word, rest):
                self._note(RepairKind.UNKNOWN_ROLE, word, Role.ASSISTANT)
                return rest
        self._note(RepairKind.MISSING_ROLE, added=Role.ASSISTANT)
        return text

    def _channel(self, text: str) -> str:
        """Take a channel's name off the front; returns what follows."""
        word, rest = _split(text)
        if self._header.author.role is not Role.ASSISTANT:
            name, rest = _split(text, _NAME)
            return self._set_channel(name, rest) if name else self._unused(CHANNEL, text)
        known = self._known.channel_at_start(word)
        if known is None:
            return self._odd_channel(text)
        written = word[: len(known)]
        if word != known or text[0] in SPACE:
            edit = ("", "") if written == known else (written, known)
            self._note(RepairKind.UNKNOWN_CHANNEL, *edit)
        return self._set_channel(known, f"{word[len(known) :]}{rest}")

    def _odd_channel(self, text: str) -> str:
        """A name nobody knows, or no name but already text."""
        name, rest = _split(text, _NAME)
        if not self._is_name(name, rest):
            return self._unused(CHANNEL, text)
        if self._header.channel:
            self._note(RepairKind.UNKNOWN_CHANNEL, f"{CHANNEL}{name}")
            return rest
        self._note(RepairKind.UNKNOWN_CHANNEL, name, COMMENTARY)
        return self._set_channel(COMMENTARY, rest)

    def _set_channel(self, name: str, rest: str) -> str:
        if earlier := self._header.channel:
            self._note(RepairKind.REPEATED_CHANNEL, f"{CHANNEL}{earlier}")
        self._header.channel = name
        return rest

    def _constrain(self, text: str) -> str:
        """Take a format off the front; returns what follows."""
        name, rest = _split(text, _FORMAT)
        is_known = name.lower() in FORMATS
        if not name or not (is_known or self._is_alone(rest)):
            return self._unused(CONSTRAIN, text)
        self._set_format(f"{CONSTRAIN}{name}", is_known)
        return rest

    def _set_format(self, name: str, is_known: bool) -> None:
        if earlier := self._header.content_type:
            self._note(RepairKind.HEADER_LEFTOVER, earlier)
        if not is_known:
            self._note(RepairKind.UNKNOWN_FORMAT)
        self._header.content_type = name

    def _unused(self, mark: str, text: str) -> str:
        """A mark with nothing behind it that it could introduce."""
        self._note(RepairKind.HEADER_LEFTOVER, mark)
        return text

    def _words(self, text: str) -> None:
        """What stands behind a role, a channel or a format: `to=…`, `json`, or already text."""
        while text := text.lstrip(SPACE):
            if text.startswith("to="):
                text = self._to(text.removeprefix("to="))
            else:
                run, text = self._run(text)
                self._sort(run)

    def _to(self, text: str) -> str:
        """Take the recipient off the front, behind its `to=`; returns what follows."""
        name, rest = self._known.recipient_at_start(text)
        if not name:
            return self._unused("to=", text)
        if earlier := self._header.recipient:
            self._note(RepairKind.REPEATED_RECIPIENT, f"to={earlier}")
        self._header.recipient = name
        return rest

    def _run(self, text: str) -> tuple[str, str]:
        """The words before the next recipient, and what is left; a text may well say `to=5`."""
        if self._is_complete:
            for found in _TO.finditer(text):
                before = text[: found.start()]
                name, _ = self._known.recipient_at_start(text[found.end() :])
                is_somebody = name in NOBODY or self._known.is_tool(name)
                if is_somebody or self._is_structure(before):
                    return before, text[found.start() :]
        return text, ""

    def _sort(self, run: str) -> None:
        """Words that nothing introduced: names and formats, or text."""
        words = _WORD.findall(run)
        is_structure = self._is_complete and all(map(self._known.is_structure, words))
        if is_structure or (len(words) == 1 and self._is_format(words[0])):
            self._names_and_formats(words)
        elif text := self._without_name(run):
            self._header.texts.append((text, self._header.recipient is not None))

    def _names_and_formats(self, words: list[str]) -> None:
        header, left = self._header, []
        for word in words:
            is_free = header.recipient is None and header.channel != FINAL
            if is_free and self._known.is_tool(word):
                self._note(RepairKind.MISSING_TO, added="to=")
                header.recipient = word
            else:
                left.append(word)
        if left and header.content_type is None:
            is_known = left[-1].lower() in FORMATS
            if is_known or (len(words) == 1 and self._is_format(left[-1])):
                self._set_format(left.pop(), is_known)
        if left:
            self._note(RepairKind.HEADER_LEFTOVER, " ".join(left))

    def _is_format(self, word: str) -> bool:
        """Whether `word`, alone behind a recipient, is the format: in a call, any word can be."""
        header = self._header
        nobody = ("all",) if header.author.role is Role.TOOL else NOBODY
        if header.recipient is None or header.recipient in nobody or header.content_type:
            return False
        return word.lower() in FORMATS or (self._is_complete and bool(_FORMAT.fullmatch(word)))

    def _without_name(self, text: str) -> str:
        """Take a tool's name and a format off the front of arguments."""
        name, rest = _split(text, _NAME)
        begins = rest.lstrip(SPACE).startswith(_ARGUMENTS)
        if self._header.recipient is None and begins and self._known.is_tool(name):
            self._note(RepairKind.MISSING_TO, added="to=")
            self._header.recipient, text = name, rest
        name, rest = _split(text, _FORMAT)
        begins = rest.lstrip(SPACE).startswith(_ARGUMENTS)
        if name.lower() in FORMATS and (begins or self._is_format(name)):
            self._set_format(name, is_known=True)
            text = rest
        return text.lstrip(SPACE)

    def _is_name(self, word: str, rest: str) -> bool:
        """Whether `word` can be a name of its own, and is not the first word of a text."""
        can_be = _NAME.fullmatch(word) is not None and not word[0].isdigit()
        return can_be and self._is_complete and self._is_structure(self._run(rest)[0])

    def _is_alone(self, rest: str) -> bool:
        """Whether nothing but a recipient stands behind a word."""
        return not self._run(rest)[0].strip(SPACE)

    def _is_structure(self, run: str) -> bool:
        return all(map(self._known.is_structure, _WORD.findall(run)))


def _split(text: str, pattern: re.Pattern[str] = _WORD) -> tuple[str, str]:
    """The first word and what follows it; the word is empty if there is none."""
    found = pattern.match(text, len(text) - len(text.lstrip(SPACE)))
    return (found[0], text[found.end() :]) if found else ("", text)
