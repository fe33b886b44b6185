"""What the parser tells while tokens come in."""

from dataclasses import dataclass
from typing import Literal

from motet.harmony.messages import Author, Message
from motet.harmony.repairs import Repair

MessageEnd = Literal["end", "return", "call", "cut"]
"""How it ended: others may follow, the turn is over, a tool is called, or the tokens ran out."""


@dataclass(frozen=True)
class MessageStarted:
    """A header is complete; text follows. `index` counts the messages from 0."""

    index: int
    author: Author
    channel: str | None
    recipient: str | None
    content_type: str | None


@dataclass(frozen=True)
class TextDelta:
    """More text of message `index`: whole characters, never empty."""

    index: int
    text: str


@dataclass(frozen=True)
class MessageEnded:
    """Message `index` is whole."""

    index: int
    message: Message
    end: MessageEnd


@dataclass(frozen=True)
class Repaired:
    """The model departed from the format."""

    repair: Repair


HarmonyEvent = MessageStarted | TextDelta | MessageEnded | Repaired
