"""Answers and arguments in a format: what is enforced, what is refused and why."""

import json
import re
from typing import Any

import jsonschema
import pytest
from grammar_walks import conversation, follow, grammar, read, walk, written
from hypothesis import given, settings
from hypothesis import strategies as st

from motet.harmony import ToolDescription
from motet.harmony.grammar import AnswerFormat, GrammarError, ToolChoice, TurnRules

PLAIN = conversation()
BUSY = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "minLength": 2},
        "size": {"enum": ["S", "M", "L"]},
        "tags": {"type": "array", "items": {"type": "string"}, "minItems": 1},
        "parent": {"anyOf": [{"$ref": "#"}, {"type": "null"}]},
    },
    "required": ["name", "size", "tags", "parent"],
}


def answer(form: AnswerFormat, seed: int, room: int = 200) -> str:
    """The text of an answer in this format, chosen by chance, without thoughts."""
    rules = TurnRules(answer=form, maximum_thinking_tokens=0)
    result = read(walk(grammar(PLAIN, rules).constraint(room), seed), PLAIN)
    assert result.is_well_formed
    return result.messages[-1].text


@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 2**32), room=st.integers(60, 400))
def test_json_is_valid_however_little_room_there_is(seed: int, room: int) -> None:
    jsonschema.validate(json.loads(answer(AnswerFormat.json_schema(BUSY), seed, room)), BUSY)


@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 2**32))
def test_patterns_grammars_and_choices_are_matched(seed: int) -> None:
    assert re.fullmatch(r"[a-c]{3,}-\d", answer(AnswerFormat.regex(r"[a-c]{3,}-[0-9]"), seed))
    lark = 'start: "(" start ")" | /[0-9]+/'
    assert re.fullmatch(r"(\()*[0-9]+(\))*", answer(AnswerFormat.lark(lark), seed))
    gbnf = 'root ::= item ("," item)*\nitem ::= "ab" | [x-z]'
    assert re.fullmatch(r"(ab|[x-z])(,(ab|[x-z]))*", answer(AnswerFormat.gbnf(gbnf), seed))
    choice = ("yes", "no", 'may"be', "日本")
    assert answer(AnswerFormat.choice(choice), seed) in choice
    assert isinstance(json.loads(answer(AnswerFormat.json_object(), seed)), dict)


def test_objects_take_no_properties_that_nobody_named() -> None:
    schema: dict[str, Any] = {"type": "object", "properties": {"a": {"type": "integer"}}}
    open_schema = {**schema, "additionalProperties": True}
    combined = {"allOf": [schema, {"properties": {"b": {"type": "integer"}}, "required": ["b"]}]}
    for form, text, is_allowed in (
        (schema, '{"b":1}', False),
        (open_schema, '{"b":1}', True),
        (combined, '{"a":1,"b":2}', True),
    ):
        rules = TurnRules(answer=AnswerFormat.json_schema(form), maximum_thinking_tokens=0)
        tokens = written(f"<|channel|>final<|message|>{text}<|return|>")
        place = follow(grammar(PLAIN, rules).constraint(), tokens)
        assert (place is None) == is_allowed


@pytest.mark.parametrize(
    ("schema", "path", "reason"),
    [
        ({"type": "array", "uniqueItems": True}, "#", "uniqueItems"),
        (
            {"type": "object", "properties": {"a": {"items": {"not": {"type": "null"}}}}},
            "#/properties/a/items",
            "not",
        ),
        ({"anyOf": [{"type": "null"}, {"type": "frob"}]}, "#/anyOf/1", "frob"),
        ({"$defs": {"x": {"pattern": "(?=a)"}}, "$ref": "#/$defs/x"}, "#/$defs/x", "look-around"),
        ({"type": "string", "pattern": "("}, "#", "unclosed group"),
        ({"$ref": "#/$defs/none"}, "#", "none"),
        ({"type": "integer", "minimum": 5, "maximum": 3}, "#", "minimum"),
        ({"type": "string", "format": "postcode"}, "#", "postcode"),
    ],
)
def test_what_cannot_be_enforced_is_refused_by_its_path(
    schema: dict[str, Any], path: str, reason: str
) -> None:
    with pytest.raises(GrammarError, match=re.escape(f"at {path}: ")) as refused:
        grammar(PLAIN, TurnRules(answer=AnswerFormat.json_schema(schema)))
    assert reason in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_lenient_tool_ignores_with_a_warning_what_another_refuses() -> None:
    schema = {"type": "object", "properties": {"a": {"type": "array", "uniqueItems": True}}}
    asked = conversation(ToolDescription("f", "Odd.", schema))
    with pytest.raises(GrammarError, match=r"parameters of functions\.f .*#/properties/a: "):
        grammar(asked)
    lenient = grammar(asked, TurnRules(lenient_tools=frozenset({"functions.f"})))
    assert any("uniqueItems" in warning for warning in lenient.warnings)


@pytest.mark.parametrize(
    ("form", "complaint"),
    [
        (AnswerFormat.regex("("), "pattern cannot be used: .*unclosed group"),
        (AnswerFormat.lark("start: nothing"), "grammar cannot be used: .*nothing"),
        (AnswerFormat.gbnf("root ::= ["), "not valid GBNF"),
        (AnswerFormat.choice([]), "at least one text"),
        (AnswerFormat.json_schema({"enum": []}), "at #: "),
        (
            AnswerFormat.json_schema({"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/a"}}}),
            "leaves nothing",
        ),
        (AnswerFormat.json_schema({"default": {1, 2}}), "no JSON schema"),
    ],
)
def test_formats_that_make_no_sense_are_refused(form: AnswerFormat, complaint: str) -> None:
    with pytest.raises(GrammarError, match=complaint):
        grammar(PLAIN, TurnRules(answer=form))


def test_thousands_of_properties_and_long_descriptions_work() -> None:
    names = [f"property_{i}" for i in range(5000)]
    schema = {
        "type": "object",
        "properties": {name: {"type": "boolean"} for name in names},
        "required": names,
        "additionalProperties": False,
    }
    described = ToolDescription("wide", "Long. " * 2000, schema)
    asked = conversation(described)
    constraint = grammar(asked, TurnRules(ToolChoice.call())).constraint()
    tokens = written("<|channel|>commentary to")
    assert follow(constraint, tokens) is None
    tokens += walk(constraint, seed=1, most=150)
    arguments = read(tokens, asked).messages[-1].text
    assert arguments.startswith('{"property_0":')
    assert '"property_9":' in arguments


def test_too_many_optional_properties_are_refused() -> None:
    wide = {"properties": {f"p{i}": {"type": "integer"} for i in range(1001)}}
    schema = {"type": "object", "properties": {"wide": wide}}
    with pytest.raises(GrammarError, match="at #/properties/wide: more than 1000"):
        grammar(PLAIN, TurnRules(answer=AnswerFormat.json_schema(schema)))
    few = {"type": "object", "properties": {"wide": {**wide, "required": ["p0"]}}}
    jsonschema.validate(json.loads(answer(AnswerFormat.json_schema(few), 1)), few)


@pytest.mark.parametrize("depth", [200, 100_000])
def test_schemas_nested_too_deeply_are_refused(depth: int) -> None:
    schema: dict[str, Any] = {"type": "null"}
    for _ in range(depth):
        schema = {"type": "array", "items": schema}
    with pytest.raises(GrammarError, match="response format is no JSON schema"):
        grammar(PLAIN, TurnRules(answer=AnswerFormat.json_schema(schema)))


def test_a_recursive_schema_ends() -> None:
    deep = {
        "$defs": {
            "node": {
                "type": "object",
                "properties": {"children": {"type": "array", "items": {"$ref": "#/$defs/node"}}},
                "required": ["children"],
            }
        },
        "$ref": "#/$defs/node",
    }
    for seed in range(20):
        json.loads(answer(AnswerFormat.json_schema(deep), seed, room=60))
