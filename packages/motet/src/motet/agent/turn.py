"""One turn of the model: a conversation in, harmony events out, a longer conversation after.

The way of one question, in the order it happens: the conversation is rendered to token ids, the
engine extends them, the parser turns every new token into events, and the finished messages join
the conversation. A turn that is stopped early keeps what the model had said by then, so no answer
is lost to an impatient reader.
"""

from collections import deque
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass, field

from motet.engine import (
    Engine,
    FinishReason,
    GeneratedTokens,
    GenerationRequest,
    SamplingParameters,
)
from motet.harmony import (
    Conversation,
    HarmonyEvent,
    HarmonyParser,
    Message,
    MessageEnded,
    Repair,
    Vocabulary,
    render_for_completion,
)


@dataclass(frozen=True)
class TurnOptions:
    """How one turn is generated; `maximum_tokens` of None means up to the end of the context."""

    sampling: SamplingParameters = field(default_factory=SamplingParameters)
    maximum_tokens: int | None = None


class Turn:
    """One completion of a conversation: iterate `events()` once, then read the result.

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
    ) -> None:
        self._engine = engine
        self._given = conversation
        self._options = options or TurnOptions()
        self._prompt = render_for_completion(conversation, vocabulary)
        self._stop_ids = vocabulary.stop_ids
        self._parser = HarmonyParser(vocabulary, tools=conversation.tools or None)
        self.finish: FinishReason | None = None
        self.generated_tokens = 0
        self.unread: deque[HarmonyEvent] = deque()

    async def events(self) -> AsyncGenerator[HarmonyEvent, None]:
        """Yield what the model says as it says it; raises `EngineError` if generation fails.

        A call ends the turn however the model ended it: what it would write next, it could only
        make up.
        """
        request = GenerationRequest(
            prompt=self._prompt,
            sampling=self._options.sampling,
            maximum_tokens=self._options.maximum_tokens,
            stop_ids=self._stop_ids,
        )
        try:
            async with aclosing(self._engine.generate(request)) as chunks:
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

    def _read(self, chunk: GeneratedTokens) -> None:
        """Parse the tokens of a chunk, none behind the end of a call."""
        self.finish = chunk.finish
        for token in chunk.tokens:
            self.generated_tokens += 1
            events = self._parser.feed(token)
            self.unread.extend(events)
            if any(isinstance(event, MessageEnded) and event.end == "call" for event in events):
                self.finish = FinishReason.STOP
                return

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
