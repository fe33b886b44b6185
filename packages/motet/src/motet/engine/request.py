"""The nouns of this room: what is asked of an engine and what it gives back.

An engine turns token ids into token ids. It knows nothing of messages, channels or text; it is told
where to stop and, if need be, which tokens are allowed next. Nothing above the `Engine` protocol
can tell which implementation runs.
"""

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from math import isfinite
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from motet.engine.errors import EngineError


@dataclass(frozen=True)
class SamplingParameters:
    """How the next token is drawn from the logits; raises EngineError if a value cannot be.

    The steps are applied in this order: penalties, token mask, `temperature` (0: the arg-max,
    the lowest id on ties), `top_k` (0: off), `top_p`, `min_p`, each on what the one before left.
    `repetition_penalty` concerns the tokens of prompt and answer, `presence_penalty` and
    `frequency_penalty` those of the answer alone. The same `seed`, prompt and parameters give the
    same tokens, whatever else the engine is doing; without a seed every generation differs.
    """

    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    min_p: float = 0.0
    repetition_penalty: float = 1.0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    seed: int | None = None

    def __post_init__(self) -> None:
        _require(isfinite(self.temperature) and self.temperature >= 0, "temperature", "at least 0")
        _require(0 < self.top_p <= 1, "top_p", "above 0 and at most 1")
        _require(self.top_k >= 0, "top_k", "at least 0 (0 is off)")
        _require(0 <= self.min_p <= 1, "min_p", "from 0 to 1")
        # Bounds far beyond any use, within which no logit overflows.
        _require(0.01 <= self.repetition_penalty <= 100, "repetition_penalty", "from 0.01 to 100")
        _require(-100 <= self.presence_penalty <= 100, "presence_penalty", "from -100 to 100")
        _require(-100 <= self.frequency_penalty <= 100, "frequency_penalty", "from -100 to 100")
        _require(self.seed is None or self.seed >= 0, "seed", "at least 0")


class TokenConstraint(Protocol):
    """Decides which tokens may come next. One instance serves one generation."""

    @property
    def is_slow(self) -> bool:
        """Whether `allowed` has work to do, best done while the model computes."""

    def allowed(self) -> NDArray[np.bool_] | None:
        """Which tokens may come next: bool [vocabulary], or None for all of them."""

    def accept(self, token: int) -> bool:
        """Take note of the token that was chosen; False if what `forced` says must come instead."""

    def forced(self) -> Sequence[int]:
        """Tokens that must come next, taken without asking the model: noted as if accepted."""


@dataclass(frozen=True)
class GenerationRequest:
    """A prompt and how to continue it.

    `maximum_tokens` of None means up to the end of the context. A token of `stop_ids` ends the
    generation and is part of it. `top_logprobs` of None gives no log probabilities, 0 those of
    the chosen tokens, n those of the n likeliest tokens too; forced tokens then take their steps.
    `grammar` is what `constraint` means as a text of llguidance's, as far as a text can say it, for
    engines that read grammars.
    """

    prompt: Sequence[int]
    sampling: SamplingParameters = field(default_factory=SamplingParameters)
    maximum_tokens: int | None = None
    stop_ids: frozenset[int] = frozenset()
    constraint: TokenConstraint | None = None
    grammar: str | None = None
    top_logprobs: int | None = None

    def __post_init__(self) -> None:
        _require(len(self.prompt) > 0, "prompt", "at least one token")
        maximum, top = self.maximum_tokens, self.top_logprobs
        _require(maximum is None or maximum >= 1, "maximum_tokens", "at least 1")
        _require(top is None or top >= 0, "top_logprobs", "at least 0")


@dataclass(frozen=True)
class TokenLogprob:
    """Natural log probabilities under the model itself: before penalties, mask and temperature.

    `top` lists (token, logprob) of the likeliest tokens, best first.
    """

    token: int
    logprob: float
    top: tuple[tuple[int, float], ...] = ()


class FinishReason(StrEnum):
    """Why a generation ended: at a stop id, or at `maximum_tokens` or the end of the context."""

    STOP = "stop"
    LENGTH = "length"


@dataclass(frozen=True)
class GeneratedTokens:
    """The next tokens of a generation, one or several; only the last piece has a `finish`.

    `forced` counts those among them that the constraint left no choice about and that took no step
    of the model. `cached` counts tokens of the prompt that the model need not read, because it had
    read them for another request; it is told once, with the first tokens that the model chose,
    and makes no difference between two answers.
    """

    tokens: tuple[int, ...]
    logprobs: tuple[TokenLogprob, ...] | None = None
    finish: FinishReason | None = None
    forced: int = 0
    cached: int = field(default=0, compare=False)

    def __add__(self, later: "GeneratedTokens") -> "GeneratedTokens":
        logprobs = None
        if self.logprobs is not None and later.logprobs is not None:
            logprobs = self.logprobs + later.logprobs
        return GeneratedTokens(
            self.tokens + later.tokens,
            logprobs,
            later.finish,
            self.forced + later.forced,
            self.cached + later.cached,
        )


class Engine(Protocol):
    """Tokens in, tokens out."""

    @property
    def obeys_constraints(self) -> bool:
        """Whether `GenerationRequest.constraint` is heeded."""

    @property
    def reads_grammars(self) -> bool:
        """Whether `GenerationRequest.grammar` is heeded."""

    @property
    def vocabulary_size(self) -> int:
        """Number of logits: token ids are below it."""

    @property
    def context_length(self) -> int:
        """How many tokens prompt and answer may have together."""

    def generate(self, request: GenerationRequest) -> AsyncGenerator[GeneratedTokens, None]:
        """Yield the continuation of the prompt as it comes; raises EngineError.

        Closing or cancelling the iterator frees everything the generation holds.
        """

    async def close(self) -> None:
        """End all generations and free the model. The engine cannot be used afterwards."""


def _require(condition: bool, name: str, wanted: str) -> None:
    if not condition:
        raise EngineError(f"{name} must be {wanted}")
