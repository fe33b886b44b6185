"""Formats made ready: JSON schemas, patterns and grammars as llguidance matchers.

JSON is written without spaces between its parts, as the models write arguments, so that brackets,
commas and required keys are forced. Objects that name their properties and do not say whether
others are allowed take no others: what is generated is then valid all the same, and nothing is made
up. What llguidance cannot enforce is refused, with its place in the schema and the reason.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from llguidance import LLMatcher, LLTokenizer, TokenizerWrapper, gbnf_to_lark

from motet.harmony.content import JsonSchema
from motet.harmony.grammar.closing import LIMITS, byte_matcher, shortest_text
from motet.harmony.grammar.rules import AnswerFormat, FormatKind, GrammarError
from motet.harmony.grammar.schemas import MOST_OPTIONAL, closed, crowded, fault
from motet.harmony.vocabulary import Vocabulary

_NO_ARGUMENTS = {"type": "object", "properties": {}, "additionalProperties": False}
_CONTINUATION = bytes(range(0x80, 0xC0))
_LONGEST_SHORTEST = 50_000  # bytes


@dataclass(frozen=True)
class CompiledFormat:
    """A format ready for use: copies of `prototype` match texts from their beginning.

    `grammar` is its source, as llguidance reads it; `bytewise` is the same for single bytes, to
    look for an end with; `shortest` is a short text of the format, empty if none was found;
    `warnings` say what is not enforced.
    """

    vocabulary: Vocabulary
    grammar: str
    prototype: LLMatcher
    bytewise: LLMatcher
    shortest: bytes
    warnings: tuple[str, ...] = ()

    def matcher(self) -> LLMatcher:
        """A matcher of tokens at the beginning of the text."""
        return self.prototype.deep_copy()


def compile_answer(answer: AnswerFormat, vocabulary: Vocabulary) -> CompiledFormat:
    """The answer's format. Raises GrammarError."""
    return _compiled(answer_grammar(answer), vocabulary)


def compile_parameters(
    parameters: JsonSchema | None, vocabulary: Vocabulary, name: str, *, lenient: bool
) -> CompiledFormat:
    """The arguments of a tool: a JSON object. Raises GrammarError."""
    schema = _NO_ARGUMENTS if parameters is None else _as_object(parameters)
    where = f"the parameters of {name}"
    return _compiled(_schema_grammar(schema, where, lenient=lenient), vocabulary)


def tokens_of(data: bytes, vocabulary: Vocabulary) -> list[int]:
    """Bytes as tokens: text as it is encoded, bytes in front that end a character one by one."""
    text = data.lstrip(_CONTINUATION)
    broken = data[: len(data) - len(text)]
    return [_byte_tokens(vocabulary)[byte] for byte in broken] + vocabulary.encode(text.decode())


def answer_grammar(answer: AnswerFormat) -> str:
    """A format as llguidance reads it. Raises GrammarError."""
    match answer.kind, answer.definition:
        case FormatKind.JSON_SCHEMA, Mapping() as schema:
            return _schema_grammar(dict(schema), "the response format", lenient=False)
        case FormatKind.REGEX, str(pattern):
            return _checked(LLMatcher.grammar_from_regex(pattern), "the pattern")
        case FormatKind.LARK, str(grammar):
            return _checked(LLMatcher.grammar_from_lark(grammar), "the grammar")
        case FormatKind.GBNF, str(grammar):
            return _checked(_lark_of(grammar), "the grammar")
        case FormatKind.CHOICE, tuple(texts):
            return _choice_grammar(texts)
    raise GrammarError(f"A format of kind {answer.kind} needs another definition.")


def _schema_grammar(schema: JsonSchema, where: str, *, lenient: bool) -> str:
    try:
        text = json.dumps(closed(schema), ensure_ascii=False)
        _json_grammar(text, lenient=lenient)  # refuses what is nested too deeply
    except (TypeError, ValueError, RecursionError) as error:
        raise GrammarError(f"{where} is no JSON schema: {error}") from error

    def complaint(schema_text: str) -> str | None:
        return _complaint(_json_grammar(schema_text, lenient=lenient))

    if path := crowded(schema):
        raise GrammarError(
            f"{where} cannot be enforced: at {path}: more than {MOST_OPTIONAL} properties are"
            " optional; require them, or offer fewer"
        )
    reason = complaint(text)
    if reason is not None:
        path, reason = fault(schema, complaint, reason)
        raise GrammarError(f"{where} cannot be enforced: at {path}: {reason}")
    return _json_grammar(text, lenient=lenient)


def _json_grammar(schema_text: str, *, lenient: bool) -> str:
    return LLMatcher.grammar_from_json_schema(
        schema_text,
        overrides={
            "whitespace_flexible": False,
            "lenient": lenient,
            "coerce_one_of": lenient,
        },
    )


def _choice_grammar(texts: tuple[str, ...]) -> str:
    if not texts or "" in texts:
        raise GrammarError("a choice needs at least one text, and none of them empty")
    rules = " | ".join(json.dumps(text, ensure_ascii=False) for text in texts)
    return _checked(LLMatcher.grammar_from_lark(f"start: {rules}"), "the choice")


def _lark_of(grammar: str) -> str:
    try:
        return LLMatcher.grammar_from_lark(gbnf_to_lark.gbnf_to_lark(grammar))
    except Exception as error:  # its parser raises whatever it stumbles over
        raise GrammarError(f"the grammar is not valid GBNF: {error}") from error


def _checked(grammar: str, where: str) -> str:
    if complaint := _complaint(grammar):
        raise GrammarError(f"{where} cannot be used: {complaint}")
    return grammar


@lru_cache(maxsize=1024)
def _complaint(grammar: str) -> str | None:
    """Why llguidance refuses this grammar, in one line; None if it does not."""
    matcher = byte_matcher(grammar)
    return " ".join(matcher.get_error().split()) if matcher.is_error() else None


@lru_cache(maxsize=512)
def _compiled(grammar: str, vocabulary: Vocabulary) -> CompiledFormat:
    bytewise = byte_matcher(grammar)
    shortest = shortest_text(bytewise, _LONGEST_SHORTEST)
    if shortest is None and _is_dead(bytewise.deep_copy()):
        raise GrammarError("the format cannot be used: it leaves nothing that could be written")
    matcher = LLMatcher(tokenizer(vocabulary), grammar, log_level=0, limits=LIMITS)
    if matcher.is_error():
        raise GrammarError(f"the format cannot be used: {' '.join(matcher.get_error().split())}")
    warnings = tuple(" ".join(each.split()) for each in matcher.get_grammar_warnings())
    return CompiledFormat(vocabulary, grammar, matcher, bytewise, shortest or b"", warnings)


def _is_dead(matcher: LLMatcher) -> bool:
    matcher.compute_bitmask()
    return matcher.is_stopped() and not matcher.is_accepting()


def _as_object(parameters: JsonSchema) -> JsonSchema:
    """Arguments are an object, also where a schema does not say so."""
    says = {"type", "$ref", "anyOf", "oneOf", "allOf", "enum", "const"}
    return parameters if says & parameters.keys() else {"type": "object", **parameters}


class _Wrapped:
    """A vocabulary as llguidance wants to see a tokenizer."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self._vocabulary = vocabulary
        ids = range(vocabulary.size)
        self.eos_token_id = vocabulary.endoftext
        self.bos_token_id = None
        self.tokens = [
            vocabulary.token_bytes(each) or vocabulary.decode_bytes((each,)) for each in ids
        ]
        self.special_token_ids = [each for each in ids if vocabulary.is_special(each)]

    def __call__(self, text: Any) -> list[int]:
        return self._vocabulary.encode(text.decode() if isinstance(text, bytes) else text)


@lru_cache(maxsize=4)
def tokenizer(vocabulary: Vocabulary) -> LLTokenizer:
    """The vocabulary as llguidance keeps it; takes a second to make for the whole of it."""
    return LLTokenizer(TokenizerWrapper(_Wrapped(vocabulary)), n_vocab=vocabulary.size)


@lru_cache(maxsize=4)
def _byte_tokens(vocabulary: Vocabulary) -> dict[int, int]:
    """The tokens that are single bytes, by byte."""
    texts = ((token, vocabulary.token_bytes(token)) for token in range(vocabulary.size))
    return {text[0]: token for token, text in texts if text and len(text) == 1}
