"""A response as it grows: harmony events in, the events of OpenAI's Responses stream out.

A state machine without I/O. It holds the response object and gives every event its number. The
order is that of the reference: a response is created and in progress; an item is added, then its
part; text comes in deltas and is done; part and item are done; the response ends in one state.
"""

from __future__ import annotations

from collections.abc import Collection
from copy import deepcopy
from time import time
from typing import Any
from uuid import uuid4

from motet.agent import Turn
from motet.engine import FinishReason
from motet.harmony import (
    ANALYSIS,
    COMMENTARY,
    HarmonyEvent,
    MessageEnded,
    MessageStarted,
    TextDelta,
    Vocabulary,
)
from motet.server.errors import ApiError
from motet.server.responses.items import Item, sealed
from motet.server.responses.requests import SEALED_REASONING
from motet.server.scores import scores_json, scores_of
from motet.server.tools import function_name

Event = dict[str, Any]


class ResponseStream:
    """The events of one response; `response` is what it has become so far."""

    def __init__(
        self, response: dict[str, Any], vocabulary: Vocabulary, include: Collection[str] = ()
    ) -> None:
        self.response = response
        self._vocabulary = vocabulary
        self._include = include
        self._number = 0
        self._item: Item | None = None
        self._text = ""
        self._logprobs: list[dict[str, Any]] = []

    @property
    def output(self) -> list[Item]:
        """The items so far."""
        items: list[Item] = self.response["output"]
        return items

    def begin(self) -> list[Event]:
        """The response is there; one in the background has to wait before it goes on."""
        events = [self._snapshot("response.created")]
        if self.response["status"] == "queued":
            events.append(self._snapshot("response.queued"))
            self.response["status"] = "in_progress"
        return [*events, self._snapshot("response.in_progress")]

    def feed(self, event: HarmonyEvent) -> list[Event]:
        """What one event of the model becomes."""
        match event:
            case MessageStarted():
                return self._open(event)
            case TextDelta() if self._item:
                return [self._delta(event, self._item)]
            case MessageEnded() if self._item:
                return self._close(self._item, is_whole=event.end != "cut")
        return []

    def finish(self, turn: Turn) -> list[Event]:
        """The turn is over."""
        self._end(turn)
        if turn.finish is FinishReason.LENGTH:
            self.response["status"] = "incomplete"
            self.response["incomplete_details"] = {"reason": "max_output_tokens"}
            return [self._snapshot("response.incomplete")]
        self.response["status"] = "completed"
        self.response["completed_at"] = int(time())
        return [self._snapshot("response.completed")]

    def fail(self, turn: Turn, error: ApiError) -> list[Event]:
        """The turn has failed; what was said before stays."""
        events = self._rest(turn)
        self._end(turn)
        code = error.code if error.code == "rate_limit_exceeded" else "server_error"
        self.response["status"] = "failed"
        self.response["error"] = {"code": code, "message": error.message}
        return [*events, self._snapshot("response.failed")]

    def cancel(self, turn: Turn) -> list[Event]:
        """Somebody wants no more; the stream just ends, for the API has no event for it."""
        events = self._rest(turn)
        self._end(turn)
        self.response["status"] = "cancelled"
        return events

    def _rest(self, turn: Turn) -> list[Event]:
        """What a turn that was broken off has said and nobody has read."""
        return [made for event in turn.unread for made in self.feed(event)]

    def _end(self, turn: Turn) -> None:
        self.response["usage"] = {
            "input_tokens": turn.prompt_tokens,
            "input_tokens_details": {"cached_tokens": turn.cached_tokens, "cache_write_tokens": 0},
            "output_tokens": turn.generated_tokens,
            "output_tokens_details": {"reasoning_tokens": turn.thinking_tokens},
            "total_tokens": turn.prompt_tokens + turn.generated_tokens,
        }

    def _open(self, event: MessageStarted) -> list[Event]:
        self._item = item = _new_item(event)
        self._text, self._logprobs = "", []
        self.output.append(item)
        added = self._event(
            "response.output_item.added", output_index=self._index, item=deepcopy(item)
        )
        if item["type"] == "function_call":
            return [added]
        part = self._part(item)
        item["content"].append(part)
        return [added, self._place("response.content_part.added", item, part=deepcopy(part))]

    def _delta(self, event: TextDelta, item: Item) -> Event:
        self._text += event.text
        match item["type"]:
            case "function_call":
                return self._event(
                    "response.function_call_arguments.delta",
                    item_id=item["id"],
                    output_index=self._index,
                    delta=event.text,
                )
            case "reasoning":
                return self._place("response.reasoning_text.delta", item, delta=event.text)
        scores = scores_json(scores_of(event), self._vocabulary)
        self._logprobs += scores
        return self._place("response.output_text.delta", item, delta=event.text, logprobs=scores)

    def _close(self, item: Item, *, is_whole: bool) -> list[Event]:
        self._item = None
        item["status"] = "completed" if is_whole else "incomplete"
        match item["type"]:
            case "function_call":
                item["arguments"] = self._text
                events = [
                    self._event(
                        "response.function_call_arguments.done",
                        item_id=item["id"],
                        output_index=self._index,
                        name=item["name"],
                        arguments=self._text,
                    )
                ]
            case "reasoning":
                events = [self._place("response.reasoning_text.done", item, text=self._text)]
                if SEALED_REASONING in self._include:
                    item["encrypted_content"] = sealed(self._text)
            case _:
                events = [
                    self._place(
                        "response.output_text.done", item, text=self._text, logprobs=self._logprobs
                    )
                ]
        if item["type"] != "function_call":
            item["content"] = [self._part(item)]
            events.append(
                self._place("response.content_part.done", item, part=deepcopy(item["content"][0]))
            )
        done = self._event(
            "response.output_item.done", output_index=self._index, item=deepcopy(item)
        )
        return [*events, done]

    def _part(self, item: Item) -> dict[str, Any]:
        if item["type"] == "reasoning":
            return {"type": "reasoning_text", "text": self._text}
        return {
            "type": "output_text",
            "text": self._text,
            "annotations": [],
            "logprobs": self._logprobs,
        }

    @property
    def _index(self) -> int:
        return len(self.output) - 1

    def _place(self, kind: str, item: Item, **fields: Any) -> Event:
        return self._event(
            kind, item_id=item["id"], output_index=self._index, content_index=0, **fields
        )

    def _snapshot(self, kind: str) -> Event:
        return self._event(kind, response=deepcopy(self.response))

    def _event(self, kind: str, **fields: Any) -> Event:
        event = {"type": kind, "sequence_number": self._number, **fields}
        self._number += 1
        return event


def _new_item(event: MessageStarted) -> Item:
    """The item a message becomes: reasoning, a call, or words for people."""
    if event.recipient:
        return {
            "id": f"fc_{uuid4().hex}",
            "type": "function_call",
            "status": "in_progress",
            "call_id": f"call_{uuid4().hex}",
            "name": function_name(event.recipient),
            "arguments": "",
        }
    if event.channel == ANALYSIS:
        return {
            "id": f"rs_{uuid4().hex}",
            "type": "reasoning",
            "status": "in_progress",
            "summary": [],
            "content": [],
            "encrypted_content": None,
        }
    return {
        "id": f"msg_{uuid4().hex}",
        "type": "message",
        "status": "in_progress",
        "role": "assistant",
        "phase": "commentary" if event.channel == COMMENTARY else "final_answer",
        "content": [],
    }
