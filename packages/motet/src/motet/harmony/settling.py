"""What a header must say before its message is opened: an assistant's recipient and channel.

Reading (`header.py`) says what is written there; this says what was meant. Every change is noted in
the header.
"""

from __future__ import annotations

from motet.harmony.header import AUTHORS, BUILTIN, CHANNEL, FORMATS, NOBODY, Header, Known
from motet.harmony.names import ANALYSIS, COMMENTARY, CONSTRAIN, FINAL, FUNCTIONS, Role
from motet.harmony.repairs import RepairKind


def settle(header: Header, known: Known, *, is_completion: bool) -> None:
    """Give a message the author, recipient and channel it must have.

    In a completion all messages are the assistant's, whoever it pretends to be: it has no say in
    what a system or a user said, nor in what a tool answered.
    """
    if is_completion and header.author.role is not Role.ASSISTANT:
        _settle_author(header)
    _settle_recipient(header, known)
    if header.author.role is Role.ASSISTANT:
        _settle_channel(header)


def is_call(header: Header) -> bool:
    """Whether a settled header calls a tool: the assistant's messages to anybody do."""
    return header.author.role is Role.ASSISTANT and header.recipient is not None


def split_texts(header: Header) -> tuple[str, str]:
    """The texts in a settled header: what was said before a call, and what begins the message.

    Arguments are what stands behind the recipient and looks like some; JSON for a function, code
    for a builtin tool. Anything else in a call is a sentence to the reader.
    """
    if not is_call(header) or not header.texts:
        return "", header.text
    *before, (last, is_behind) = header.texts
    is_function = (header.recipient or "").partition(".")[0] not in BUILTIN
    if is_behind and (last.startswith(("{", "[")) or not is_function):
        return " ".join(text for text, _ in before), last
    return header.text, ""


def _settle_author(header: Header) -> None:
    written = [
        header.author.header_word,
        f"to={header.recipient}" if header.recipient else "",
        f"{CHANNEL}{header.channel}" if header.channel else "",
        header.content_type or "",
    ]
    detail = " ".join(word for word in written if word)
    header.note(RepairKind.FOREIGN_ROLE, detail, f"{Role.ASSISTANT}{CHANNEL}{COMMENTARY}")
    header.author, header.channel = AUTHORS[Role.ASSISTANT], COMMENTARY
    header.recipient = header.content_type = None


def _settle_recipient(header: Header, known: Known) -> None:
    role, name = header.author.role, header.recipient
    if name == "all" or (role is Role.ASSISTANT and name in NOBODY):
        header.note(RepairKind.RECIPIENT_IS_NO_TOOL, f"to={name}")
        header.recipient = None
        _drop_unknown_format(header)
    elif role is Role.ASSISTANT and name is not None:
        _settle_tool(header, name, known)
    if role is Role.TOOL and header.recipient is None:
        header.note(RepairKind.MISSING_RECIPIENT, added=f"to={Role.ASSISTANT}")
        header.recipient = Role.ASSISTANT


def _settle_tool(header: Header, name: str, known: Known) -> None:
    header.recipient = known.full_name(name)
    if header.recipient != name:
        header.note(RepairKind.UNKNOWN_RECIPIENT, name, header.recipient)
    elif known.tools is None and "." not in name and name not in BUILTIN:
        header.note(RepairKind.UNKNOWN_RECIPIENT)


def _drop_unknown_format(header: Header) -> None:
    """Without a recipient, only what `<|constrain|>` introduced may be any word."""
    name = header.content_type
    if name and not name.startswith(CONSTRAIN) and name.lower() not in FORMATS:
        header.note(RepairKind.HEADER_LEFTOVER, name)
        header.content_type = None


def _settle_channel(header: Header) -> None:
    recipient = header.recipient or ""
    is_function = recipient.startswith(f"{FUNCTIONS}.")
    if header.channel is None:
        is_builtin = recipient.partition(".")[0] in BUILTIN
        header.channel = ANALYSIS if is_builtin else COMMENTARY if recipient else FINAL
        header.note(RepairKind.MISSING_CHANNEL, added=f"{CHANNEL}{header.channel}")
    elif (header.channel == FINAL and recipient) or (header.channel == ANALYSIS and is_function):
        header.note(RepairKind.CALL_ON_WRONG_CHANNEL, header.channel, COMMENTARY)
        header.channel = COMMENTARY
