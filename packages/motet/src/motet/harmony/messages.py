"""The nouns of harmony: who says what to whom on which channel.

All are frozen dataclasses, and a message that exists can be written: names, channels and
recipients that would break a header are refused when the message is made. The JSON form is that of
openai-harmony's Conversation and Message, so its files can be read and ours be read by it; see
`content.py` for what a system or developer message holds.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from motet.harmony.content import (
    Content,
    DeveloperContent,
    SystemContent,
    TextContent,
    content_from_fields,
)
from motet.harmony.errors import HarmonyError
from motet.harmony.json_fields import Fields, read_all
from motet.harmony.names import COMMENTARY, CONSTRAIN, FINAL, SPEAKERS, Role


@dataclass(frozen=True)
class Author:
    """A role and, for tools always and for others if wished, a name."""

    role: Role
    name: str | None = None

    def __post_init__(self) -> None:
        if self.role is Role.TOOL:
            if self.name is None:
                raise HarmonyError("The author of a tool's message needs a name.")
            if self.name.partition(":")[0] in SPEAKERS:
                raise HarmonyError(f"A tool cannot be named {self.name!r}: that is a role.")
        _check_header_word("author's name", self.name)

    @property
    def header_word(self) -> str:
        """How a header names the author: `user`, `user:bob`, `functions.get_weather`."""
        if self.role is Role.TOOL:
            return self.name or self.role
        return f"{self.role}:{self.name}" if self.name else self.role


@dataclass(frozen=True)
class Message:
    """What one author says.

    `tokens` are the exact ids of a model's message, from after `<|start|>` to the terminator
    included (of a completion's first message, the role is the prompt's). Rendering repeats them as
    they are, so that a prompt extends the one before it: they are of use with that model's
    vocabulary only, and a copy with other content must not keep them. They do not count in
    comparisons and are not part of the JSON form.
    """

    author: Author
    content: tuple[Content, ...]
    channel: str | None = None
    recipient: str | None = None
    content_type: str | None = None
    tokens: tuple[int, ...] | None = field(default=None, compare=False, repr=False)

    def __post_init__(self) -> None:
        _check_header_word("channel", self.channel)
        _check_header_word("recipient", self.recipient)
        if self.content_type is not None:
            _check_header_word("content type", self.content_type.removeprefix(CONSTRAIN))
        for content in self.content:
            if content.role not in (None, self.author.role):
                raise HarmonyError(
                    f"The {content.role} content is for {content.role} messages only, "
                    f"not for one by {self.author.role}."
                )

    @property
    def text(self) -> str:
        """All text contents, joined; instructions of system and developer messages are not text."""
        return "".join(part.text for part in self.content if isinstance(part, TextContent))

    @classmethod
    def system(cls, content: SystemContent | str | None = None) -> Message:
        """The first message: identity, effort, channels, builtin tools. A string is verbatim."""
        part = SystemContent() if content is None else _part(content)
        return cls(Author(Role.SYSTEM), (part,))

    @classmethod
    def developer(cls, content: DeveloperContent | str) -> Message:
        """Instructions, functions and response formats. A string is verbatim, without headings."""
        return cls(Author(Role.DEVELOPER), (_part(content),))

    @classmethod
    def user(cls, text: str, name: str | None = None) -> Message:
        """What the user says."""
        return cls(Author(Role.USER, name), (TextContent(text),))

    @classmethod
    def assistant(
        cls,
        text: str,
        channel: str | None = FINAL,
        recipient: str | None = None,
        content_type: str | None = None,
    ) -> Message:
        """What the model says, thinks, or (with a recipient) asks of a tool."""
        content = (TextContent(text),)
        return cls(Author(Role.ASSISTANT), content, channel, recipient, content_type)

    @classmethod
    def tool(
        cls, name: str, text: str, channel: str | None = COMMENTARY, recipient: str = "assistant"
    ) -> Message:
        """What the tool `name` (such as `functions.get_weather`) answers to the assistant."""
        return cls(Author(Role.TOOL, name), (TextContent(text),), channel, recipient)

    def to_json(self) -> dict[str, Any]:
        """The form of openai-harmony's `Message.to_dict`."""
        optional = {
            "channel": self.channel,
            "recipient": self.recipient,
            "content_type": self.content_type,
        }
        return {
            "role": self.author.role.value,
            "name": self.author.name,
            "content": [content.to_json() for content in self.content],
        } | {name: value for name, value in optional.items() if value is not None}

    @classmethod
    def from_json(cls, value: object, path: str = "message") -> Message:
        """Read `to_json`'s form; a string as content is one text. Raises HarmonyError."""
        return read_all(value, path, _message)


@dataclass(frozen=True)
class Conversation:
    """Messages in the order they were said."""

    messages: tuple[Message, ...] = ()

    @property
    def tools(self) -> frozenset[str]:
        """The names of all tools on offer; those that a verbatim text describes are not seen."""
        return frozenset(
            name
            for message in self.messages
            for content in message.content
            if not isinstance(content, TextContent)
            for namespace in content.tools
            for name in namespace.recipients
        )

    def to_json(self) -> dict[str, Any]:
        """The form of openai-harmony's `Conversation.to_dict`."""
        return {"messages": [message.to_json() for message in self.messages]}

    @classmethod
    def from_json(cls, value: object, path: str = "conversation") -> Conversation:
        """Read `to_json`'s form. Raises HarmonyError naming the path of what is wrong."""
        return read_all(value, path, _conversation)


def _part(content: Content | str) -> Content:
    return TextContent(content) if isinstance(content, str) else content


def _check_header_word(what: str, word: str | None) -> None:
    if word is not None and (not word or any(letter.isspace() for letter in word)):
        raise HarmonyError(f"The {what} {word!r} must be one word without spaces.")


def _conversation(fields: Fields) -> Conversation:
    if not fields.has("messages"):
        raise HarmonyError(f"{fields.path}.messages is missing.")
    return Conversation(fields.objects("messages", _message))


def _message(fields: Fields) -> Message:
    role = fields.take("role", str)
    if role not in set(Role):
        raise HarmonyError(f"{fields.path}.role {role!r} is none of {', '.join(Role)}.")
    return Message(
        author=Author(Role(role), fields.optional("name", str)),
        content=_contents(fields),
        channel=fields.optional("channel", str),
        recipient=fields.optional("recipient", str),
        content_type=fields.optional("content_type", str),
    )


def _contents(fields: Fields) -> tuple[Content, ...]:
    if not fields.has("content"):
        raise HarmonyError(f"{fields.path}.content is missing.")
    if isinstance(fields.value("content"), str):
        return (TextContent(fields.take("content", str)),)
    return fields.objects("content", content_from_fields)
