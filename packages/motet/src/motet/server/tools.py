"""Functions on offer and the choice among them, the same for every API.

Only functions are offered. Tools of other types are left out and named in a warning: clients send
them by habit (Codex does), and a model that does not see a tool does not call it. A function that
says `strict` is held to its whole schema; of any other, what cannot be enforced is ignored.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from motet.harmony import FUNCTIONS, ToolDescription, ToolNamespace
from motet.harmony.grammar import ToolChoice
from motet.server.errors import ApiError

_NAME = re.compile(r"[A-Za-z0-9_-]{1,128}")


@dataclass(frozen=True)
class FunctionTool:
    """A function the model may call."""

    name: str
    description: str = ""
    parameters: dict[str, Any] | None = None
    strict: bool = False


@dataclass(frozen=True)
class OfferedTools:
    """The functions of a request and warnings about tools that are not offered."""

    functions: tuple[FunctionTool, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def namespaces(self) -> tuple[ToolNamespace, ...]:
        """What the developer message describes."""
        if not self.functions:
            return ()
        return (
            ToolNamespace.functions(
                ToolDescription(each.name, each.description, each.parameters)
                for each in self.functions
            ),
        )

    @property
    def lenient(self) -> frozenset[str]:
        """The recipients whose schemas need not be enforceable."""
        return frozenset(recipient(each.name) for each in self.functions if not each.strict)


def recipient(name: str) -> str:
    """Whom a call of the function goes to."""
    return f"{FUNCTIONS}.{name}"


def function_name(recipient: str) -> str:
    """The name of a function for the API, from the recipient of a call."""
    return recipient.removeprefix(f"{FUNCTIONS}.")


def read_tools(tools: Sequence[Mapping[str, Any]] | None) -> OfferedTools:
    """The `tools` of a request, nested (`function: {…}`) or flat. Raises ApiError."""
    functions: list[FunctionTool] = []
    warnings = []
    for index, tool in enumerate(tools or ()):
        kind = tool.get("type", "function")
        if kind == "function":
            functions.append(_function(tool, f"tools[{index}]"))
            if functions[-1].name in {each.name for each in functions[:-1]}:
                raise ApiError(
                    f"The function {functions[-1].name!r} is there twice.",
                    param=f"tools[{index}].name",
                )
        else:
            warnings.append(f"tools[{index}] is ignored: this server offers no {kind!r}")
    return OfferedTools(tuple(functions), tuple(warnings))


def _function(tool: Mapping[str, Any], path: str) -> FunctionTool:
    nested = tool.get("function")
    fields = nested if isinstance(nested, Mapping) else tool
    path = f"{path}.function" if isinstance(nested, Mapping) else path
    name = fields.get("name")
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise ApiError(
            "A function's name must be 1 to 128 letters, digits, underscores and hyphens.",
            param=f"{path}.name",
        )
    description, parameters = fields.get("description"), fields.get("parameters")
    if not isinstance(description, str | None):
        raise ApiError("A description must be text.", param=f"{path}.description")
    if not isinstance(parameters, dict | None):
        raise ApiError("parameters must be a JSON schema.", param=f"{path}.parameters")
    # No properties are no arguments, which the prompt says in its own way.
    return FunctionTool(name, description or "", parameters or None, fields.get("strict") is True)


def read_tool_choice(choice: str | Mapping[str, Any] | None, offered: OfferedTools) -> ToolChoice:
    """The `tool_choice` of a request. Raises ApiError."""
    names = {each.name for each in offered.functions}
    match choice:
        case None | "auto":
            return ToolChoice.auto()
        case "none":
            return ToolChoice.none()
        case "required" if not names:
            raise ApiError(
                "A call is required, but the request offers no function.", param="tool_choice"
            )
        case "required":
            return ToolChoice.call()
        case {"type": "function", "function": {"name": str(name)}} | {
            "type": "function",
            "name": str(name),
        }:
            return ToolChoice.call([recipient(_known(name, names))])
        case {"type": "allowed_tools", "allowed_tools": allowed}:
            return _allowed(allowed, names)
        case {"type": "allowed_tools"}:
            return _allowed(choice, names)
    raise ApiError(
        "tool_choice must be none, auto, required, a function of this request, or allowed_tools.",
        param="tool_choice",
    )


def _allowed(allowed: object, names: set[str]) -> ToolChoice:
    match allowed:
        case {"mode": "auto" | "required" as mode, "tools": [*tools]}:
            functions = [each for each in tools if _is_function(each)]
            only = [recipient(_known(_named(each), names)) for each in functions]
            if mode == "auto":
                return ToolChoice.auto(only)
            if only:
                return ToolChoice.call(only)
            raise ApiError("A call is required, but no function allowed.", param="tool_choice")
    raise ApiError(
        "allowed_tools needs a mode, auto or required, and a list of tools.", param="tool_choice"
    )


def _is_function(tool: object) -> bool:
    return isinstance(tool, Mapping) and tool.get("type") == "function"


def _named(tool: Mapping[str, Any]) -> str:
    nested = tool.get("function")
    return str((nested if isinstance(nested, Mapping) else tool).get("name"))


def _known(name: str, names: set[str]) -> str:
    if name not in names:
        raise ApiError(
            f"tool_choice names {name!r}, which is no function of this request.",
            param="tool_choice",
        )
    return name
