"""Who takes part in the next step, and with which tokens.

Every generation that has its prompt behind it takes part with the one token chosen last; the rest
of the step's room goes to prompts, first come, first served, in chunks. A long prompt thus delays
the others' tokens by one bounded step at a time and never stops them.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from motet._native import Sequence
from motet.engine.delivery import Mailbox
from motet.engine.request import FinishReason, GeneratedTokens, GenerationRequest
from motet.engine.sampling import Sampler

LIVE_GENERATIONS = 64
TOKENS_PER_STEP = 512
PROMPT_TOKENS_PER_STEP = 128  # at least, however many generations are decoding


class Generation:
    """A request on its way: what the model still has to read, and where the answer stands."""

    def __init__(
        self,
        request: GenerationRequest,
        prompt: NDArray[np.int32],
        sequence: Sequence,
        sampler: Sampler,
        maximum_tokens: int,
    ) -> None:
        self.sequence = sequence
        self.mailbox = Mailbox()
        self.unread = prompt
        self.in_prompt = True
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

    def extend(self, logits: NDArray[np.float32]) -> GeneratedTokens:
        """Choose the next token from logits [vocabulary]; it is the one to read next."""
        choice = self._sampler.choose(logits)
        self.in_prompt = False
        self.unread = np.array([choice.token], dtype=np.int32)
        self._tokens_left -= 1
        finish = None
        if choice.token in self._stop_ids:
            finish = FinishReason.STOP
        elif self._tokens_left == 0:
            finish = FinishReason.LENGTH
        self.ended = finish is not None
        logprobs = (choice.logprob,) if choice.logprob else None
        return GeneratedTokens((choice.token,), logprobs, finish)


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
        if generation.in_prompt:
            prompts.append(generation)
        else:
            parts.append(Part(generation, generation.unread, wants_logits=True))
    budget = max(PROMPT_TOKENS_PER_STEP, TOKENS_PER_STEP - len(parts))
    for generation in prompts:
        tokens = generation.unread[:budget]
        if tokens.size == 0:
            break
        budget -= tokens.size
        parts.append(Part(generation, tokens, wants_logits=tokens.size == generation.unread.size))
    return parts
