"""JSON schemas as documents: objects closed, and the place of what cannot be enforced."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from motet.harmony.content import JsonSchema

_ONE = ("additionalProperties", "items", "not", "if", "then", "else", "contains", "propertyNames")
_LISTED = ("anyOf", "oneOf", "allOf", "prefixItems", "items")
_NAMED = ("properties", "patternProperties", "$defs", "definitions", "dependentSchemas")
_COMBINING = ("$ref", "anyOf", "oneOf", "allOf", "if")
_MOST_LOOKS = 2000

MOST_OPTIONAL = 1000
"""Properties of one object that need not be there; llguidance follows all of them at once."""


def closed(schema: JsonSchema) -> JsonSchema:
    """The schema with objects that take no properties but those they name, unless they say so.

    A schema that combines objects is left as it is: each part would refuse the others' properties.
    """
    if any(_combines_objects(each) for _, each in _subschemas("#", schema)):
        return schema
    copy: JsonSchema = json.loads(json.dumps(schema))
    for _, each in _subschemas("#", copy):
        if "properties" in each and not {"additionalProperties", "patternProperties"} & each.keys():
            each["additionalProperties"] = False
    return copy


def fault(
    schema: JsonSchema, complaint: Callable[[str], str | None], reason: str
) -> tuple[str, str]:
    """The path of the smallest part that `complaint` refuses by itself, and why; `reason` is why
    the whole is refused."""
    definitions = {key: schema[key] for key in ("$defs", "definitions") if key in schema}
    path, looks = "#", 0
    found = True
    inner: object = schema
    while found:
        found = False
        for name, part in _parts(inner):
            looks += 1
            if looks > _MOST_LOOKS:
                return path, reason
            if why := complaint(json.dumps({**definitions, **part})):
                path, inner, reason, found = f"{path}/{name}", part, why, True
                break
    return path, reason


def crowded(schema: JsonSchema) -> str | None:
    """The path of an object with more optional properties than can be followed, if there is one."""
    for path, each in _subschemas("#", schema):
        properties, required = each.get("properties"), each.get("required")
        if isinstance(properties, dict):
            optional = len(properties.keys() - set(required if isinstance(required, list) else ()))
            if optional > MOST_OPTIONAL:
                return path
    return None


def _combines_objects(schema: Mapping[str, Any]) -> bool:
    return "allOf" in schema or (
        "properties" in schema and any(key in schema for key in _COMBINING)
    )


def _subschemas(path: str, schema: object) -> Iterator[tuple[str, dict[str, Any]]]:
    """The schema and all schemas in it, each with its path."""
    if isinstance(schema, dict):
        yield path, schema
        for name, part in _parts(schema):
            yield from _subschemas(f"{path}/{name}", part)


def _parts(schema: object) -> Iterator[tuple[str, dict[str, Any]]]:
    """The schemas directly in a schema, by their path in it."""
    if not isinstance(schema, dict):
        return
    for key in _NAMED:
        if isinstance(named := schema.get(key), dict):
            yield from ((f"{key}/{n}", part) for n, part in named.items() if isinstance(part, dict))
    for key in _LISTED:
        if isinstance(listed := schema.get(key), list):
            yield from (
                (f"{key}/{i}", part) for i, part in enumerate(listed) if isinstance(part, dict)
            )
    for key in _ONE:
        if isinstance(part := schema.get(key), dict):
            yield key, part
