"""Schemas as TypeScript: identical to openai-harmony, minus the differences each tested here."""

from __future__ import annotations

from typing import Any

import openai_harmony as oracle_api
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from motet.harmony import schema_to_typescript

Schema = dict[str, Any]

# Schemas on which both agree


WORD = st.text("abcABC $-_.é", min_size=1, max_size=8)
SAID = WORD | st.just("") | st.just('a "b" \\ c')
NUMBER = st.integers(-(2**63), 2**63) | st.sampled_from([0.5, -1.0, 1.5e-5, 1e-7, 1e15, 1e16, 2e22])
VALUE = st.recursive(
    st.none() | st.booleans() | NUMBER | WORD,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORD, inner, max_size=3),
    max_leaves=4,
)
BASIC = st.sampled_from(["string", "number", "integer", "boolean"])


def noted(schemas: st.SearchStrategy[Schema]) -> st.SearchStrategy[Schema]:
    """Any of the keywords that become comments, and those that are ignored, on any schema."""
    notes = st.fixed_dictionaries(
        {},
        optional={
            "title": SAID,
            "description": SAID,
            "examples": st.lists(WORD, max_size=2),
            "default": VALUE,
            "minimum": NUMBER,
            "format": WORD,
            "additionalProperties": st.booleans(),
        },
    )
    return st.builds(lambda schema, extra: {**extra, **schema}, schemas, notes)


def containers(inner: st.SearchStrategy[Schema]) -> st.SearchStrategy[Schema]:
    names = st.lists(WORD, max_size=3)
    one_type = inner.filter(lambda schema: not ({"enum", "oneOf"} & schema.keys()))
    return noted(
        st.fixed_dictionaries(
            {"type": st.just("object")},
            optional={"properties": st.dictionaries(WORD, inner, max_size=4), "required": names},
        )
        | st.fixed_dictionaries(
            {"type": st.just("array")},
            optional={"items": one_type.filter(lambda s: not isinstance(s.get("type"), list))},
        )
        | st.fixed_dictionaries({"oneOf": st.lists(inner, min_size=1, max_size=3)}).filter(
            lambda schema: "description" not in schema["oneOf"][0]
        )
    )


LEAVES = noted(
    st.fixed_dictionaries({"type": BASIC})
    | st.fixed_dictionaries({"type": st.lists(BASIC | st.just("null"), min_size=1, max_size=3)})
    | st.fixed_dictionaries(
        {"type": st.just("string"), "enum": st.lists(WORD, min_size=1, max_size=3)}
    )
    | st.just({})
)
SCHEMAS = st.recursive(LEAVES, containers, max_leaves=6)


def oracle(encoding: oracle_api.HarmonyEncoding, schema: Schema) -> str:
    """What openai-harmony writes for a function's parameters."""
    tool = oracle_api.ToolDescription.new("f", "", schema)
    content = oracle_api.DeveloperContent().with_function_tools([tool])
    message = oracle_api.Message.from_role_and_content(oracle_api.Role.DEVELOPER, content)
    text = encoding.decode(encoding.render(message))
    return text.split("type f = (_: ", 1)[1].rsplit(") => any;", 1)[0]


@settings(max_examples=400, deadline=None)
@given(SCHEMAS)
def test_a_schema_is_written_as_openai_harmony_does(
    harmony_oracle: oracle_api.HarmonyEncoding, schema: Schema
) -> None:
    assert schema_to_typescript(schema) == oracle(harmony_oracle, schema)


KEYWORDS = st.sampled_from(
    [
        *("type", "properties", "items", "required", "enum", "const", "oneOf", "anyOf", "allOf"),
        *("$ref", "$defs", "nullable", "default", "title", "description", "examples"),
    ]
)
ANY_JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.sampled_from(["#", "#/$defs/a", "#/properties", "string", "object", "array", "null"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYWORDS, inner, max_size=4),
    max_leaves=10,
)


@settings(max_examples=300, deadline=None)
@given(st.dictionaries(KEYWORDS, ANY_JSON, max_size=5))
def test_no_schema_is_too_strange(schema: Schema) -> None:
    assert isinstance(schema_to_typescript(schema), str)


def test_references_can_unfold_to_neither_an_endless_nor_a_huge_type() -> None:
    links = [{"$ref": f"#/$defs/d{i}"} for i in range(5000)]
    doubled = {f"d{i}": properties(a=links[i + 1], b=links[i + 1]) for i in range(60)}
    assert len(schema_to_typescript({"$ref": "#/$defs/d0", "$defs": doubled})) < 1_000_000
    chain = {f"d{i}": links[i + 1] for i in range(4999)}
    assert schema_to_typescript({"$ref": "#/$defs/d0", "$defs": chain}) == "any"


# Where we differ on purpose: the table in docs/harmony.md. Each case: schema, theirs, ours.


def properties(**schemas: object) -> Schema:
    return {"type": "object", "properties": schemas}


STRINGS = {"type": "string", "enum": ["p", "q"]}
DIFFERENCES: dict[str, tuple[Schema, str, str]] = {
    "every_line_of_a_description_is_a_comment": (
        properties(x={"type": "string", "description": "one\ntwo", "title": "a\nb"}),
        "{\n// a\nb\n//\n// one\ntwo\nx?: string,\n}",
        "{\n// a\n// b\n//\n// one\n// two\nx?: string,\n}",
    ),
    "a_note_behind_a_variant_is_one_line": (
        {"oneOf": [{"type": "string", "description": "one\ntwo"}]},
        "\n | string // one\ntwo",
        "\n | string // one two",
    ),
    "an_array_of_a_union_has_parentheses": (
        properties(x={"type": "array", "items": STRINGS}),
        '{\nx?: "p" | "q"[],\n}',
        '{\nx?: ("p" | "q")[],\n}',
    ),
    "an_array_of_variants_has_parentheses": (
        {"type": "array", "items": {"oneOf": [{"type": "string", "default": "x"}]}},
        '\n | string // default: "x"[]',
        '(\n | string // default: "x"\n)[]',
    ),
    "quotes_are_escaped": (
        properties(x={"type": "string", "enum": ['"', "\n"], "default": '"'}),
        '{\nx?: """ | "\n", // default: "\n}',
        '{\nx?: "\\"" | "\\n", // default: \\"\n}',
    ),
    "a_default_is_one_line": (
        properties(x={"type": "string", "default": "a\nb"}),
        '{\nx?: string, // default: "a\nb"\n}',
        '{\nx?: string, // default: "a\\nb"\n}',
    ),
    "examples_need_not_be_strings": (
        properties(x={"type": "number", "examples": [1, 2.0]}),
        "{\n// Examples:\nx?: number,\n}",
        "{\n// Examples:\n// - 1\n// - 2.0\nx?: number,\n}",
    ),
    "nullable_holds_beside_a_value_that_contains_null": (
        properties(x={"type": "string", "enum": ["nullify"], "nullable": True}),
        '{\nx?: "nullify",\n}',
        '{\nx?: "nullify" | null,\n}',
    ),
    "nullable_holds_everywhere": (
        {"type": "array", "items": {"type": "string", "nullable": True}},
        "string[]",
        "(string | null)[]",
    ),
    "nullable_holds_for_variants": (
        properties(x={"oneOf": [{"type": "string"}], "nullable": True}),
        "{\nx?:\n | string\n,\n}",
        "{\nx?:\n | string\n | null\n,\n}",
    ),
    "a_list_of_types_keeps_what_the_schema_says": (
        properties(x={"type": ["array", "null"], "items": {"type": "integer"}}),
        "{\nx?: array | null,\n}",
        "{\nx?: number[] | null,\n}",
    ),
    "a_list_of_types_keeps_its_enum": (
        properties(x={"type": ["string", "null"], "enum": ["a", None]}),
        "{\nx?: string | null,\n}",
        '{\nx?: "a" | null,\n}',
    ),
    "an_enum_may_have_any_values": (
        properties(x={"type": "integer", "enum": [1, 2]}, y={"enum": ["a", True]}),
        "{\nx?: number,\ny?: any,\n}",
        '{\nx?: 1 | 2,\ny?: "a" | true,\n}',
    ),
    "a_const_is_its_value": (
        properties(x={"const": "a"}, y={"type": "string", "const": "b"}),
        "{\nx?: any,\ny?: string,\n}",
        '{\nx?: "a",\ny?: "b",\n}',
    ),
    "null_is_a_type": (properties(x={"type": "null"}), "{\nx?: any,\n}", "{\nx?: null,\n}"),
    "any_of_is_a_union": (
        properties(x={"anyOf": [{"type": "string"}, {"type": "null"}], "default": None}),
        "{\nx?: any, // default: null\n}",
        "{\nx?: string | null, // default: null\n}",
    ),
    "all_of_is_an_intersection": (
        properties(x={"allOf": [properties(a={"type": "string"}), {"anyOf": [STRINGS]}]}),
        "{\nx?: any,\n}",
        '{\nx?: {\n    a?: string,\n    } & ("p" | "q"),\n}',
    ),
    "a_reference_is_followed": (
        {**properties(x={"$ref": "#/$defs/Point"}), "$defs": {"Point": properties(y={})}},
        "{\nx?: any,\n}",
        "{\nx?: {\n    y?: any,\n    },\n}",
    ),
    "the_description_of_a_variant_is_kept": (
        properties(
            x={"description": "D", "oneOf": [{"type": "string", "description": "E"}]},
            y={"description": "F", "oneOf": [{"type": "string", "description": "F"}]},
        ),
        "{\n// D\nx?:\n | string\n,\ny?:\n | string\n,\n}",
        "{\n// D\nx?:\n | string // E\n,\n// F\ny?:\n | string\n,\n}",
    ),
    "an_empty_one_of_is_any": ({"oneOf": []}, "", "any"),
}


@pytest.mark.parametrize("name", DIFFERENCES)
def test_where_we_differ(harmony_oracle: oracle_api.HarmonyEncoding, name: str) -> None:
    schema, theirs, ours = DIFFERENCES[name]
    assert oracle(harmony_oracle, schema) == theirs
    assert schema_to_typescript(schema) == ours
