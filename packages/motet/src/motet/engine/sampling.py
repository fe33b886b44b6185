"""From logits to a token.

One `Sampler` belongs to one generation and holds all that a choice depends on: the tokens so far
and a random generator of its own. A choice is therefore a function of the request and the logits,
and since the native model's logits do not depend on the batch, neither does the answer.
"""

from collections import deque
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from motet.engine.errors import EngineError
from motet.engine.request import GenerationRequest, SamplingParameters, TokenLogprob

Floats = NDArray[np.float32]
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Choice:
    """A chosen token and, if the request wants it, its log probability."""

    token: int
    logprob: TokenLogprob | None


class Sampler:
    """Draws the tokens of one generation."""

    def __init__(self, request: GenerationRequest, vocabulary_size: int) -> None:
        self._sampling = request.sampling
        self._constraint = request.constraint
        self._top_logprobs = request.top_logprobs
        self._random = np.random.Generator(np.random.PCG64(request.sampling.seed))
        self._penalties = _Penalties.wanted(request, vocabulary_size)
        self._forced: deque[int] = deque()

    def begin(self) -> None:
        """Ask the constraint what must come first; before anything else."""
        if self._constraint:
            self._forced.extend(self._constraint.forced())

    def choose(self, logits: Floats, allowed: Mask | None = None) -> Choice:
        """Choose the next token; logits: [vocabulary], left unchanged. Raises EngineError.

        `allowed` is what `self.allowed()` gave, if that was called before.
        """
        token = self._forced.popleft() if self._forced else self._drawn(logits, allowed)
        if self._penalties:
            self._penalties.add(token)
        wanted = self._top_logprobs
        return Choice(token, None if wanted is None else token_logprob(logits, token, wanted))

    @property
    def has_slow_mask(self) -> bool:
        """Whether `allowed` takes long enough to be called beside the model's step."""
        return bool(self._constraint and not self._forced and self._constraint.is_slow)

    def allowed(self) -> Mask | None:
        """The constraint's mask for the next choice: bool [vocabulary], None for no limits."""
        return self._constraint.allowed() if self._constraint else None

    def take_forced(self) -> tuple[int, ...]:
        """The tokens that come next whatever the logits; none if log probabilities are wanted."""
        if self._top_logprobs is not None:
            return ()
        tokens = tuple(self._forced)
        self._forced.clear()
        if self._penalties:
            for token in tokens:
                self._penalties.add(token)
        return tokens

    def _drawn(self, logits: Floats, allowed: Mask | None) -> int:
        scores = self._penalties.apply(logits) if self._penalties else logits
        if self._constraint is None:
            return draw(scores, self._sampling, self._random)
        mask = self._constraint.allowed() if allowed is None else allowed
        token = draw(_masked(scores, mask), self._sampling, self._random)
        is_taken = self._constraint.accept(token)
        self._forced.extend(self._constraint.forced())
        if is_taken:
            return token
        if not self._forced:
            raise EngineError("the token constraint refuses a token that it allowed")
        return self._forced.popleft()


def draw(scores: Floats, sampling: SamplingParameters, random: np.random.Generator) -> int:
    """Draw a token from `scores`: [vocabulary], minus infinity where forbidden.

    Takes one number from `random` (none at temperature 0).
    """
    best = int(np.argmax(scores))
    if not np.isfinite(scores[best]):
        raise EngineError("the model's logits are not numbers: its weights must be damaged")
    if sampling.temperature == 0:
        return best
    shares = np.cumsum(probabilities(scores, sampling))
    chosen = np.searchsorted(shares, random.random() * shares[-1], side="right")
    # The product can round up to the sum itself, which lies behind the last token.
    return int(min(chosen, np.searchsorted(shares, shares[-1])))


def probabilities(scores: Floats, sampling: SamplingParameters) -> NDArray[np.float64]:
    """The distribution a token is drawn from: [vocabulary], not normalised.

    Tokens with equal logits at the border of `top_k` are all kept. `top_p` keeps the fewest
    likeliest tokens that reach that share, of equally likely ones those with the lower ids;
    `min_p` those at least that likely relative to the likeliest.
    """
    if 0 < sampling.top_k < scores.size:
        border = np.partition(scores, -sampling.top_k)[-sampling.top_k]
        scores = np.where(scores >= border, scores, -np.inf)
    peak = scores.max()
    with np.errstate(over="ignore"):  # at a temperature of almost 0: e^-inf is 0
        exponents = (scores.astype(np.float64) - peak) / sampling.temperature
    shares: NDArray[np.float64] = np.exp(exponents)
    if sampling.top_p < 1:
        candidates = np.flatnonzero(shares)
        candidates = candidates[np.argsort(-shares[candidates], kind="stable")]
        reached = np.cumsum(shares[candidates])
        kept = np.searchsorted(reached, sampling.top_p * reached[-1]) + 1
        shares[candidates[kept:]] = 0
    if sampling.min_p > 0:
        shares[shares < sampling.min_p] = 0  # the likeliest token's share is 1
    return shares


def token_logprob(logits: Floats, token: int, top: int) -> TokenLogprob:
    """Log probabilities of `token` and of the `top` likeliest tokens under `logits`."""
    peak = logits.max()
    exponents = logits.astype(np.float64) - peak
    normaliser = np.log(np.exp(exponents).sum())

    def logprob(index: int) -> float:
        return float(exponents[index] - normaliser)

    top = min(top, logits.size)
    likeliest: list[int] = []
    if top:
        border = np.partition(logits, -top)[-top]
        candidates = np.flatnonzero(logits >= border)
        order = np.argsort(-logits[candidates], kind="stable")[:top]
        likeliest = candidates[order].tolist()
    return TokenLogprob(token, logprob(token), tuple((t, logprob(t)) for t in likeliest))


def _masked(scores: Floats, allowed: Mask | None) -> Floats:
    if allowed is None:
        return scores
    if allowed.shape != scores.shape:
        raise EngineError(
            f"the token constraint speaks of {allowed.size} tokens, the model has {scores.size}"
        )
    if not allowed.any():
        raise EngineError("the token constraint allows no token at all")
    return np.where(allowed, scores, np.float32(-np.inf))


class _Penalties:
    """What the tokens so far do to the scores."""

    def __init__(self, request: GenerationRequest, vocabulary_size: int) -> None:
        self._sampling = request.sampling
        self._seen = np.zeros(vocabulary_size, dtype=np.bool_)
        self._seen[np.asarray(request.prompt)] = True
        self._generated = np.zeros(vocabulary_size, dtype=np.float32)

    @classmethod
    def wanted(cls, request: GenerationRequest, vocabulary_size: int) -> "_Penalties | None":
        sampling = request.sampling
        additive = sampling.presence_penalty or sampling.frequency_penalty
        if sampling.repetition_penalty == 1 and not additive:
            return None
        return cls(request, vocabulary_size)

    def apply(self, logits: Floats) -> Floats:
        factor = np.float32(self._sampling.repetition_penalty)
        repeated = np.where(logits > 0, logits / factor, logits * factor)
        scores = np.where(self._seen, repeated, logits)
        scores -= np.float32(self._sampling.presence_penalty) * (self._generated > 0)
        scores -= np.float32(self._sampling.frequency_penalty) * self._generated
        return scores

    def add(self, token: int) -> None:
        self._seen[token] = True
        self._generated[token] += 1
