"""Grammars as texts: what an engine is told that cannot be asked token by token.

A whole turn is one text in llguidance's variant of Lark: headers token by token (`<[200005]>`),
formats within `%json` and `%lark`, free text as a pattern, for special tokens match no pattern. It
begins where a prompt ends, behind `<|start|>assistant`. What a text cannot say, because it depends
on how much room is left, is left out: limits on thinking, loops, and ending an answer at a limit.

`GrammarConstraint` is the other side: a token constraint that holds to such a text.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
from llguidance import LLMatcher
from numpy.typing import NDArray

from motet.harmony.errors import HarmonyError
from motet.harmony.grammar.closing import LIMITS
from motet.harmony.grammar.formats import tokenizer
from motet.harmony.grammar.headers import Kind, opening, spellings
from motet.harmony.grammar.rules import GrammarError
from motet.harmony.vocabulary import Vocabulary

if TYPE_CHECKING:
    from motet.harmony.grammar.turn import TurnGrammar

MARK = "%llguidance {}"
"""What a text begins with, so that every reader takes it for one of llguidance's."""


def turn_text(grammar: TurnGrammar, open_kinds: Iterable[Kind]) -> str:
    """The turn from behind `<|start|>assistant`, with these messages after which it goes on."""
    return "\n".join(_rules(grammar, sorted(open_kinds, key=lambda kind: kind.channel))) + "\n"


def sequence_text(tokens: Iterable[int]) -> str:
    """These tokens and no others."""
    return f"{MARK}\nstart: {_tokens(tokens)}\n"


def format_text(grammar: str) -> str:
    """A format, as `answer_grammar` gives it, as a text."""
    return grammar if grammar.startswith("%llguidance") else f"{MARK}\nstart: {_inline(grammar)}\n"


def _rules(grammar: TurnGrammar, open_kinds: Sequence[Kind]) -> Iterator[str]:
    vocabulary = grammar.vocabulary
    again = _tokens((vocabulary.end, *opening(vocabulary)))
    yield MARK
    yield f"start: (open {again})* last" if open_kinds else "start: last"
    if open_kinds:
        yield "open: " + " | ".join(f"({_header(kind, vocabulary)}) text" for kind in open_kinds)
    endings = []
    for number, (kind, compiled) in enumerate(grammar.formats.items()):
        terminator = vocabulary.call if kind.recipient else vocabulary.return_
        content = f"format{number}" if compiled else "some_text"
        endings.append(f"({_header(kind, vocabulary)}) {content} <[{terminator}]>")
        if compiled:
            yield f"format{number}: {_inline(compiled.grammar)}"
    yield "last: " + " | ".join(endings)
    yield r"text: /(?s:.*)/"
    yield r"some_text: /(?s:.+)/"


def _header(kind: Kind, vocabulary: Vocabulary) -> str:
    return " | ".join(_tokens(tokens) for tokens in spellings(kind, vocabulary))


def _tokens(tokens: Iterable[int]) -> str:
    return " ".join(f"<[{token}]>" for token in tokens)


def _inline(grammar: str) -> str:
    """A format as part of a rule."""
    if not grammar.startswith("{"):
        return f"%lark {{\n{grammar}\n}}"
    (first,) = json.loads(grammar)["grammars"]
    if first.get("json_schema") is None:
        return f"%lark {{\n{first['lark_grammar']}\n}}"
    # Servers take a text with this sign for another notation.
    return f"%json {json.dumps(first['json_schema'])}".replace("::=", r"\u003a:=")


class GrammarConstraint:
    """A token constraint that holds a generation to a grammar from its first token on.

    `grammar` is a text like the above, or what `answer_grammar` gives. The tokens of `ends` may
    come where the text is complete. Raises GrammarError.
    """

    is_slow = True

    def __init__(
        self, grammar: str, vocabulary: Vocabulary, ends: frozenset[int] = frozenset()
    ) -> None:
        self._matcher = LLMatcher(tokenizer(vocabulary), grammar, log_level=0, limits=LIMITS)
        if self._matcher.is_error():
            reason = " ".join(self._matcher.get_error().split())
            raise GrammarError(f"the grammar cannot be used: {reason}")
        self._size = vocabulary.size
        self._eos = vocabulary.endoftext
        self._ends = ends

    def allowed(self) -> NDArray[np.bool_]:
        """The tokens that may come next: bool [vocabulary]."""
        bits = np.frombuffer(self._matcher.compute_bitmask(), dtype=np.uint8)
        mask = np.unpackbits(bits, count=self._size, bitorder="little").view(np.bool_)
        if mask[self._eos] and self._matcher.is_accepting():
            mask[list(self._ends)] = True
        return mask

    def accept(self, token: int) -> bool:
        """Take the token. Raises HarmonyError if it cannot come here."""
        is_end = token in self._ends and self._matcher.is_accepting()
        if not is_end and not self._matcher.consume_token(token):
            raise HarmonyError(f"The token {token} cannot come here: {self._matcher.get_error()}")
        return True

    def forced(self) -> Sequence[int]:
        """The tokens that must come next, taken by this call."""
        if self._matcher.is_accepting():
            return ()
        run: list[int] = self._matcher.compute_ff_tokens()
        self._matcher.consume_tokens(run)
        return run
