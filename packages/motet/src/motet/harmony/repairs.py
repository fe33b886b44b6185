"""What the parser mends, by kind: the table of docs/harmony.md, as an enum.

Every departure of a model from the format is one of these kinds, and each is recorded where it
happens. Output is well-formed exactly if nothing had to be repaired.
"""

from dataclasses import dataclass
from enum import StrEnum


class RepairKind(StrEnum):
    """What was seen. docs/harmony.md says for each what is meant by it and what is done."""

    # Between messages
    MISSING_START = "missing_start"
    STRAY_SPACE = "stray_space"
    STRAY_TERMINATOR = "stray_terminator"
    # In a header
    REPEATED_START = "repeated_start"
    MISSING_ROLE = "missing_role"
    REPEATED_ROLE = "repeated_role"
    MISSING_SPACE = "missing_space"
    UNKNOWN_ROLE = "unknown_role"
    FOREIGN_ROLE = "foreign_role"
    MISSING_CHANNEL = "missing_channel"
    MISSING_CHANNEL_MARK = "missing_channel_mark"
    REPEATED_CHANNEL = "repeated_channel"
    UNKNOWN_CHANNEL = "unknown_channel"
    MISSING_TO = "missing_to"
    REPEATED_RECIPIENT = "repeated_recipient"
    UNKNOWN_RECIPIENT = "unknown_recipient"
    RECIPIENT_IS_NO_TOOL = "recipient_is_no_tool"
    MISSING_RECIPIENT = "missing_recipient"
    CALL_ON_WRONG_CHANNEL = "call_on_wrong_channel"
    UNKNOWN_FORMAT = "unknown_format"
    HEADER_LEFTOVER = "header_leftover"
    TEXT_IN_HEADER = "text_in_header"
    MISSING_MESSAGE = "missing_message"
    EMPTY_MESSAGE = "empty_message"
    CUT_IN_HEADER = "cut_in_header"
    # In a text
    MISSING_END = "missing_end"
    WRONG_TERMINATOR = "wrong_terminator"
    INVALID_UTF8 = "invalid_utf8"
    # Anywhere
    STRAY_SPECIAL = "stray_special"
    UNKNOWN_TOKEN = "unknown_token"


@dataclass(frozen=True)
class Repair:
    """One thing mended, as an edit of what was written.

    `position` is the index of the token at which it was noticed, counted from the first one fed.
    `detail` is what was written and no message holds, `added` what a message holds and nobody
    wrote, both with special tokens spelled out; empty where nothing was left out or put in. So
    what was written and added is, byte for byte, what the messages hold and what was left out.
    """

    kind: RepairKind
    position: int
    detail: str = ""
    added: str = ""
