"""One turn of the model: a conversation in, harmony events out, a longer conversation after.

The way of one question, in the order it happens: the conversation is rendered to token ids, the
engine extends them, the parser turns every new token into events, and the finished messages join
the conversation. A turn that is stopped early keeps what the model had said by then, so no answer
is lost to an impatient reader.

An engine that obeys constraints is held to the grammar of the turn, so that what it writes is
well-formed by construction. One that reads grammars is told it as a text, and its thinking is
bounded from outside. What any other engine writes is repaired where it is not well-formed.
"""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass, field

from motet.agent.thinking import BoundedThinking
from motet.engine import (
    Engine,
    FinishReason,
    GeneratedTokens,
    GenerationRequest,
    SamplingParameters,
    TokenLogprob,
)
from motet.harmony import (
    ANALYSIS,
    Conversation,
    HarmonyEvent,
    HarmonyParser,
    Message,
    MessageEnded,
    MessageStarted,
    Repair,
    TextDelta,
    Vocabulary,
    render_for_completion,
)
from motet.harmony.grammar import (
    ThinkingEnd,
    TurnConstraint,
    TurnGrammar,
    TurnRules,
    compile_turn,
)


@dataclass(frozen=True)
class TurnOptions:
    """How one turn is generated; `maximum_tokens` of None means up to the end of the context.

    With `top_logprobs` every text comes as `ScoredText`, with so many alternatives for a token.
    """

    sampling: SamplingParameters = field(default_factory=SamplingParameters)
    maximum_tokens: int | None = None
    rules: TurnRules = field(default_factory=TurnRules)
    top_logprobs: int | None = None


@dataclass(frozen=True)
class ScoredText(TextDelta):
    """A TextDelta with the log probabilities of the tokens that made it."""

    logprobs: tuple[TokenLogprob, ...]


class Turn:
    """One completion of a conversation: iterate `events()` once, then read the result.

    `grammar` is what `compile_turn` makes of the conversation and the options' rules; without it,
    that is done when the events are asked for. `ended_thinking` says why the chain of thought was
    ended if the model did not end it itself, and `forced_tokens` how many of the generated tokens
    the grammar left no choice about, so that they cost no step of the model. An answer that was
    ended because it had no more room is valid, and its `finish` is LENGTH. `cached_tokens` of the
    prompt needed not be read, and `thinking_tokens` were spent on the text of thoughts.

    The result is there also when the iteration was broken off, cancelled or failed: `finish` is
    then None, the last message ends where the model was, and `unread` holds the events that could
    no longer be yielded, so that everything in `messages` can be shown.
    """

    def __init__(
        self,
        engine: Engine,
        vocabulary: Vocabulary,
        conversation: Conversation,
        options: TurnOptions | None = None,
        grammar: TurnGrammar | None = None,
    ) -> None:
        self._engine = engine
        self._vocabulary = vocabulary
        self._grammar = grammar
        self._constraint: TurnConstraint | None = None
        self._thinking: BoundedThinking | None = None
        self._given = conversation
        self._options = options or TurnOptions()
        self._prompt = render_for_completion(conversation, vocabulary)
        self._stop_ids = vocabulary.stop_ids
        self._parser = HarmonyParser(vocabulary, tools=conversation.tools or None)
        self.finish: FinishReason | None = None
        self.generated_tokens = 0
        self.forced_tokens = 0
        self.cached_tokens = 0
        self.thinking_tokens = 0
        self._open: MessageStarted | None = None
        self._scores: list[TokenLogprob] = []
        self.unread: deque[HarmonyEvent] = deque()

    async def events(self) -> AsyncGenerator[HarmonyEvent, None]:
        """Yield what the model says as it says it.

        Raises `EngineError` if generation fails, `GrammarError` if the rules cannot be held to.

        A call ends the turn however the model ended it: what it would write next, it could only
        make up.
        """
        generate = self._engine.generate
        if self._engine.obeys_constraints:
            self._constraint = await self._new_constraint()
        else:
            self._thinking = await self._new_thinking()
            generate = self._thinking.generate
        request = GenerationRequest(
            prompt=self._prompt,
            sampling=self._options.sampling,
            maximum_tokens=self._options.maximum_tokens,
            stop_ids=self._stop_ids,
            constraint=self._constraint,
            top_logprobs=self._options.top_logprobs,
        )
        try:
            async with aclosing(generate(request)) as chunks:
                async for chunk in chunks:
                    self._read(chunk)
                    while self.unread:
                        yield self.unread.popleft()
                    if self.finish:
                        break
        finally:
            self.unread.extend(self._parser.finish())
        while self.unread:
            yield self.unread.popleft()

    async def _compiled(self) -> TurnGrammar:
        if self._grammar is None:
            self._grammar = await asyncio.to_thread(
                compile_turn, self._vocabulary, self._given, self._options.rules
            )
        return self._grammar

    async def _new_constraint(self) -> TurnConstraint:
        grammar = await self._compiled()
        room = max(1, self._engine.context_length - len(self._prompt))
        return grammar.constraint(min(self._options.maximum_tokens or room, room))

    async def _new_thinking(self) -> BoundedThinking:
        rules = self._options.rules
        offered = self._given.tools if rules.tool_choice.only is None else rules.tool_choice.only
        return BoundedThinking(
            self._engine,
            self._vocabulary,
            rules.maximum_thinking_tokens,
            offers_calls=bool(offered),
            grammar=await self._compiled() if self._engine.reads_grammars else None,
        )

    def _read(self, chunk: GeneratedTokens) -> None:
        """Parse the tokens of a chunk, none behind the end of a call."""
        self.finish = chunk.finish
        self.forced_tokens += chunk.forced
        self.cached_tokens += chunk.cached
        for position, token in enumerate(chunk.tokens):
            self.generated_tokens += 1
            self._note(token, chunk.logprobs[position] if chunk.logprobs else None)
            events = [self._scored(event) for event in self._parser.feed(token)]
            self.unread.extend(events)
            if any(isinstance(event, MessageEnded) and event.end == "call" for event in events):
                self.finish = FinishReason.STOP
                break
        if self.finish and self._constraint and self._constraint.was_closed:
            self.finish = FinishReason.LENGTH

    def _note(self, token: int, score: TokenLogprob | None) -> None:
        """Count a token that belongs to a text, and keep its score for the text it makes."""
        if self._open is None or self._vocabulary.is_special(token):
            return
        if self._open.channel == ANALYSIS and self._open.recipient is None:
            self.thinking_tokens += 1
        if score is not None:
            self._scores.append(score)

    def _scored(self, event: HarmonyEvent) -> HarmonyEvent:
        """The event, a text with the scores of its tokens where they are wanted."""
        match event:
            case MessageStarted():
                self._open = event
            case MessageEnded():
                self._open = None
                self._scores = []
            case TextDelta() if self._scores:
                event = ScoredText(event.index, event.text, tuple(self._scores))
                self._scores = []
        return event

    @property
    def ended_thinking(self) -> ThinkingEnd | None:
        """Why the thinking was ended: its limit, or a loop; None if the model ended it."""
        if self._thinking:
            return self._thinking.ended
        return self._constraint.ended_thinking if self._constraint else None

    @property
    def prompt_tokens(self) -> int:
        """How many tokens the rendered conversation holds."""
        return len(self._prompt)

    @property
    def messages(self) -> tuple[Message, ...]:
        """What the model said, a message that was cut short included."""
        return tuple(self._parser.messages)

    @property
    def repairs(self) -> tuple[Repair, ...]:
        """What the parser had to mend to read it."""
        return tuple(self._parser.repairs)

    @property
    def conversation(self) -> Conversation:
        """The conversation this turn was given, extended by what the model said."""
        return Conversation((*self._given.messages, *self.messages))
