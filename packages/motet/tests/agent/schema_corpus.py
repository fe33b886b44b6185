"""JSON schemas to hold answers to: OpenAI's API as its Python package types it, and the keywords of
JSON Schema that can be enforced, one by one.
"""

import importlib
import inspect
import json
import pkgutil
from collections.abc import Iterator
from functools import cache
from typing import Any

from pydantic import BaseModel

Schema = dict[str, Any]

KEYWORDS: dict[str, Schema] = {
    "enum of strings": {"enum": ["red", "green", "blue", 'quo"te', "back\\slash", "日本"]},
    "enum of anything": {"enum": [1, 2.5, None, True, "x", [1, "a"], {"k": 1}]},
    "const": {"const": {"a": [1, 2, {"b": None}]}},
    "integer range": {"type": "integer", "minimum": -12, "maximum": 1205},
    "exclusive range": {"type": "integer", "exclusiveMinimum": 3, "exclusiveMaximum": 7},
    "number range": {"type": "number", "minimum": 0.5, "exclusiveMaximum": 2},
    "multiple of an integer": {"type": "integer", "multipleOf": 7, "minimum": 0, "maximum": 1000},
    "string length": {"type": "string", "minLength": 3, "maxLength": 9},
    "pattern": {"type": "string", "pattern": "^[A-Z]{2}-[0-9]{4}(-[a-f]+)?$"},
    "open pattern": {"type": "string", "pattern": "[0-9]x"},
    "date": {"type": "string", "format": "date"},
    "time": {"type": "string", "format": "time"},
    "date and time": {"type": "string", "format": "date-time"},
    "mail": {"type": "string", "format": "email"},
    "address": {"type": "string", "format": "ipv4"},
    "address 6": {"type": "string", "format": "ipv6"},
    "uuid": {"type": "string", "format": "uuid"},
    "host": {"type": "string", "format": "hostname"},
    "duration": {"type": "string", "format": "duration"},
    "null": {"type": "null"},
    "boolean": {"type": "boolean"},
    "types": {"type": ["string", "null", "integer"]},
    "array": {"type": "array", "items": {"type": "integer"}, "minItems": 2, "maxItems": 5},
    "tuple": {
        "type": "array",
        "prefixItems": [{"type": "string"}, {"type": "integer"}],
        "items": False,
        "minItems": 2,
    },
    "array of anything": {"type": "array"},
    "object of anything": {"type": "object"},
    "map": {"type": "object", "additionalProperties": {"type": "integer"}},
    "pattern properties": {
        "type": "object",
        "patternProperties": {"^x-": {"type": "string"}},
        "additionalProperties": False,
    },
    "required of another name": {
        "type": "object",
        "properties": {"a": {"type": "string"}},
        "required": ["a", "b"],
        "additionalProperties": True,
    },
    "all of": {
        "allOf": [
            {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]},
            {"type": "object", "properties": {"b": {"type": "boolean"}}, "required": ["b"]},
        ]
    },
    "one of types": {"oneOf": [{"type": "string", "maxLength": 20}, {"type": "integer"}]},
    "any of objects": {
        "anyOf": [
            {"type": "object", "properties": {"k": {"const": "a"}}, "required": ["k"]},
            {"type": "object", "properties": {"k": {"const": "b"}}, "required": ["k"]},
        ]
    },
    "list": {
        "$defs": {
            "node": {
                "type": "object",
                "properties": {
                    "value": {"type": "integer"},
                    "next": {"anyOf": [{"$ref": "#/$defs/node"}, {"type": "null"}]},
                },
                "required": ["value", "next"],
            }
        },
        "$ref": "#/$defs/node",
    },
    "tree": {
        "definitions": {
            "tree": {
                "type": "object",
                "properties": {
                    "name": {"type": "string", "maxLength": 12},
                    "children": {"type": "array", "items": {"$ref": "#/definitions/tree"}},
                },
                "required": ["name", "children"],
                "additionalProperties": False,
            }
        },
        "$ref": "#/definitions/tree",
    },
    "reference to the root": {
        "type": "object",
        "properties": {"inner": {"$ref": "#"}, "n": {"type": "integer"}},
        "required": ["n"],
    },
    "odd keys": {
        "type": "object",
        "properties": {'a"b': {"type": "integer"}, "c\\d": {"type": "null"}, "ключ": {}},
        "required": ['a"b', "c\\d", "ключ"],
        "additionalProperties": False,
    },
}


@cache
def api_schemas(count: int = 210, longest: int = 2500) -> dict[str, Schema]:
    """So many schemas of OpenAI's API, each of at most `longest` letters, without their prose."""
    found: dict[str, str] = {}
    for kind in _kinds("openai.types.responses", "openai.types.chat", "openai.types.realtime"):
        if len(found) == count:
            break
        text = json.dumps(_bare(kind.model_json_schema()))
        if 100 < len(text) <= longest:
            found.setdefault(text, kind.__name__)
    return {f"{name} {place}": json.loads(text) for place, (text, name) in enumerate(found.items())}


def _bare(schema: Any) -> Any:
    """The schema without titles, descriptions and defaults, which bind nothing."""
    match schema:
        case dict():
            return {
                key: _bare(value)
                for key, value in schema.items()
                if isinstance(value, dict) or key not in ("title", "description", "default")
            }
        case list():
            return [_bare(value) for value in schema]
    return schema


def _kinds(*packages: str) -> Iterator[type[BaseModel]]:
    for package in packages:
        path = importlib.import_module(package).__path__
        for module in pkgutil.iter_modules(path, f"{package}."):
            inside = importlib.import_module(module.name)
            for _, kind in inspect.getmembers(inside, inspect.isclass):
                if issubclass(kind, BaseModel) and kind.__module__ == module.name:
                    yield kind
