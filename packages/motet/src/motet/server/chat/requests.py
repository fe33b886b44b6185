"""The request of POST /v1/chat/completions, and the conversation and wishes it stands for.

Unknown fields are ignored. What changes nothing about the answer (`user`, `metadata`, `store`, …)
is accepted; what the engine cannot do and would change it is refused.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from motet.agent import TurnOptions
from motet.harmony import ANALYSIS, COMMENTARY, CONSTRAIN, FINAL, HarmonyError, Message
from motet.harmony.grammar import TurnRules
from motet.server.errors import ApiError
from motet.server.memory import Said, TurnMemory, recalled
from motet.server.model import ServedModel
from motet.server.prompts import (
    Ask,
    conversation,
    instruction,
    read_effort,
    read_shape,
    sampling,
    spoken_text,
)
from motet.server.tools import read_tool_choice, read_tools, recipient

MAXIMUM_CHOICES = 16
_JSON = f"{CONSTRAIN}json"


class _Lenient(BaseModel):
    model_config = ConfigDict(extra="ignore", allow_inf_nan=False)


class CalledFunction(_Lenient):
    """A function's name and the text of its arguments."""

    name: str
    arguments: str = "{}"


class ToolCall(_Lenient):
    """A call the assistant made."""

    id: str
    function: CalledFunction


class ChatMessage(_Lenient):
    """A message of any role; which fields count depends on it."""

    role: Literal["system", "developer", "user", "assistant", "tool", "function"]
    content: str | list[dict[str, Any]] | None = None
    name: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    refusal: str | None = None
    tool_calls: list[ToolCall] | None = None
    tool_call_id: str | None = None


class StreamOptions(_Lenient):
    """What a stream holds beside the answer."""

    include_usage: bool | None = None


class ChatRequest(_Lenient):
    """A request as OpenAI's reference describes it."""

    messages: list[ChatMessage] = Field(min_length=1)
    model: str | None = None
    tools: list[dict[str, Any]] | None = None
    tool_choice: str | dict[str, Any] | None = None
    response_format: dict[str, Any] | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    n: int | None = Field(None, ge=1, le=MAXIMUM_CHOICES)
    stop: str | list[str] | None = None
    seed: int | None = None
    temperature: float | None = Field(None, ge=0, le=2)
    top_p: float | None = Field(None, ge=0, le=1)
    presence_penalty: float | None = Field(None, ge=-2, le=2)
    frequency_penalty: float | None = Field(None, ge=-2, le=2)
    logit_bias: dict[str, float] | None = None
    logprobs: bool | None = None
    top_logprobs: int | None = Field(None, ge=0, le=20)
    max_tokens: int | None = Field(None, ge=1)
    max_completion_tokens: int | None = Field(None, ge=1)
    reasoning_effort: str | None = None
    modalities: list[str] | None = None
    functions: list[Any] | None = None


def read_chat(request: ChatRequest, model: ServedModel, memory: TurnMemory) -> Ask:
    """What the request asks for. Raises ApiError."""
    _refuse_impossible(request)
    offered = read_tools(request.tools)
    shape = read_shape(request.response_format, "response_format")
    effort, thinking = read_effort(request.reasoning_effort, "reasoning_effort")
    rules = TurnRules(
        read_tool_choice(request.tool_choice, offered), shape.answer, thinking, offered.lenient
    )
    options = TurnOptions(
        sampling(
            model.sampling,
            temperature=request.temperature,
            top_p=request.top_p,
            presence_penalty=request.presence_penalty,
            frequency_penalty=request.frequency_penalty,
            seed=request.seed,
        ),
        request.max_completion_tokens or request.max_tokens,
        rules,
        (request.top_logprobs or 0) if request.logprobs else None,
    )
    said = recalled(list(_said(request.messages)), memory)
    asked = conversation(model.system(effort), said, tools=offered.namespaces, shape=shape)
    stop = (request.stop,) if isinstance(request.stop, str) else tuple(request.stop or ())
    return Ask(asked, options, stop, request.n or 1, offered.warnings)


def _refuse_impossible(request: ChatRequest) -> None:
    if request.logit_bias:
        raise ApiError(
            "logit_bias cannot be done by this engine; leave it out.", param="logit_bias"
        )
    if request.functions:
        raise ApiError("functions is no longer used; take tools.", param="functions")
    if request.modalities and set(request.modalities) != {"text"}:
        raise ApiError("gpt-oss answers in text alone.", param="modalities")
    if request.top_logprobs and not request.logprobs:
        raise ApiError("top_logprobs needs logprobs to be true.", param="top_logprobs")


def _said(messages: Sequence[ChatMessage]) -> Iterator[Said]:
    """The messages in harmony; each call of a function is followed by its result."""
    results = {each.tool_call_id: i for i, each in enumerate(messages) if each.role == "tool"}
    used: set[int] = set()
    for index, message in enumerate(messages):
        path = f"messages[{index}]"
        text = spoken_text(message.content, f"{path}.content")
        match message.role:
            case "system" | "developer":
                yield Said(instruction(text))
            case "user":
                yield Said(Message.user(text))
            case "assistant":
                yield from _by_assistant(message, text)
                for call in message.tool_calls or ():
                    yield _call(call, path)
                    position = results.get(call.id)
                    if position is not None and position > index and position not in used:
                        used.add(position)
                        yield Said(_result(call, messages[position], position))
            case "tool" if index not in used:
                raise ApiError(
                    f"No call of a function before it has the id {message.tool_call_id!r}.",
                    param=f"{path}.tool_call_id",
                )
            case "function":
                raise ApiError("The role function is no longer used; take tool.", param=path)


def _by_assistant(message: ChatMessage, text: str) -> Iterator[Said]:
    """What it thought and said; text next to calls is their preamble."""
    thought = message.reasoning_content or message.reasoning
    if thought:
        yield Said(Message.assistant(thought, ANALYSIS))
    text = text or message.refusal or ""
    if text or not (thought or message.tool_calls):
        yield Said(Message.assistant(text, COMMENTARY if message.tool_calls else FINAL))


def _call(call: ToolCall, path: str) -> Said:
    try:
        message = Message.assistant(
            call.function.arguments, COMMENTARY, recipient(call.function.name), _JSON
        )
    except HarmonyError as error:
        raise ApiError(str(error), param=f"{path}.tool_calls") from error
    return Said(message, call.id)


def _result(call: ToolCall, message: ChatMessage, index: int) -> Message:
    text = spoken_text(message.content, f"messages[{index}].content")
    return Message.tool(recipient(call.function.name), text)
