"""POST /v1/chat/completions: the turns of one request, whole or as a stream of chunks."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from time import time
from typing import Any
from uuid import uuid4

from fastapi import APIRouter, Request
from fastapi.responses import Response

from motet.agent import Turn
from motet.server.chat.replies import ChatReply, Delta
from motet.server.chat.requests import ChatRequest, read_chat
from motet.server.generation import begun, play, prepare, together
from motet.server.http import answer, data_events, events_answer, strict_routes, while_connected
from motet.server.prompts import Ask
from motet.server.service import Service, service_of

_HEADER_LENGTH = 1000

router = APIRouter(route_class=strict_routes)


@dataclass
class _Completion:
    """One request being answered: its turns, and a reply for each."""

    service: Service
    turns: list[Turn]
    replies: list[ChatReply]
    with_logprobs: bool
    id: str = field(default_factory=lambda: f"chatcmpl-{uuid4().hex}")
    created: int = field(default_factory=lambda: int(time()))

    @classmethod
    def of(cls, service: Service, ask: Ask, turns: list[Turn]) -> _Completion:
        shaped = ask.options.rules.answer is not None
        vocabulary = service.model.vocabulary
        replies = [ChatReply(vocabulary, ask.stop, shaped=shaped) for _ in turns]
        return cls(service, turns, replies, ask.options.top_logprobs is not None)

    def events(self) -> AsyncGenerator[tuple[int, Delta], None]:
        """The deltas of all choices, each with its choice's index."""
        return together([self._choice(index) for index in range(len(self.turns))])

    async def _choice(self, index: int) -> AsyncGenerator[Delta, None]:
        turn, reply = self.turns[index], self.replies[index]
        seconds = self.service.settings.request_seconds
        async with aclosing(play(turn, self.service.metrics, seconds=seconds)) as events:
            async for event in events:
                for delta in reply.feed(event):
                    yield delta
                if reply.stopped:
                    break
        self._remember(turn, reply)

    def _remember(self, turn: Turn, reply: ChatReply) -> None:
        if reply.calls and turn.messages and turn.messages[-1].recipient:
            self.service.memory.keep(reply.calls[-1]["id"], turn.messages)

    def finish(self, index: int) -> str:
        """Why a choice ended."""
        return self.replies[index].finish(self.turns[index].finish)

    @property
    def head(self) -> dict[str, Any]:
        """What answers and chunks begin with."""
        return {"id": self.id, "created": self.created, "model": self.service.model.name}

    @property
    def usage(self) -> dict[str, Any]:
        """Tokens of the prompt, once, and of all choices."""
        return usage_json(self.turns)


def usage_json(turns: Sequence[Turn]) -> dict[str, Any]:
    """The tokens of turns that share one prompt."""
    prompt, generated = turns[0].prompt_tokens, sum(turn.generated_tokens for turn in turns)
    return {
        "prompt_tokens": prompt,
        "completion_tokens": generated,
        "total_tokens": prompt + generated,
        "prompt_tokens_details": {"cached_tokens": turns[0].cached_tokens},
        "completion_tokens_details": {
            "reasoning_tokens": sum(turn.thinking_tokens for turn in turns)
        },
    }


@router.post("/v1/chat/completions", tags=["chat"])
async def create_chat_completion(body: ChatRequest, request: Request) -> Response:
    """Answer a conversation."""
    service = service_of(request)
    service.model.require(body.model)
    ask = read_chat(body, service.model, service.memory)
    prepared = await prepare(service.model, ask)
    completion = _Completion.of(service, ask, prepared.turns)
    warnings = "; ".join(prepared.warnings)
    headers = {"motet-warning": warnings[:_HEADER_LENGTH]} if warnings else {}
    if body.stream:
        with_usage = bool(body.stream_options and body.stream_options.include_usage)
        deltas = await begun(completion.events())
        chunks = _chunks(completion, deltas, with_usage=with_usage)
        return events_answer(data_events(chunks), headers)
    whole = await while_connected(request, _whole(completion))
    return answer(whole, headers=headers)


async def _whole(completion: _Completion) -> dict[str, Any]:
    async with aclosing(completion.events()) as deltas:
        async for _ in deltas:
            pass
    choices = [
        {
            "index": index,
            "message": reply.message,
            "finish_reason": completion.finish(index),
            "logprobs": (
                {"content": reply.logprobs, "refusal": None} if completion.with_logprobs else None
            ),
        }
        for index, reply in enumerate(completion.replies)
    ]
    kind = {"object": "chat.completion"}
    return {**completion.head, **kind, "choices": choices, "usage": completion.usage}


async def _chunks(
    completion: _Completion, deltas: AsyncGenerator[tuple[int, Delta], None], *, with_usage: bool
) -> AsyncGenerator[dict[str, Any], None]:
    head = {**completion.head, "object": "chat.completion.chunk"}
    if with_usage:
        head["usage"] = None

    def chunk(index: int, delta: dict[str, Any], **more: Any) -> dict[str, Any]:
        choice = {"index": index, "delta": delta, "logprobs": None, "finish_reason": None} | more
        return {**head, "choices": [choice]}

    for index in range(len(completion.turns)):
        yield chunk(index, {"role": "assistant", "content": ""})
    async with aclosing(deltas):
        async for index, delta in deltas:
            scores = {"content": delta.logprobs, "refusal": None} if delta.logprobs else None
            yield chunk(index, delta.fields, logprobs=scores)
    for index in range(len(completion.turns)):
        yield chunk(index, {}, finish_reason=completion.finish(index))
    if with_usage:
        yield {**head, "choices": [], "usage": completion.usage}
