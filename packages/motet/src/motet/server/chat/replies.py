"""One choice of an answer: harmony events in, the deltas of a stream out, and the whole at the end.

What the model thinks becomes `reasoning_content`, a call `tool_calls`, everything else `content`.
Where the content has to be JSON, a preamble would break it and counts as reasoning.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal
from uuid import uuid4

from motet.engine import FinishReason, TokenLogprob
from motet.harmony import (
    ANALYSIS,
    FINAL,
    HarmonyEvent,
    MessageEnded,
    MessageStarted,
    TextDelta,
    Vocabulary,
)
from motet.server.scores import scores_json, scores_of
from motet.server.stops import StopCutter
from motet.server.tools import function_name

Finish = Literal["stop", "length", "tool_calls"]
Part = Literal["reasoning", "content", "call"]


@dataclass(frozen=True)
class Delta:
    """A piece of a choice: the fields of its `delta`, and the scores of its tokens."""

    fields: dict[str, Any]
    logprobs: list[dict[str, Any]] = field(default_factory=list)


class ChatReply:
    """Reads the events of one turn and keeps what they come to.

    `shaped`: whether the content has to be in a format of its own.
    """

    def __init__(
        self, vocabulary: Vocabulary, stop: Sequence[str] = (), *, shaped: bool = False
    ) -> None:
        self.reasoning = ""
        self.content = ""
        self.calls: list[dict[str, Any]] = []
        self.logprobs: list[dict[str, Any]] = []
        self._vocabulary = vocabulary
        self._cutter = StopCutter(stop)
        self._shaped = shaped
        self._part: Part = "content"
        self._separator = ""
        self._held: deque[tuple[int, tuple[TokenLogprob, ...]]] = deque()
        self._seen = 0
        self._released = 0

    @property
    def stopped(self) -> bool:
        """Whether a stop text has ended it."""
        return self._cutter.stopped

    def feed(self, event: HarmonyEvent) -> list[Delta]:
        """The deltas of one event."""
        match event:
            case MessageStarted():
                return self._begin(event)
            case TextDelta() if self._part == "content":
                return self._content(event)
            case TextDelta() if self._part == "reasoning":
                text, self._separator = self._separator + event.text, ""
                self.reasoning += text
                return [Delta({"reasoning_content": text})]
            case TextDelta():
                return [self._arguments(event.text)]
            case MessageEnded() if self._part == "content":
                return self._shown(self._cutter.finish())
        return []

    def finish(self, reason: FinishReason | None) -> Finish:
        """Why the choice ended, from why the turn did."""
        if self.stopped:
            return "stop"
        if reason is FinishReason.LENGTH:
            return "length"
        return "tool_calls" if self.calls else "stop"

    @property
    def message(self) -> dict[str, Any]:
        """The whole message."""
        optional: dict[str, Any] = {}
        if self.reasoning:
            optional["reasoning_content"] = self.reasoning
        if self.calls:
            optional["tool_calls"] = self.calls
        content = self.content or (None if self.calls else "")
        return {"role": "assistant", "content": content, "refusal": None} | optional

    def _begin(self, event: MessageStarted) -> list[Delta]:
        if event.recipient:
            return [self._call(event.recipient)]
        is_answer = event.channel == FINAL
        is_reasoning = event.channel == ANALYSIS or (self._shaped and not is_answer)
        self._part = "reasoning" if is_reasoning else "content"
        before = self.reasoning if is_reasoning else self.content
        self._separator = "\n\n" if before else ""
        return []

    def _call(self, recipient: str) -> Delta:
        self._part = "call"
        called = {"name": function_name(recipient), "arguments": ""}
        call = {"id": f"call_{uuid4().hex}", "type": "function", "function": called}
        self.calls.append(call)
        begun = {"index": len(self.calls) - 1, **call, "function": dict(called)}
        return Delta({"tool_calls": [begun]})

    def _arguments(self, text: str) -> Delta:
        self.calls[-1]["function"]["arguments"] += text
        call = {"index": len(self.calls) - 1, "function": {"arguments": text}}
        return Delta({"tool_calls": [call]})

    def _content(self, event: TextDelta) -> list[Delta]:
        text, self._separator = self._separator + event.text, ""
        self._held.append((self._seen, scores_of(event)))
        self._seen += len(text)
        return self._shown(self._cutter.feed(text))

    def _shown(self, text: str) -> list[Delta]:
        """The text, and the scores of the tokens that began in what has been shown by now."""
        if not text:
            return []
        self.content += text
        self._released += len(text)
        scores: list[dict[str, Any]] = []
        while self._held and self._held[0][0] < self._released:
            scores += scores_json(self._held.popleft()[1], self._vocabulary)
        self.logprobs += scores
        return [Delta({"content": text}, scores)]
