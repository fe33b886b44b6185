"""The grammar of a turn: which messages may come, and how each of them goes on.

A `TurnGrammar` is compiled once for a request; every generation takes a `TurnConstraint` from it.
That one is what an engine calls a token constraint: before each token it says which ones are
possible, and it takes the engine forward where only one is.

How much room there is matters. The chain of thought leaves enough for an answer, so that none is
lost to a limit on tokens; an answer that reaches the limit is ended well; thinking ends where it
has reached its own limit or goes round in circles.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from motet.harmony.content import DeveloperContent, JsonSchema, SystemContent
from motet.harmony.grammar.formats import (
    CompiledFormat,
    compile_answer,
    compile_parameters,
    tokens_of,
)
from motet.harmony.grammar.headers import (
    ANSWER,
    PREAMBLE,
    THOUGHT,
    HeaderNode,
    Kind,
    calls_of,
    depth,
    header_tree,
)
from motet.harmony.grammar.lark import turn_text
from motet.harmony.grammar.loops import LoopDetector
from motet.harmony.grammar.parts import FormattedText, FreeText, HeaderPart, Part
from motet.harmony.grammar.rules import GrammarError, TurnRules, answer_room
from motet.harmony.grammar.text import text_masks
from motet.harmony.messages import Conversation
from motet.harmony.names import ANALYSIS, CHANNELS, COMMENTARY
from motet.harmony.vocabulary import Vocabulary

ThinkingEnd = Literal["limit", "loop"]

_ENDLESS = 1 << 40


@dataclass(frozen=True)
class _Tool:
    """A tool on offer; without `has_schema` it takes text."""

    has_schema: bool
    parameters: JsonSchema | None
    builtin: bool


def compile_turn(
    vocabulary: Vocabulary, conversation: Conversation, rules: TurnRules | None = None
) -> TurnGrammar:
    """What a turn that answers this conversation may be. Raises GrammarError.

    Large schemas take up to a second, and a vocabulary's first one takes a second more.
    """
    rules = rules or TurnRules()
    text_masks(vocabulary)
    tools = _chosen(_tools(conversation), rules)
    formats: dict[Kind, CompiledFormat | None] = {}
    for name, tool in tools.items():
        compiled = None
        if tool.has_schema:
            lenient = name in rules.lenient_tools
            compiled = compile_parameters(tool.parameters, vocabulary, name, lenient=lenient)
        for kind in calls_of(name, builtin=tool.builtin):
            formats[kind] = compiled
    if not rules.tool_choice.required:
        answer = rules.answer
        formats[ANSWER] = compile_answer(answer, vocabulary) if answer else None
    return TurnGrammar(vocabulary, formats, _channels(conversation), rules.maximum_thinking_tokens)


class TurnGrammar:
    """What one turn may be; made by `compile_turn`.

    `formats` has the kinds of message that may end the turn, with their formats, None for free
    text.
    """

    def __init__(
        self,
        vocabulary: Vocabulary,
        formats: Mapping[Kind, CompiledFormat | None],
        channels: frozenset[str],
        maximum_thinking_tokens: int | None,
    ) -> None:
        self.vocabulary = vocabulary
        self.formats = formats
        self.maximum_thinking_tokens = maximum_thinking_tokens
        calls = any(kind.recipient for kind in formats)
        self.open_kinds = frozenset(
            kind
            for kind, is_there in (
                (THOUGHT, ANALYSIS in channels and maximum_thinking_tokens != 0),
                (PREAMBLE, COMMENTARY in channels and calls),
            )
            if is_there
        )
        self._trees: dict[tuple[frozenset[Kind], bool], HeaderNode] = {}

    @property
    def warnings(self) -> tuple[str, ...]:
        """What is not enforced, by tool."""
        return tuple(
            f"{kind.recipient or 'the answer'}: {warning}"
            for kind, compiled in self.formats.items()
            if compiled
            for warning in compiled.warnings
        )

    def constraint(self, maximum_tokens: int | None = None) -> TurnConstraint:
        """The constraint of one generation of at most so many tokens."""
        return TurnConstraint(self, maximum_tokens)

    def text(self, *, thinks: bool = True) -> str:
        """The same as a text, from behind `<|start|>assistant` on, for engines that read texts.

        Without `thinks` it goes straight to the end. Limits are not in it.
        """
        return turn_text(self, self.open_kinds if thinks else ())

    def tree(self, open_kinds: frozenset[Kind], *, is_first: bool) -> HeaderNode:
        """The headers that may come, with those messages after which the turn goes on."""
        key = (open_kinds, is_first)
        if key not in self._trees:
            kinds = [*sorted(open_kinds, key=lambda kind: kind.channel), *self.formats]
            self._trees[key] = header_tree(kinds, self.vocabulary, is_first=is_first)
        return self._trees[key]

    @cached_property
    def tokens_to_end(self) -> int:
        """Tokens that suffice, from where a message has ended, to end the turn."""
        header = depth(self.tree(frozenset(), is_first=False))
        texts = [
            tokens_of(each.shortest, self.vocabulary) for each in self.formats.values() if each
        ]
        return header + max(map(len, texts), default=1) + 1

    @cached_property
    def longest_open_header(self) -> int:
        """Tokens of the longest header of a message after which the turn goes on."""
        kinds = sorted(self.open_kinds, key=lambda kind: kind.channel)
        return depth(header_tree(kinds, self.vocabulary, is_first=False))

    def text_of(self, kind: Kind) -> FreeText | FormattedText:
        """The text of a message of this kind, which has just begun."""
        vocabulary = self.vocabulary
        if kind in (THOUGHT, PREAMBLE):
            return FreeText(text_masks(vocabulary), vocabulary.end, may_be_empty=True)
        terminator = vocabulary.call if kind.recipient else vocabulary.return_
        if compiled := self.formats[kind]:
            return FormattedText(compiled, vocabulary.size, terminator)
        return FreeText(text_masks(vocabulary), terminator, may_be_empty=False)


class TurnConstraint:
    """Which tokens may come next in one turn: an engine's token constraint.

    `ended_thinking` says why the chain of thought was ended, if the model did not end it;
    `was_closed` whether the answer or call was ended because there was no more room.
    """

    def __init__(self, grammar: TurnGrammar, maximum_tokens: int | None = None) -> None:
        self.ended_thinking: ThinkingEnd | None = None
        self.was_closed = False
        self._grammar = grammar
        self._left = _ENDLESS if maximum_tokens is None else maximum_tokens
        limit = grammar.maximum_thinking_tokens
        self._thinking_left = _ENDLESS if limit is None else limit
        self._answer_room = grammar.tokens_to_end + answer_room(self._left)
        self._loops = LoopDetector()
        self._kind: Kind | None = None
        self._part: Part | None = self._header(is_first=True)

    @property
    def is_slow(self) -> bool:
        """Whether `allowed` has more to do than to look a mask up."""
        return self._part is not None and self._part.is_slow

    def allowed(self) -> NDArray[np.bool_]:
        """The tokens that may come next: bool [vocabulary]."""
        if self._part is None:
            mask = np.zeros(self._grammar.vocabulary.size, dtype=np.bool_)
            mask[self._grammar.vocabulary.endoftext] = True
            return mask
        return self._part.allowed(self._room)

    def accept(self, token: int) -> bool:
        """Take the token; False if `forced` has to come instead. Raises HarmonyError."""
        if self._part is None or not self._part.accept(token, self._room):
            return self._part is None
        self._note((token,))
        return True

    def forced(self) -> Sequence[int]:
        """The tokens that must come next, taken by this call."""
        tokens: list[int] = []
        while self._part is not None and (run := self._part.forced(self._room)):
            tokens += run
            self._note(run)
        return tokens

    @property
    def _room(self) -> int:
        """Tokens the current part may still have."""
        if not isinstance(self._part, FreeText) or self._kind not in (THOUGHT, PREAMBLE):
            return self._left
        if self._kind is THOUGHT and self.ended_thinking == "loop":
            return self._part.missing + 1
        room = self._left - self._answer_room
        return min(room, self._thinking_left + 1) if self._kind is THOUGHT else room

    def _note(self, tokens: Sequence[int]) -> None:
        """Count the tokens the part has taken, and go on to the next part behind its last."""
        self._left -= len(tokens)
        if self._kind in (THOUGHT, PREAMBLE):
            self._watch(tokens)
        if self._part is not None and self._part.is_over:
            self._part = self._following(self._part)

    def _watch(self, tokens: Sequence[int]) -> None:
        if self._kind is THOUGHT:
            self._thinking_left -= len(tokens)
        for token in tokens:
            if self._loops.feed(token):
                self.ended_thinking = self.ended_thinking or "loop"

    def _following(self, part: Part) -> Part | None:
        if isinstance(part, HeaderPart):
            self._kind = part.kind
            return self._grammar.text_of(part.kind)
        kind, self._kind = self._kind, None
        assert kind
        if kind.ends_turn:
            self.was_closed = part.was_closed
            return None
        if part.was_closed:
            self.ended_thinking = self.ended_thinking or "limit"
        return self._header(is_first=False)

    def _header(self, *, is_first: bool) -> HeaderPart:
        """The next header; after the thinking has been ended, or without room, one that ends."""
        grammar = self._grammar
        room = self._left - self._answer_room - grammar.longest_open_header
        open_kinds = grammar.open_kinds
        if self.ended_thinking or room < 1:
            open_kinds = frozenset()
        elif self._thinking_left < 1:
            open_kinds -= {THOUGHT}
        return HeaderPart(grammar.tree(open_kinds, is_first=is_first), grammar.vocabulary.size)


def _tools(conversation: Conversation) -> dict[str, _Tool]:
    """The tools that the conversation describes, by recipient."""
    tools = {}
    for message in conversation.messages:
        for content in message.content:
            if isinstance(content, SystemContent | DeveloperContent):
                builtin = isinstance(content, SystemContent)
                for namespace in content.tools:
                    if not namespace.tools:
                        tools[namespace.name] = _Tool(False, None, builtin)
                    for tool in namespace.tools:
                        name = f"{namespace.name}.{tool.name}"
                        tools[name] = _Tool(True, tool.parameters, builtin)
    return tools


def _chosen(tools: dict[str, _Tool], rules: TurnRules) -> dict[str, _Tool]:
    """The tools that may be called. Raises GrammarError if the choice names others, or none."""
    only = rules.tool_choice.only
    if only is not None:
        if missing := sorted(only - tools.keys()):
            known = ", ".join(tools) or "none"
            raise GrammarError(f"there is no tool {missing[0]} to choose; there are: {known}")
        tools = {name: tool for name, tool in tools.items() if name in only}
    if rules.tool_choice.required and not tools:
        raise GrammarError("a call is required, but there is no tool to call")
    return tools


def _channels(conversation: Conversation) -> frozenset[str]:
    """The channels the system message names; all, if it does not say."""
    for message in conversation.messages:
        for content in message.content:
            if isinstance(content, SystemContent) and content.valid_channels:
                return frozenset(content.valid_channels)
    return frozenset(CHANNELS)
