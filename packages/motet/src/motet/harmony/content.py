"""What a message can hold: text, the facts of a system message, a developer's instructions.

Tools are described by namespaces of JSON-schema functions, `functions` being the developer's own.
`browser_tool` and `python_tool` are the two builtin ones, word for word as the models were trained
with them (read from the package's data files).
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from importlib.resources import files
from typing import Any, ClassVar, Literal

from motet.harmony.errors import HarmonyError
from motet.harmony.json_fields import Fields, read_all, schema_at
from motet.harmony.names import CHANNELS, FUNCTIONS, Role

JsonSchema = dict[str, Any]


class ReasoningEffort(StrEnum):
    """How long the model thinks before it answers."""

    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"


@dataclass(frozen=True)
class ToolDescription:
    """A function: `parameters` is the JSON schema of its one object argument, None for none."""

    name: str
    description: str
    parameters: JsonSchema | None = None

    def to_json(self) -> dict[str, Any]:
        """The form of openai-harmony's ToolDescription."""
        return _without_none(
            name=self.name, description=self.description, parameters=self.parameters
        )


@dataclass(frozen=True)
class ToolNamespace:
    """Tools under one name, called as `name.tool`; without tools it is called by name alone."""

    name: str
    description: str | None = None
    tools: tuple[ToolDescription, ...] = ()

    @classmethod
    def functions(cls, tools: Iterable[ToolDescription]) -> ToolNamespace:
        """The developer's functions."""
        return cls(FUNCTIONS, None, tuple(tools))

    @property
    def recipients(self) -> tuple[str, ...]:
        """The names that calls go to: `functions.f`, `browser.search`, `python`."""
        return tuple(f"{self.name}.{tool.name}" for tool in self.tools) or (self.name,)

    def to_json(self) -> dict[str, Any]:
        """The form of openai-harmony's ToolNamespaceConfig."""
        tools = [tool.to_json() for tool in self.tools]
        return _without_none(name=self.name, description=self.description, tools=tools)


@dataclass(frozen=True)
class ResponseFormat:
    """A JSON schema the answer should follow, with the name and comment the model sees."""

    name: str
    schema: JsonSchema
    description: str | None = None

    def to_json(self) -> dict[str, Any]:
        """An extension of openai-harmony's form, which knows no response formats."""
        return _without_none(name=self.name, description=self.description, schema=self.schema)


@dataclass(frozen=True)
class TextContent:
    """Plain text; special strings in it stay text."""

    text: str
    role: ClassVar[Role | None] = None

    def to_json(self) -> dict[str, Any]:
        """The form of openai-harmony's TextContent."""
        return {"type": "text", "text": self.text}


@dataclass(frozen=True)
class SystemContent:
    """The system message; what is None or empty is left out. The defaults are the models' own."""

    model_identity: str | None = "You are ChatGPT, a large language model trained by OpenAI."
    knowledge_cutoff: str | None = "2024-06"
    reasoning_effort: ReasoningEffort | None = ReasoningEffort.MEDIUM
    conversation_start_date: str | None = None
    valid_channels: tuple[str, ...] = CHANNELS
    channel_required: bool = True
    tools: tuple[ToolNamespace, ...] = ()
    role: ClassVar[Role | None] = Role.SYSTEM

    def __post_init__(self) -> None:
        _check_distinct(self.tools)

    def to_json(self) -> dict[str, Any]:
        """The form of openai-harmony's SystemContent.

        Absent and null differ: absent stands for the default. The other library writes neither,
        and so loses a default that was taken away.
        """
        effort = self.reasoning_effort
        values = {
            "model_identity": self.model_identity,
            "reasoning_effort": effort and effort.capitalize(),
            "knowledge_cutoff": self.knowledge_cutoff,
            "channel_config": {
                "valid_channels": list(self.valid_channels),
                "channel_required": self.channel_required,
            },
        }
        optional = _without_none(
            conversation_start_date=self.conversation_start_date, tools=_tools_json(self.tools)
        )
        return values | optional | {"type": "system_content"}


@dataclass(frozen=True)
class DeveloperContent:
    """The developer message; empty sections are left out."""

    instructions: str | None = None
    tools: tuple[ToolNamespace, ...] = ()
    response_formats: tuple[ResponseFormat, ...] = ()
    role: ClassVar[Role | None] = Role.DEVELOPER

    def __post_init__(self) -> None:
        _check_distinct(self.tools)

    def to_json(self) -> dict[str, Any]:
        """The form of openai-harmony's DeveloperContent, plus `response_formats` if there are."""
        formats = [response.to_json() for response in self.response_formats]
        return _without_none(
            instructions=self.instructions,
            tools=_tools_json(self.tools),
            response_formats=formats or None,
            type="developer_content",
        )


Content = TextContent | SystemContent | DeveloperContent


@cache
def browser_tool() -> ToolNamespace:
    """The builtin browser: `browser.search`, `browser.open` and `browser.find`."""
    return _builtin("browser")


@cache
def python_tool() -> ToolNamespace:
    """The builtin interpreter: the text of a message to `python` is run as it is."""
    return _builtin("python")


def _builtin(name: Literal["browser", "python"]) -> ToolNamespace:
    text = files("motet.harmony").joinpath(f"data/{name}_tool.json").read_text(encoding="utf-8")
    return read_all(json.loads(text), name, _namespace)


def content_from_fields(fields: Fields) -> Content:
    """Read any content by its `type`. Raises HarmonyError."""
    kind = fields.take("type", str)
    if kind == "text":
        return TextContent(fields.take("text", str))
    if kind == "system_content":
        return _system(fields)
    if kind == "developer_content":
        return _developer(fields)
    raise HarmonyError(
        f"{fields.path}.type {kind!r} is none of text, system_content, developer_content."
    )


def _system(fields: Fields) -> SystemContent:
    default = SystemContent()
    channels, required = default.valid_channels, default.channel_required
    if fields.has("channel_config"):
        config = fields.optional("channel_config", dict)
        path = f"{fields.path}.channel_config"
        channels, required = read_all(config, path, _channels) if config else ((), True)
    return SystemContent(
        model_identity=fields.text_or("model_identity", default.model_identity),
        knowledge_cutoff=fields.text_or("knowledge_cutoff", default.knowledge_cutoff),
        reasoning_effort=_effort(fields, default.reasoning_effort),
        conversation_start_date=fields.optional("conversation_start_date", str),
        valid_channels=channels,
        channel_required=required,
        tools=_namespaces(fields),
    )


def _channels(fields: Fields) -> tuple[tuple[str, ...], bool]:
    names = fields.take("valid_channels", list)
    for index, name in enumerate(names):
        if not isinstance(name, str):
            raise HarmonyError(f"{fields.path}.valid_channels[{index}] must be a string.")
    return tuple(names), fields.take("channel_required", bool)


def _effort(fields: Fields, default: ReasoningEffort | None) -> ReasoningEffort | None:
    text = fields.text_or("reasoning_effort", default)
    if text is not None and text.lower() not in set(ReasoningEffort):
        known = ", ".join(ReasoningEffort)
        raise HarmonyError(f"{fields.path}.reasoning_effort {text!r} is none of {known}.")
    return None if text is None else ReasoningEffort(text.lower())


def _developer(fields: Fields) -> DeveloperContent:
    return DeveloperContent(
        instructions=fields.optional("instructions", str),
        tools=_namespaces(fields),
        response_formats=fields.objects("response_formats", _response_format),
    )


def _response_format(fields: Fields) -> ResponseFormat:
    schema = schema_at(f"{fields.path}.schema", fields.take("schema", dict))
    return ResponseFormat(
        fields.take("name", str), schema or {}, fields.optional("description", str)
    )


def _namespaces(fields: Fields) -> tuple[ToolNamespace, ...]:
    namespaces = []
    for key, namespace in fields.named_objects("tools", _namespace):
        if key != namespace.name:
            path = f"{fields.path}.tools.{key}.name"
            raise HarmonyError(f"{path} must be {key!r}, the name it stands under.")
        namespaces.append(namespace)
    return tuple(namespaces)


def _namespace(fields: Fields) -> ToolNamespace:
    return ToolNamespace(
        name=fields.take("name", str),
        description=fields.optional("description", str),
        tools=fields.objects("tools", _tool),
    )


def _tool(fields: Fields) -> ToolDescription:
    parameters = schema_at(f"{fields.path}.parameters", fields.optional("parameters", dict))
    return ToolDescription(fields.take("name", str), fields.take("description", str), parameters)


def _tools_json(tools: tuple[ToolNamespace, ...]) -> dict[str, Any] | None:
    return {namespace.name: namespace.to_json() for namespace in tools} or None


def _check_distinct(tools: tuple[ToolNamespace, ...]) -> None:
    names = [namespace.name for namespace in tools]
    for name in names:
        if names.count(name) > 1:
            raise HarmonyError(f"The tool namespace {name!r} is there twice.")


def _without_none(**values: object) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}
