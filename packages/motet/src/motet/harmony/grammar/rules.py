"""The nouns of this room: what one request wishes of the turn that answers it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum

from motet.harmony.content import JsonSchema
from motet.harmony.errors import HarmonyError


class GrammarError(HarmonyError):
    """A format, schema or choice of tools that cannot be held to; says where and why."""


def answer_room(maximum_tokens: int) -> int:
    """Tokens that thinking leaves free for an answer: 512, or a quarter of a smaller limit."""
    return min(512, maximum_tokens // 4)


class FormatKind(StrEnum):
    """The languages an `AnswerFormat` can be written in."""

    JSON_SCHEMA = "json_schema"
    REGEX = "regex"
    LARK = "lark"
    GBNF = "gbnf"
    CHOICE = "choice"


@dataclass(frozen=True)
class AnswerFormat:
    """What the text of the answer must match; make one with the class methods.

    `definition` is the schema, or the pattern, or the grammar's text, or the tuple of choices.
    """

    kind: FormatKind
    definition: JsonSchema | str | tuple[str, ...]

    @classmethod
    def json_schema(cls, schema: JsonSchema) -> AnswerFormat:
        """JSON that is valid against this schema, written without spaces between its parts."""
        return cls(FormatKind.JSON_SCHEMA, schema)

    @classmethod
    def json_object(cls) -> AnswerFormat:
        """Any JSON object."""
        return cls(FormatKind.JSON_SCHEMA, {"type": "object"})

    @classmethod
    def regex(cls, pattern: str) -> AnswerFormat:
        """A whole match of the pattern, in the syntax of Rust's regex crate."""
        return cls(FormatKind.REGEX, pattern)

    @classmethod
    def lark(cls, grammar: str) -> AnswerFormat:
        """A word of the grammar's `start`, in llguidance's variant of Lark's syntax."""
        return cls(FormatKind.LARK, grammar)

    @classmethod
    def gbnf(cls, grammar: str) -> AnswerFormat:
        """A word of the grammar's `root`, in llama.cpp's syntax."""
        return cls(FormatKind.GBNF, grammar)

    @classmethod
    def choice(cls, texts: Iterable[str]) -> AnswerFormat:
        """Exactly one of these texts."""
        return cls(FormatKind.CHOICE, tuple(texts))


@dataclass(frozen=True)
class ToolChoice:
    """Which tools the turn may call, and whether it must.

    `only` are the recipients on offer (`functions.f`, `browser.search`, `python`), None for all
    tools of the conversation.
    """

    required: bool = False
    only: frozenset[str] | None = None

    @classmethod
    def auto(cls, only: Iterable[str] | None = None) -> ToolChoice:
        """The model decides whether to call."""
        return cls(required=False, only=None if only is None else frozenset(only))

    @classmethod
    def none(cls) -> ToolChoice:
        """No call."""
        return cls(required=False, only=frozenset())

    @classmethod
    def call(cls, only: Iterable[str] | None = None) -> ToolChoice:
        """The turn must end in a call."""
        return cls(required=True, only=None if only is None else frozenset(only))


@dataclass(frozen=True)
class TurnRules:
    """What a turn is held to beyond being well-formed.

    `maximum_thinking_tokens` bounds the chain of thought (0: none, None: by the room for the turn
    alone); an endless repetition ends it in any case. Parameters of the tools named in
    `lenient_tools` may use keywords of JSON Schema that cannot be enforced; those keywords are then
    ignored with a warning, while elsewhere they are refused.
    """

    tool_choice: ToolChoice = field(default_factory=ToolChoice)
    answer: AnswerFormat | None = None
    maximum_thinking_tokens: int | None = None
    lenient_tools: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        limit = self.maximum_thinking_tokens
        if limit is not None and limit < 0:
            raise GrammarError("maximum_thinking_tokens must be at least 0.")
