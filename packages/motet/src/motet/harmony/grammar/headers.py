"""Headers: every message that may come next, as a tree of token ids.

A header is written in the tokens that the models were trained on, and both orders they use are
there: the recipient behind the channel, and in front of it. Where the tree does not branch, its
tokens are forced.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from motet.harmony.names import ANALYSIS, COMMENTARY, FINAL, Role
from motet.harmony.vocabulary import Vocabulary


@dataclass(frozen=True)
class Kind:
    """A kind of message: its channel and, for a call, its recipient.

    A `builtin` tool stands in the system message and is called in other words than a function.
    """

    channel: str
    recipient: str | None = None
    builtin: bool = False

    @property
    def ends_turn(self) -> bool:
        """Whether nothing follows: an answer or a call."""
        return self.channel == FINAL or self.recipient is not None


THOUGHT = Kind(ANALYSIS)
PREAMBLE = Kind(COMMENTARY)
ANSWER = Kind(FINAL)


def calls_of(recipient: str, *, builtin: bool) -> tuple[Kind, ...]:
    """The kinds of message that call a tool: functions on commentary, builtin tools on both."""
    if not builtin:
        return (Kind(COMMENTARY, recipient),)
    return (Kind(ANALYSIS, recipient, builtin=True), Kind(COMMENTARY, recipient, builtin=True))


@dataclass
class HeaderNode:
    """A place in a header: the tokens that may follow, or the kind of message it has become."""

    children: dict[int, HeaderNode] = field(default_factory=dict)
    kind: Kind | None = None


def header_tree(kinds: Iterable[Kind], vocabulary: Vocabulary, *, is_first: bool) -> HeaderNode:
    """All headers of these kinds; the first of a turn goes on from a prompt's `assistant`."""
    root = HeaderNode()
    for kind in kinds:
        for tokens in spellings(kind, vocabulary):
            node = root
            for token in (*([] if is_first else opening(vocabulary)), *tokens):
                node = node.children.setdefault(token, HeaderNode())
            node.kind = kind
    return root


def opening(vocabulary: Vocabulary) -> list[int]:
    """The start of a message by the assistant."""
    return [vocabulary.start, *vocabulary.encode(Role.ASSISTANT)]


def depth(node: HeaderNode) -> int:
    """The length in tokens of the longest header from here."""
    return max((1 + depth(child) for child in node.children.values()), default=0)


def spellings(kind: Kind, vocabulary: Vocabulary) -> list[list[int]]:
    """The ways to write a header, from behind the role to `<|message|>`."""
    channel, message = [vocabulary.channel], [vocabulary.message]
    encode = vocabulary.encode
    if kind.recipient is None:
        return [[*channel, *encode(kind.channel), *message]]
    to = f" to={kind.recipient}"
    spellings = []
    for before, marked in _formats(kind):
        format_ids = [vocabulary.constrain, *encode("json")] if marked else []
        behind = [*channel, *encode(f"{kind.channel}{to}{before}"), *format_ids, *message]
        front = [*encode(to), *channel, *encode(f"{kind.channel}{before}"), *format_ids, *message]
        spellings += [behind, front]
    return spellings


def _formats(kind: Kind) -> list[tuple[str, bool]]:
    """Text of the format, and whether `<|constrain|>json` follows it."""
    return [(" code", False)] if kind.builtin else [(" ", True)]
