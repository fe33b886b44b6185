"""A request on its way: its tokens, its choices, and how far the model has read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from motet import _native
from motet.engine.delivery import Mailbox
from motet.engine.request import FinishReason, GeneratedTokens, GenerationRequest
from motet.engine.sampling import Mask, Sampler
from motet.engine.speculation import Guesses

Tokens = NDArray[np.int32]


class Generation:
    """What an answer depends on, kept apart from what the model has read of it.

    Tokens, sampler and constraint stay when the `sequence` is cleared: the model then reads the
    tokens again and the answer goes on as if nothing had been.
    """

    def __init__(
        self,
        request: GenerationRequest,
        prompt: Tokens,
        sequence: _native.Sequence,
        sampler: Sampler,
        maximum_tokens: int,
    ) -> None:
        self.sequence = sequence
        self.mailbox = Mailbox()
        self.begun = False  # the constraint has said what comes first
        self.reading = False  # a step has read something since it was let in
        self.ended = False
        self.guesses = Guesses()
        self.prompt_length = prompt.size
        self.cached: int | None = None  # of the prompt; None until the first step
        self._untold = 0  # of those, not yet told to the caller
        self._tokens = np.empty(prompt.size + maximum_tokens, dtype=np.int32)
        self._tokens[: prompt.size] = prompt
        self._count = prompt.size
        self._stop_ids = request.stop_ids
        self._sampler = sampler

    @property
    def over(self) -> bool:
        """Whether it needs no further step."""
        return self.ended or self.mailbox.abandoned

    @property
    def tokens(self) -> Tokens:
        """Prompt and answer so far."""
        return self._tokens[: self._count]

    @property
    def unread(self) -> Tokens:
        """The tokens that the model has not read, at least one."""
        return self._tokens[self.sequence.length : self._count]

    @property
    def tokens_left(self) -> int:
        """How many tokens the answer may still get."""
        return self._tokens.size - self._count

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

    def start_reading(self) -> bool:
        """Take note that a step reads from here on; whether it is the first one ever."""
        self.reading = True
        if self.cached is not None:
            return False
        self.cached = self._untold = min(self.sequence.length, self.prompt_length)
        return True

    def extend(
        self, logits: NDArray[np.float32], drafted: Tokens, allowed: Mask | None = None
    ) -> GeneratedTokens:
        """Choose tokens from logits [rows, vocabulary], and take what is forced behind them.

        The rows follow the last token and those `drafted` behind it. They are used as long as the
        choices are the draft; the model then forgets what it has read in vain. `allowed` is the
        constraint's mask for the first row.
        """
        start = self._count
        grown = GeneratedTokens((), (), cached=self._untold)
        self._untold = 0
        try:
            while not self.ended and (row := self._count - start) <= self._agreeing(drafted, start):
                grown += self._chosen(logits[row], None if row else allowed)
        finally:
            self.sequence.truncate(start + self._agreeing(drafted, start))
            self.guesses.compare(self._tokens[start : self._count])
        return grown

    def _agreeing(self, drafted: Tokens, start: int) -> int:
        """How many of the drafted tokens have come, behind the first `start`."""
        if not drafted.size:
            return 0
        count = min(self._count - start, drafted.size)
        differing = np.flatnonzero(self._tokens[start : start + count] != drafted[:count])
        return int(differing[0]) if differing.size else count

    def _chosen(self, logits: NDArray[np.float32], allowed: Mask | None) -> GeneratedTokens:
        choice = self._sampler.choose(logits, allowed)
        grown = self._grown((choice.token,))
        return replace(grown, logprobs=(choice.logprob,)) if choice.logprob else grown

    def _grown(self, chosen: Sequence[int]) -> GeneratedTokens:
        """Take these tokens and the forced ones up to where the generation ends."""
        tokens, finish = [], None
        for token in (*chosen, *self._sampler.take_forced()):
            tokens.append(token)
            self._tokens[self._count] = token
            self._count += 1
            if token in self._stop_ids:
                finish = FinishReason.STOP
            elif self.tokens_left == 0:
                finish = FinishReason.LENGTH
            if finish:
                break
        self.ended = finish is not None
        forced = len(tokens) - len(chosen)
        return GeneratedTokens(tuple(tokens), finish=finish, forced=forced)
