"""Ending the chain of thought of an engine that obeys no constraint.

What a constraint does inside an engine, this does from outside, with tokens alone: where the
thinking has reached its limit, goes round in circles or would leave no room for an answer, the
stream is closed, the tokens that end the thought and begin the next message are put behind what the
model wrote, and the model goes on from there in a new request. The engine reads no more than those
few tokens, for it has the rest in its cache.

An engine that reads grammars is told what may come next, before and after. Of any other: with no
call on offer the next message is the answer. Otherwise the model chooses first, and is led
to the answer if it goes on thinking. Once no more thought is wanted, headers are held back until it
is clear that they begin none, so that no empty thought is left behind.
"""

from __future__ import annotations

import codecs
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import aclosing
from dataclasses import replace

from motet.engine import Engine, FinishReason, GeneratedTokens, GenerationRequest
from motet.harmony import ANALYSIS, FINAL, Role, Vocabulary
from motet.harmony.grammar import ThinkingEnd, TurnGrammar, answer_room
from motet.harmony.grammar.loops import LoopDetector


class BoundedThinking:
    """One turn of an engine, its thinking ended after `limit` tokens (None: no limit) or in a loop.

    `grammar` is the turn's, for an engine that reads grammars; no other is told of it. `ended` says
    why it was ended, if the model did not end it itself.
    """

    def __init__(
        self,
        engine: Engine,
        vocabulary: Vocabulary,
        limit: int | None,
        *,
        offers_calls: bool,
        grammar: TurnGrammar | None = None,
    ) -> None:
        self.ended: ThinkingEnd | None = None
        self._engine = engine
        self._vocabulary = vocabulary
        self._limit = limit
        self._grammar = grammar
        self._may_choose = offers_calls
        self._message = _MessageReader(vocabulary)
        self._thought_tokens = 0
        self._room: int | None = None  # for tokens before the answer
        self._loops = LoopDetector()
        self._held: list[GeneratedTokens] = []  # the header that has come so far, in some cases
        assistant = vocabulary.encode(Role.ASSISTANT)
        self._answer_header = (
            *(vocabulary.start, *assistant, vocabulary.channel),
            *(*vocabulary.encode(FINAL), vocabulary.message),
        )
        self._until_channel = len(assistant) + 2

    async def generate(self, request: GenerationRequest) -> AsyncGenerator[GeneratedTokens, None]:
        """The turn, as the engine gives it where it need not be led. Raises EngineError."""
        room = self._engine.context_length - len(request.prompt)
        left = min(request.maximum_tokens or room, room)
        self._keep_room_for_the_answer(left)
        asked = self._told(request)
        while True:
            written: list[int] = []
            lead: Sequence[int] = ()
            async with aclosing(self._engine.generate(asked)) as chunks:
                async for chunk in chunks:
                    shown, lead = self._read(chunk)
                    written += shown.tokens
                    if shown.tokens or shown.finish:
                        yield shown
                    if lead:
                        break
            if not lead:
                return
            left -= len(written) + len(lead)
            finish = FinishReason.LENGTH if left < 1 else None
            yield GeneratedTokens(tuple(lead), finish=finish, forced=len(lead))
            if finish:
                return
            prompt = (*asked.prompt, *written, *lead)
            asked = self._told(replace(request, prompt=prompt, maximum_tokens=left))

    def _told(self, request: GenerationRequest) -> GenerationRequest:
        """The request with the grammar of what may come next, if the engine reads it."""
        if self._grammar is None:
            return request
        return replace(request, grammar=self._grammar.text(thinks=self.ended is None))

    @property
    def _is_over(self) -> bool:
        """Whether no more thought is wanted."""
        return self.ended is not None or self._limit == 0

    def _keep_room_for_the_answer(self, maximum: int) -> None:
        room = maximum - answer_room(maximum) - len(self._answer_header) - 1
        self._room = room if room > 0 else None

    def _read(self, chunk: GeneratedTokens) -> tuple[GeneratedTokens, Sequence[int]]:
        """What of a chunk is to be shown, and where to lead the model, if anywhere."""
        shown = GeneratedTokens((), None if chunk.logprobs is None else ())
        for piece in _single_tokens(chunk):
            for token in piece.tokens:
                self._message.feed(token)
                self._watch(token)
            self._held.append(piece)
            if self._is_over and not piece.finish:
                if self._message.begins_thought:
                    return shown, self._answer_instead()
                if self._message.is_in_header:
                    continue
            shown = sum(self._held, start=shown)
            self._held.clear()
            if self._is_over and not piece.finish and self._message.may_end_thought:
                return shown, self._end_of_thought()
        return shown, ()

    def _watch(self, token: int) -> None:
        """Notice where the thinking has to end."""
        if self._room is not None:
            self._room -= 1
        if not self._message.is_thought or self._message.begins_thought or self.ended:
            return
        self._thought_tokens += 1
        if self._loops.feed(token):
            self.ended = "loop"
        elif self._thought_tokens == self._limit or (self._room is not None and self._room < 1):
            self.ended = "limit"

    def _end_of_thought(self) -> Sequence[int]:
        """The end of the thought and the next header, as far as it is not the model's choice."""
        header = self._answer_header
        if self._grammar:
            header = header[: self._until_channel - 1]  # the grammar says what may follow
        elif self._may_choose:
            header = header[: self._until_channel]
        lead = (self._vocabulary.end, *header)
        self._may_choose = False
        return self._led(lead)

    def _answer_instead(self) -> Sequence[int]:
        """The header of an answer in the place of the one that was held back."""
        shown = self._message.header[: -len(self._held)]
        header = self._answer_header[self._until_channel - 1 if self._message.is_first else 0 :]
        self._held.clear()
        self._message.reopen(shown)
        return self._led(header[len(shown) :])

    def _led(self, lead: Sequence[int]) -> Sequence[int]:
        for token in lead:
            self._message.feed(token)
            self._watch(token)
        return lead


class _MessageReader:
    """Knows whether tokens are a header, a thought or another text.

    `begins_thought` is true behind the header of a thought and nowhere else.
    """

    def __init__(self, vocabulary: Vocabulary) -> None:
        self.header: list[int] = []
        self.is_first = True
        self.is_thought = False
        self.begins_thought = False
        self._in_text = False
        self._vocabulary = vocabulary
        self._ends = vocabulary.stop_ids | {vocabulary.end}
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    @property
    def is_in_header(self) -> bool:
        """Whether part of a header has come, and not all of it."""
        return not self._in_text and bool(self.header)

    @property
    def may_end_thought(self) -> bool:
        """Whether the text is a thought and stands behind a whole character."""
        return self.is_thought and not self._decoder.getstate()[0]

    def feed(self, token: int) -> None:
        """Go on by a token."""
        self.begins_thought = False
        if token in self._ends or (self._in_text and token == self._vocabulary.start):
            self.is_first = self.is_first and not self._in_text
            self.reopen([token] if token == self._vocabulary.start else [])
        elif self._in_text:
            self._decoder.decode(self._vocabulary.token_bytes(token) or b"")
        else:
            self.header.append(token)
            self._in_text = token == self._vocabulary.message
            self.is_thought = self.begins_thought = self._in_text and self._is_of_thought()

    def reopen(self, header: Sequence[int]) -> None:
        """Stand behind these tokens of a header."""
        self.header = list(header)
        self._in_text = self.is_thought = self.begins_thought = False
        self._decoder.reset()

    def _is_of_thought(self) -> bool:
        marks = self._vocabulary
        before, _, channel = marks.decode(self.header).partition(marks.decode((marks.channel,)))
        return channel.lstrip().startswith(ANALYSIS) and "to=" not in before + channel


def _single_tokens(chunk: GeneratedTokens) -> Iterator[GeneratedTokens]:
    """The chunk in pieces of one token; what is not of one token goes with the last."""
    last = len(chunk.tokens) - 1
    for position in range(last):
        logprobs = chunk.logprobs and chunk.logprobs[position : position + 1]
        yield GeneratedTokens(chunk.tokens[position : position + 1], logprobs)
    logprobs = chunk.logprobs and chunk.logprobs[max(last, 0) :]
    yield replace(chunk, tokens=chunk.tokens[max(last, 0) :], logprobs=logprobs)
