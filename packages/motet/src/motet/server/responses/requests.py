"""The request of POST /v1/responses, and the conversation and wishes it stands for.

Unknown fields are ignored, and so is what changes nothing about the answer here (`service_tier`,
`prompt_cache_key`, `text.verbosity`, …).
"""

from __future__ import annotations

from collections.abc import Sequence
from time import time
from typing import Any, Literal
from uuid import uuid4

from pydantic import BaseModel, ConfigDict, Field

from motet.agent import TurnOptions
from motet.harmony.grammar import TurnRules
from motet.server.errors import ApiError
from motet.server.memory import Said, TurnMemory, recalled
from motet.server.model import ServedModel
from motet.server.prompts import Ask, conversation, read_effort, read_shape, sampling
from motet.server.tools import OfferedTools, read_tool_choice, read_tools

LOGPROBS = "message.output_text.logprobs"
SEALED_REASONING = "reasoning.encrypted_content"
_WARNING_LENGTH = 512  # of a value in metadata, by OpenAI's reference


class _Lenient(BaseModel):
    model_config = ConfigDict(extra="ignore", allow_inf_nan=False)


class Reasoning(_Lenient):
    """How long to think; a summary is accepted, but the text itself is given instead."""

    effort: str | None = None
    summary: str | None = None


class TextOptions(_Lenient):
    """The form of the answer."""

    format: dict[str, Any] | None = None


class ConversationReference(_Lenient):
    """A conversation by its id."""

    id: str


class InputRequest(_Lenient):
    """What decides about the prompt, and so about how many tokens it has."""

    model: str | None = None
    input: str | list[Any] | None = None
    instructions: str | None = None
    previous_response_id: str | None = None
    conversation: str | ConversationReference | None = None
    tools: list[dict[str, Any]] | None = None
    tool_choice: str | dict[str, Any] | None = None
    text: TextOptions | None = None
    reasoning: Reasoning | None = None
    truncation: Literal["auto", "disabled"] | None = None

    @property
    def conversation_id(self) -> str | None:
        """The id of the conversation, if there is one."""
        given = self.conversation
        return given.id if isinstance(given, ConversationReference) else given


class ResponseRequest(InputRequest):
    """A request as OpenAI's reference describes it."""

    background: bool | None = None
    include: list[str] | None = None
    max_output_tokens: int | None = Field(None, ge=1)
    max_tool_calls: int | None = Field(None, ge=0)
    metadata: dict[str, str] | None = None
    parallel_tool_calls: bool | None = None
    prompt: dict[str, Any] | None = None
    store: bool | None = None
    stream: bool | None = None
    temperature: float | None = Field(None, ge=0, le=2)
    top_logprobs: int | None = Field(None, ge=0, le=20)
    top_p: float | None = Field(None, ge=0, le=1)
    user: str | None = None

    @property
    def is_stored(self) -> bool:
        """Whether the response is to be found again."""
        return self.store is not False


def read_input(
    request: InputRequest, said: Sequence[Said], model: ServedModel, memory: TurnMemory
) -> Ask:
    """What the prompt is and what binds the answer. Raises ApiError."""
    offered = read_tools(request.tools)
    shape = read_shape(request.text.format if request.text else None, "text.format")
    effort, thinking = read_effort(
        request.reasoning.effort if request.reasoning else None, "reasoning.effort"
    )
    choice = read_tool_choice(request.tool_choice, offered)
    asked = conversation(
        model.system(effort),
        recalled(said, memory),
        instructions=request.instructions,
        tools=offered.namespaces,
        shape=shape,
    )
    rules = TurnRules(choice, shape.answer, thinking, offered.lenient)
    return Ask(asked, TurnOptions(rules=rules), warnings=offered.warnings)


def read_response(
    request: ResponseRequest, said: Sequence[Said], model: ServedModel, memory: TurnMemory
) -> Ask:
    """What the request asks for; `said` is its history and input. Raises ApiError."""
    refuse_impossible(request)
    ask = read_input(request, said, model, memory)
    wants_scores = request.top_logprobs or LOGPROBS in (request.include or ())
    options = TurnOptions(
        sampling(model.sampling, temperature=request.temperature, top_p=request.top_p),
        request.max_output_tokens,
        ask.options.rules,
        (request.top_logprobs or 0) if wants_scores else None,
    )
    return Ask(ask.conversation, options, warnings=ask.warnings)


def refuse_impossible(request: ResponseRequest) -> None:
    """Raise ApiError for what contradicts itself or is not there."""
    if request.prompt is not None:
        raise ApiError("This server keeps no prompt templates; send input.", param="prompt")
    if request.previous_response_id and request.conversation_id:
        raise ApiError(
            "Give previous_response_id or conversation, not both.", param="previous_response_id"
        )
    if request.background and not request.is_stored:
        raise ApiError("A response in the background has to be stored.", param="background")
    if len(request.metadata or {}) > 16:
        raise ApiError("metadata may have 16 entries.", param="metadata")


def opening_response(
    request: ResponseRequest, model: ServedModel, ask: Ask, warnings: Sequence[str] = ()
) -> dict[str, Any]:
    """The response before anything was said."""
    metadata = dict(request.metadata or {})
    if warnings:
        metadata["motet.warnings"] = "; ".join(warnings)[:_WARNING_LENGTH]
    reasoning = request.reasoning or Reasoning()
    conversation_id = request.conversation_id
    return {
        "id": f"resp_{uuid4().hex}",
        "object": "response",
        "created_at": int(time()),
        "completed_at": None,
        "status": "queued" if request.background else "in_progress",
        "background": bool(request.background),
        "error": None,
        "incomplete_details": None,
        "instructions": request.instructions,
        "max_output_tokens": request.max_output_tokens,
        "max_tool_calls": request.max_tool_calls,
        "metadata": metadata,
        "model": model.name,
        "output": [],
        # gpt-oss makes one call in a turn, so nothing changes if this is true.
        "parallel_tool_calls": request.parallel_tool_calls is not False,
        "previous_response_id": request.previous_response_id,
        "conversation": {"id": conversation_id} if conversation_id else None,
        "reasoning": {"effort": reasoning.effort or model.effort, "summary": None},
        "service_tier": "default",
        "store": request.is_stored,
        "temperature": ask.options.sampling.temperature,
        "text": {"format": (request.text and request.text.format) or {"type": "text"}},
        "tool_choice": request.tool_choice or "auto",
        "tools": _tools_json(read_tools(request.tools)),
        "top_logprobs": request.top_logprobs or 0,
        "top_p": ask.options.sampling.top_p,
        "truncation": request.truncation or "disabled",
        "usage": None,
        "user": request.user,
    }


def _tools_json(offered: OfferedTools) -> list[dict[str, Any]]:
    return [
        {
            "type": "function",
            "name": each.name,
            "description": each.description or None,
            "parameters": each.parameters,
            "strict": each.strict,
        }
        for each in offered.functions
    ]
