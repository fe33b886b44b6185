"""What a request asks of the model, whichever API it came by.

All instructions that stand before the first other message are one developer message, with the
functions and the response format behind them; later ones stay where they are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from motet.agent import TurnOptions
from motet.engine import EngineError, SamplingParameters
from motet.harmony import (
    Conversation,
    DeveloperContent,
    Message,
    ResponseFormat,
    Role,
    ToolNamespace,
)
from motet.harmony.grammar import AnswerFormat
from motet.server.errors import ApiError

_EFFORTS = {
    None: (None, None),
    "none": ("low", 0),
    "minimal": ("low", None),
    "low": ("low", None),
    "medium": ("medium", None),
    "high": ("high", None),
    "xhigh": ("high", None),
    "max": ("high", None),
}


@dataclass(frozen=True)
class Ask:
    """A conversation to be answered, and how: `choices` times, up to one of the texts of `stop`."""

    conversation: Conversation
    options: TurnOptions
    stop: tuple[str, ...] = ()
    choices: int = 1
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Shape:
    """The form an answer must have: what binds it, and what the model is told."""

    answer: AnswerFormat | None = None
    told: tuple[ResponseFormat, ...] = ()


def conversation(
    system: Message,
    messages: Sequence[Message],
    *,
    instructions: str | None = None,
    tools: tuple[ToolNamespace, ...] = (),
    shape: Shape | None = None,
) -> Conversation:
    """System message, developer message, and everything that was said."""
    leading = [instructions] if instructions else []
    body = list(messages)
    while body and body[0].author.role is Role.DEVELOPER:
        leading.append(instruction_text(body.pop(0)))
    told = shape.told if shape else ()
    opening = [system]
    if leading or tools or told:
        text = "\n\n".join(each for each in leading if each) or None
        opening.append(Message.developer(DeveloperContent(text, tools, told)))
    return Conversation((*opening, *body))


def instruction(text: str) -> Message:
    """An instruction of the developer."""
    return Message.developer(DeveloperContent(instructions=text))


def instruction_text(message: Message) -> str:
    """What an instruction says."""
    contents = (part for part in message.content if isinstance(part, DeveloperContent))
    return "\n\n".join(part.instructions or "" for part in contents)


def spoken_text(content: object, path: str) -> str:
    """The text of a message's `content`: a string or text parts. Raises ApiError."""
    if content is None:
        return ""
    if isinstance(content, str):
        return content
    if not isinstance(content, Sequence):
        raise ApiError("content must be text or a list of text parts.", param=path)
    return "".join(_part(part, f"{path}[{index}]") for index, part in enumerate(content))


def _part(part: object, path: str) -> str:
    match part:
        case str():
            return part
        case {"type": "text" | "input_text" | "output_text" | "reasoning_text", "text": str(text)}:
            return text
        case {"type": "summary_text", "text": str(text)}:
            return text
        case {"type": "refusal", "refusal": str(text)}:
            return text
        case {"type": str(kind)}:
            raise ApiError(
                f"A part of type {kind!r} cannot be used here: gpt-oss reads text alone.",
                param=path,
                code="unsupported_content",
            )
    raise ApiError("A part of content needs a type and its text.", param=path)


def read_effort(effort: str | None, path: str) -> tuple[str | None, int | None]:
    """The effort for the system message and a limit on thinking; both None if not said."""
    if effort not in _EFFORTS:
        known = ", ".join(each for each in _EFFORTS if each)
        raise ApiError(f"The effort {effort!r} is none of {known}.", param=path)
    return _EFFORTS[effort]


def read_shape(form: Mapping[str, Any] | None, path: str) -> Shape:
    """`response_format` of Chat Completions or `text.format` of Responses. Raises ApiError."""
    match form:
        case None | {"type": "text"}:
            return Shape()
        case {"type": "json_object"}:
            told = ResponseFormat("json", {"type": "object"})
            return Shape(AnswerFormat.json_object(), (told,))
        case {"type": "json_schema"}:
            nested = form.get("json_schema")
            inner = nested if isinstance(nested, Mapping) else form
            return _schema_shape(inner, path)
    raise ApiError("The type must be text, json_object or json_schema.", param=f"{path}.type")


def _schema_shape(form: Mapping[str, Any], path: str) -> Shape:
    name, schema, description = (
        form.get("name", "answer"),
        form.get("schema"),
        form.get("description"),
    )
    if not isinstance(schema, dict):
        raise ApiError("A json_schema needs a schema.", param=f"{path}.schema")
    if not isinstance(name, str) or not isinstance(description, str | None):
        raise ApiError("Name and description must be text.", param=path)
    told = ResponseFormat(name, schema, description)
    return Shape(AnswerFormat.json_schema(schema), (told,))


def sampling(
    default: SamplingParameters,
    *,
    temperature: float | None = None,
    top_p: float | None = None,
    presence_penalty: float | None = None,
    frequency_penalty: float | None = None,
    seed: int | None = None,
) -> SamplingParameters:
    """The model's own sampling with what the request says instead. Raises ApiError."""
    try:
        return replace(
            default,
            temperature=default.temperature if temperature is None else temperature,
            # A share of 0 means the likeliest token, which any small share keeps too.
            top_p=default.top_p if top_p is None else top_p or 1e-9,
            presence_penalty=presence_penalty or 0.0,
            frequency_penalty=frequency_penalty or 0.0,
            seed=None if seed is None else seed % 2**64,
        )
    except EngineError as error:
        raise ApiError(f"{error}.", param=str(error).partition(" ")[0]) from error
