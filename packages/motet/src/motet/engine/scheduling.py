"""Who takes part in the next step, and with which tokens.

Every generation that has its prompt behind it takes part with the token chosen last and those its
constraint has forced; the rest of the step's room goes to prompts, first come, first served, in
chunks. A long prompt thus delays the others' tokens by one bounded step at a time and never stops
them.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from motet import _native
from motet.engine.delivery import Mailbox
from motet.engine.request import FinishReason, GeneratedTokens, GenerationRequest
from motet.engine.sampling import Mask, Sampler

LIVE_GENERATIONS = 64
TOKENS_PER_STEP = 512
PROMPT_TOKENS_PER_STEP = 128  # at least, however many generations are decoding
TOKENS_AT_ONCE = 16  # of one generation that decodes; a longer forced run is read like a prompt


class Generation:
    """A request on its way: what the model still has to read, and where the answer stands."""

    def __init__(
        self,
        request: GenerationRequest,
        prompt: NDArray[np.int32],
        sequence: _native.Sequence,
        sampler: Sampler,
        maximum_tokens: int,
    ) -> None:
        self.sequence = sequence
        self.mailbox = Mailbox()
        self.unread = prompt
        self.begun = False
        self.ended = False
        self._stop_ids = request.stop_ids
        self._sampler = sampler
        self._tokens_left = maximum_tokens

    @property
    def over(self) -> bool:
        """Whether it needs no further step."""
        return self.ended or self.mailbox.abandoned

    def read(self, count: int) -> None:
        """Take note that the model has read the first `count` of the unread tokens."""
        self.unread = self.unread[count:]

    @property
    def has_slow_mask(self) -> bool:
        """Whether `allowed` takes long enough to be called beside the model's step."""
        return self._sampler.has_slow_mask

    def allowed(self) -> Mask | None:
        """Which tokens the constraint allows next: bool [vocabulary], None for all."""
        return self._sampler.allowed()

    def begin(self) -> GeneratedTokens:
        """Take the tokens that must come first, often none: they are read with the prompt."""
        self.begun = True
        self._sampler.begin()
        return self._grown(())

    def extend(self, logits: NDArray[np.float32], allowed: Mask | None = None) -> GeneratedTokens:
        """Choose the next token from logits [vocabulary], and take what is forced behind it."""
        choice = self._sampler.choose(logits, allowed)
        grown = self._grown((choice.token,))
        return replace(grown, logprobs=(choice.logprob,)) if choice.logprob else grown

    def _grown(self, chosen: Sequence[int]) -> GeneratedTokens:
        """Take these tokens and the forced ones up to where the generation ends."""
        tokens, finish = [], None
        for token in (*chosen, *self._sampler.take_forced()):
            tokens.append(token)
            self._tokens_left -= 1
            if token in self._stop_ids:
                finish = FinishReason.STOP
            elif self._tokens_left == 0:
                finish = FinishReason.LENGTH
            if finish:
                break
        self.ended = finish is not None
        self.unread = np.append(self.unread, np.array(tokens, dtype=np.int32))
        forced = len(tokens) - len(chosen)
        return GeneratedTokens(tuple(tokens), finish=finish, forced=forced)


@dataclass(frozen=True)
class Part:
    """The share of one generation in a step."""

    generation: Generation
    tokens: NDArray[np.int32]
    wants_logits: bool


def plan_step(generations: Iterable[Generation]) -> list[Part]:
    """Divide a step among `generations`, which are in the order of their arrival."""
    parts = []
    prompts = []
    for generation in generations:
        if generation.unread.size > TOKENS_AT_ONCE:
            prompts.append(generation)
        else:
            parts.append(Part(generation, generation.unread, wants_logits=True))
    decoding = sum(part.tokens.size for part in parts)
    budget = max(PROMPT_TOKENS_PER_STEP, TOKENS_PER_STEP - decoding)
    for generation in prompts:
        tokens = generation.unread[:budget]
        if tokens.size == 0:
            break
        budget -= tokens.size
        parts.append(Part(generation, tokens, wants_logits=tokens.size == generation.unread.size))
    return parts
