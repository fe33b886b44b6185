"""JSON schemas as the pseudo-TypeScript in which gpt-oss models know their tools.

Token for token what openai-harmony writes, oddities included, as the models were trained on it,
except where its output is broken or says `any` although the schema says more: the table in
docs/harmony.md lists each difference. Nothing here can fail: what is not understood is `any`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any

from motet.harmony.content import JsonSchema, ToolDescription, ToolNamespace

_MAXIMUM_DEPTH = 64
_MAXIMUM_REFERENCES = 1000
"""Where types end in `any`: references can unfold a small schema to an endless or huge type."""

_JSON_TYPES: dict[str, type | tuple[type, ...]] = {
    "string": str,
    "number": (int, float),
    "integer": int,
    "boolean": bool,
    "null": type(None),
    "array": list,
    "object": dict,
}


def tools_section(namespaces: Iterable[ToolNamespace]) -> str:
    """The `# Tools` section of a system or developer message, namespaces in alphabetical order."""
    by_name = sorted(namespaces, key=lambda namespace: namespace.name)
    return "\n\n".join(["# Tools", *map(_namespace, by_name)])


def _namespace(namespace: ToolNamespace) -> str:
    if not namespace.tools:
        return "\n".join([f"## {namespace.name}\n", *_lines(namespace.description or "")])
    return "\n".join(
        [
            f"## {namespace.name}\n",
            f"{comment_lines(namespace.description or '')}namespace {namespace.name} {{\n",
            *map(_function, namespace.tools),
            f"}} // namespace {namespace.name}",
        ]
    )


def _function(tool: ToolDescription) -> str:
    argument = "" if tool.parameters is None else f"_: {schema_to_typescript(tool.parameters)}"
    return f"{comment_lines(tool.description)}type {tool.name} = ({argument}) => any;\n"


def schema_to_typescript(schema: JsonSchema) -> str:
    """The type of a value that follows `schema`, `$ref`s into the schema itself resolved."""
    return _Writer(schema).type(schema, "")


def json_text(value: object) -> str:
    """Compact JSON with numbers written as openai-harmony (serde) writes them: `1e20`, `1.0`."""
    if isinstance(value, float):
        return _number(value)
    if isinstance(value, Mapping):
        pairs = (f"{json_text(str(key))}:{json_text(item)}" for key, item in value.items())
        return "{" + ",".join(pairs) + "}"
    if isinstance(value, list | tuple):
        return "[" + ",".join(map(json_text, value)) + "]"
    return json.dumps(value, ensure_ascii=False)


def _number(value: float) -> str:
    text = repr(value)
    digits, _, exponent = text.partition("e")
    if not exponent:
        return text
    return f"{Decimal(text):f}" if int(exponent) == -5 else f"{digits}e{int(exponent)}"


def comment_lines(text: str, indent: str = "") -> str:
    """The text as comments, each line one; nothing for no text."""
    return "".join(f"{indent}// {line}\n" for line in _lines(text))


class _Writer:
    """Writes the types of one schema, whose root the references point into."""

    def __init__(self, root: JsonSchema) -> None:
        self._root = root
        self._open: list[str] = []
        self._followed = 0
        self._depth = 0

    def type(self, schema: object, indent: str) -> str:
        """The type itself; lines after the first start with `indent`."""
        return " | ".join(self._alternatives(schema, indent))

    def _alternatives(self, schema: object, indent: str) -> list[str]:
        """The members of the union that `schema` allows."""
        if not isinstance(schema, Mapping) or self._depth >= _MAXIMUM_DEPTH:
            return ["any"]
        self._depth += 1
        is_reference = isinstance(schema.get("$ref"), str)
        types = (self._reference if is_reference else self._members)(schema, indent)
        self._depth -= 1
        if schema.get("nullable") is True and "null" not in types and not _variants(schema):
            types.append("null")
        return types

    def _members(self, schema: Mapping[str, Any], indent: str) -> list[str]:
        if variants := _variants(schema):
            lines = (self._variant(v, indent, _notes(v)) for v in variants)
            return ["".join(f"\n{indent} | {line}" for line in lines)]
        if literals := _literals(schema):
            return literals
        if kinds := _list(schema.get("type")):
            return [self._basic({**schema, "type": kind}, indent) for kind in kinds]
        if "type" in schema:
            return [self._basic(schema, indent)]
        return self._combination(schema, indent)

    def _combination(self, schema: Mapping[str, Any], indent: str) -> list[str]:
        """What a schema without a `type` of its own says by combining others."""
        if variants := _list(schema.get("anyOf")):
            each = (self._alternatives(variant, indent) for variant in variants)
            return list(dict.fromkeys(name for names in each for name in names))
        if parts := _list(schema.get("allOf")):
            return [" & ".join(_grouped(self._alternatives(part, indent)) for part in parts)]
        return ["any"]

    def _basic(self, schema: Mapping[str, Any], indent: str) -> str:
        match schema.get("type"):
            case "object":
                return self._object(schema, indent)
            case "array" if "items" in schema:
                return _grouped(self._alternatives(schema["items"], indent)) + "[]"
            case "array":
                return "Array<any>"
            case "integer":
                return "number"
            case "string" | "number" | "boolean" | "null" as name:
                return str(name)
        return "any"

    def _reference(self, schema: Mapping[str, Any], indent: str) -> list[str]:
        """What a `$ref` points to, with the keywords beside it; a recursive type ends in `any`."""
        reference = schema["$ref"]
        target = self._lookup(reference)
        if target is None or reference in self._open or self._followed >= _MAXIMUM_REFERENCES:
            return ["any"]
        self._followed += 1
        self._open.append(reference)
        beside = {key: value for key, value in schema.items() if key != "$ref"}
        types = self._alternatives({**target, **beside}, indent)
        self._open.pop()
        return types

    def _lookup(self, reference: str) -> Mapping[str, Any] | None:
        found: object = self._root
        head, *path = reference.split("/")
        for name in path:
            if not isinstance(found, Mapping):
                return None
            found = found.get(name.replace("~1", "/").replace("~0", "~"))
        return found if head == "#" and isinstance(found, Mapping) else None

    def _object(self, schema: Mapping[str, Any], indent: str) -> str:
        properties = schema.get("properties")
        required = schema.get("required")
        lines = []
        for key, value in (properties if isinstance(properties, Mapping) else {}).items():
            mark = "" if isinstance(required, list) and key in required else "?"
            lines.append(self._property(f"{key}{mark}", value, indent))
        return f"{_comment(schema.get('description'), indent)}{{\n{''.join(lines)}{indent}}}"

    def _property(self, name: str, value: object, indent: str) -> str:
        schema = value if isinstance(value, Mapping) else {}
        title, description = _title(schema, indent), _comment(schema.get("description"), indent)
        examples, defaults = _examples(schema, indent), _default(schema)
        if variants := _variants(schema):
            lines = [f"{indent}// {text}\n" for text in defaults] + [f"{indent}{name}:\n"]
            for variant in variants:
                notes = _notes(variant, known=schema.get("description"), is_bare=True)
                lines.append(f"{indent} | {self._variant(variant, indent, notes)}\n")
            return f"{title}{examples}{description}{''.join(lines)}{indent},\n"
        kind = self.type(schema, f"{indent}    ")
        default = "".join(f" // {text}" for text in defaults)
        return f"{title}{description}{examples}{indent}{name}: {kind},{default}\n"

    def _variant(self, variant: object, indent: str, notes: list[str]) -> str:
        """One member of a `oneOf` and the notes behind it."""
        kind = self.type(variant, f"{indent}   ")
        return f"{kind} // {' '.join(notes)}" if notes else kind


def _variants(schema: Mapping[str, Any]) -> list[object]:
    variants = _list(schema.get("oneOf"))
    if variants and schema.get("nullable") is True:
        return [*variants, {"type": "null"}]
    return variants


def _literals(schema: Mapping[str, Any]) -> list[str]:
    """The values a `const` or `enum` allows and its `type` does not forbid."""
    values = [schema["const"]] if "const" in schema else _list(schema.get("enum"))
    kinds = schema.get("type")
    names = kinds if isinstance(kinds, list) else [kinds]
    return [json_text(value) for value in values if _is_any_of(value, names)]


def _is_any_of(value: object, names: list[Any]) -> bool:
    known = [_JSON_TYPES[name] for name in names if isinstance(name, str) and name in _JSON_TYPES]
    if isinstance(value, bool):
        return not known or bool in known
    return not known or any(isinstance(value, kind) for kind in known)


def _grouped(types: list[str]) -> str:
    """One type to which `[]` or `&` can be attached; a union of lines closes on a line of its own,
    since the last may end in a comment."""
    if len(types) == 1 and not types[0].startswith("\n"):
        return types[0]
    joined = " | ".join(types)
    return f"({joined}\n)" if "\n" in joined else f"({joined})"


def _title(schema: Mapping[str, Any], indent: str) -> str:
    title = _comment(schema.get("title"), indent)
    return f"{title}{indent}//\n" if title else ""


def _examples(schema: Mapping[str, Any], indent: str) -> str:
    examples = _list(schema.get("examples"))
    lines = [f"{indent}// - {json_text(example)}\n" for example in examples]
    return "".join([f"{indent}// Examples:\n", *lines]) if lines else ""


def _default(schema: Mapping[str, Any], *, is_bare: bool = True) -> list[str]:
    """`default: …` if there is one; strings of an enum stand without quotes if `is_bare`."""
    if "default" not in schema:
        return []
    text = json_text(schema["default"])
    is_name = isinstance(schema["default"], str) and _list(schema.get("enum"))
    return [f"default: {text[1:-1] if is_bare and is_name else text}"]


def _notes(variant: object, *, known: object = None, is_bare: bool = False) -> list[str]:
    """What to say about one member of a `oneOf`, besides the description already `known`."""
    schema = variant if isinstance(variant, Mapping) else {}
    description = schema.get("description")
    is_new = isinstance(description, str) and description != known
    said = [" ".join(_lines(str(description)))] if is_new else []
    return said + _default(schema, is_bare=is_bare)


def _comment(text: object, indent: str) -> str:
    if not isinstance(text, str):
        return ""
    return comment_lines(text or "\n", indent)


def _lines(text: str) -> list[str]:
    """The lines of a text, without the empty one after a final line break."""
    lines = text.split("\n")
    if not lines[-1]:
        lines.pop()
    return [line.removesuffix("\r") for line in lines]


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []
