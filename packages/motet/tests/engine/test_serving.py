"""The native engine under load: whatever happens around it, an answer is the one it would be alone.

The oracle is an engine that serves one request at a time, knows nothing of the ones before, has
memory in plenty and guesses no tokens.
"""

import asyncio
import random
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace

import numpy as np
import pytest
import pytest_asyncio
from numpy.typing import NDArray
from random_models import random_checkpoint, random_config, random_tokens

from motet.checkpoint.config import FULL, SLIDING
from motet.engine import (
    EngineBusy,
    EngineError,
    FinishReason,
    GeneratedTokens,
    GenerationRequest,
    NativeEngine,
    SamplingParameters,
)
from motet.engine.native import native_model
from motet.engine.pages import PAGE, PageSizes
from motet.engine.speculation import StepTimes

CONFIG = replace(
    random_config(0),
    layers=3,
    layer_types=(SLIDING, FULL, SLIDING),
    sliding_window=100,
    vocabulary_size=60,
    context_length=2000,
)
CHECKPOINT = random_checkpoint(CONFIG)
SIZES = PageSizes.of(native_model(CHECKPOINT, precision="fast"), CONFIG)


class Alternating:
    """Allows any token, then only one of a few, in turn; some of these are forced."""

    is_slow = False

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.place = 0

    def _wanted(self) -> list[int]:
        choose = random.Random(self.seed * 1000 + self.place)
        return choose.sample(range(60), choose.choice([1, 2, 3, 60]))

    def allowed(self) -> NDArray[np.bool_] | None:
        mask = np.zeros(60, dtype=np.bool_)
        mask[self._wanted()] = True
        return mask

    def accept(self, token: int) -> bool:
        self.place += 1
        return True

    def forced(self) -> list[int]:
        tokens: list[int] = []
        while len(wanted := self._wanted()) == 1 and len(tokens) < 40:
            tokens += wanted
            self.place += 1
        return tokens


@dataclass(frozen=True)
class Recipe:
    """A request that can be made any number of times, and where its reader gives up."""

    prompt: tuple[int, ...]
    sampling: SamplingParameters
    maximum: int
    constraint: int | None = None
    logprobs: int | None = None
    leaves_after: int | None = None
    stops: bool = False

    def request(self) -> GenerationRequest:
        return GenerationRequest(
            self.prompt,
            self.sampling,
            self.maximum,
            stop_ids=frozenset({7} if self.stops else ()),
            constraint=None if self.constraint is None else Alternating(self.constraint),
            top_logprobs=self.logprobs,
        )


def recipes(seed: int, count: int) -> list[Recipe]:
    """Requests of all kinds, many of which begin alike."""
    choose = random.Random(seed)
    stems = [random_tokens(CONFIG, choose.randint(200, 400), seed * 10 + i) for i in range(3)]
    made = []
    for number in range(count):
        stem = choose.choice(stems)
        prompt = stem[: choose.choice([stem.size, choose.randint(1, 200)])].tolist()
        prompt += [choose.randrange(60) for _ in range(choose.choice([0, 1, 30, 130]))]
        sampling = SamplingParameters(
            temperature=choose.choice([0.0, 0.05, 1.0]),
            top_p=choose.choice([1.0, 0.8]),
            repetition_penalty=choose.choice([1.0, 1.0, 1.3]),
            seed=number,
        )
        recipe = Recipe(
            tuple(prompt),
            sampling,
            maximum=choose.choice([1, 60, 200, 200]),
            constraint=choose.choice([None, None, number]),
            logprobs=choose.choice([None, None, 2]),
            leaves_after=choose.choice([None, None, None, choose.randint(0, 60)]),
            stops=choose.random() < 0.2,
        )
        made.append(recipe)
    return made


async def collect(engine: NativeEngine, recipe: Recipe) -> GeneratedTokens:
    generated = GeneratedTokens((), () if recipe.logprobs is not None else None)
    stream = engine.generate(recipe.request())
    async for piece in stream:
        generated += piece
        if recipe.leaves_after is not None and len(generated.tokens) >= recipe.leaves_after:
            break
    await stream.aclose()
    return generated


async def answer_alone(engine: NativeEngine, recipe: Recipe) -> GeneratedTokens:
    generated = await collect(engine, replace(recipe, leaves_after=None))
    assert generated.finish
    assert generated.cached == 0
    await check_empty(engine)
    return generated


async def check_empty(engine: NativeEngine) -> None:
    """Everybody has gone, the books are right, and all memory comes back."""
    while engine.statistics().live:
        await asyncio.sleep(0.01)
    assert engine._scheduler
    engine._scheduler.cache.check_integrity()
    figures = engine.statistics()
    assert figures.waiting == 0
    assert figures.cached_bytes == figures.key_value_bytes <= figures.key_value_limit
    engine.clear_cache()
    assert engine.statistics().key_value_bytes == 0


@pytest_asyncio.fixture
async def alone() -> AsyncIterator[NativeEngine]:
    engine = NativeEngine(CHECKPOINT, threads=1)
    yield engine
    await engine.close()


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("tokens", [740, 2000])
async def test_answers_are_those_that_come_alone(
    alone: NativeEngine, seed: int, tokens: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = recipes(seed, 24)
    expected = [await answer_alone(alone, each) for each in wanted]
    # Every guess is tried, the largest request alone needs most of the memory, and nobody is let in
    # with an eye to what comes.
    monkeypatch.setattr("motet.engine.scheduling.RESERVE", 0)
    monkeypatch.setattr(StepTimes, "price", lambda *_: 0.0)
    engine = NativeEngine(
        CHECKPOINT, threads=2, key_value_limit=SIZES.needed(tokens), speculation=True
    )
    answers = await asyncio.gather(*(collect(engine, each) for each in wanted))
    for recipe, answer, whole in zip(wanted, answers, expected, strict=True):
        assert answer.tokens == whole.tokens[: len(answer.tokens)]
        if recipe.leaves_after is None:
            assert answer == whole
    totals = engine.statistics().totals
    assert totals.cached_tokens > 0
    assert totals.accepted_tokens > 0
    assert totals.drafted_tokens > totals.accepted_tokens
    assert totals.generated_tokens >= sum(len(answer.tokens) for answer in answers)
    assert totals.preemptions > 0 or tokens == 2000
    await check_empty(engine)
    await engine.close()


@pytest.mark.parametrize("temperature", [0.0, 0.1, 1.0])
async def test_guessing_changes_no_token(
    alone: NativeEngine, temperature: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With tokens that repeat, so that guesses are right, and with a stop among them."""
    monkeypatch.setattr(StepTimes, "price", lambda *_: 0.0)
    engine = NativeEngine(CHECKPOINT, threads=1, speculation=True)
    for seed in range(5):
        recipe = Recipe(
            tuple([1, 2, 3, 4, 5] * 40),
            SamplingParameters(temperature=temperature, top_k=3, seed=seed),
            300,
        )
        assert await collect(engine, recipe) == await answer_alone(alone, recipe)
    assert engine.statistics().totals.accepted_tokens > 0
    await check_empty(engine)
    await engine.close()


async def test_nothing_is_guessed_unless_wanted() -> None:
    engine = NativeEngine(CHECKPOINT, threads=1)
    sampling = SamplingParameters(temperature=0)
    await collect(engine, Recipe(tuple([1, 2] * 50), sampling, 200))
    assert engine.statistics().totals.drafted_tokens == 0
    await engine.close()


async def test_a_conversation_goes_on_from_its_beginning() -> None:
    engine = NativeEngine(CHECKPOINT, threads=1)
    prompt = random_tokens(CONFIG, 300, 1).tolist()
    pieces = []
    for turn in range(3):
        request = GenerationRequest(prompt, SamplingParameters(seed=turn), 70)
        pieces = [piece async for piece in engine.generate(request)]
        assert [piece.cached for piece in pieces[1:]] == [0] * (len(pieces) - 1)
        assert pieces[0].cached == (0 if turn == 0 else (len(prompt) - 41) // PAGE * PAGE)
        prompt += [token for piece in pieces for token in piece.tokens]
        prompt += random_tokens(CONFIG, 40, turn).tolist()
    totals = engine.statistics().totals
    assert totals.prompt_tokens == 300 + 410 + 520
    assert totals.generated_tokens == 210
    await check_empty(engine)
    await engine.close()


async def test_what_can_never_fit_is_refused_at_once() -> None:
    engine = NativeEngine(CHECKPOINT, threads=1, key_value_limit=SIZES.needed(640))
    assert engine.context_length == 640
    sampling = SamplingParameters(temperature=0)
    fits = Recipe((1,) * 600, sampling, 1000)
    answer = await collect(engine, fits)
    assert len(answer.tokens) == 40
    assert answer.finish is FinishReason.LENGTH
    with pytest.raises(EngineError, match=r"needs .*B of memory .* may use .*B, enough for 640"):
        await collect(engine, replace(fits, prompt=(1,) * 640))
    with pytest.raises(EngineError, match="model's context of 2000"):
        await collect(engine, replace(fits, prompt=(1,) * 2000))
    await engine.close()
    with pytest.raises(EngineError, match="too small for this model; allow at least"):
        NativeEngine(CHECKPOINT, threads=1, key_value_limit=SIZES.needed(1) - 1)


async def test_who_leaves_the_queue_leaves_room_in_it() -> None:
    engine = NativeEngine(
        CHECKPOINT, threads=1, key_value_limit=SIZES.needed(500), maximum_waiting=2
    )
    long = Recipe((1,) * 400, SamplingParameters(seed=1), 90)
    first = asyncio.create_task(collect(engine, long))
    while not engine.statistics().live:
        await asyncio.sleep(0.001)
    waiting = [asyncio.create_task(collect(engine, long)) for _ in range(2)]
    await asyncio.sleep(0)
    with pytest.raises(EngineBusy, match="2 requests are waiting"):
        await collect(engine, long)
    waiting[0].cancel()
    await asyncio.wait(waiting[:1])
    assert engine.statistics().waiting <= 1
    late = asyncio.create_task(collect(engine, long))
    results = await asyncio.gather(first, waiting[1], late)
    assert all(result.tokens == results[0].tokens for result in results)
    await check_empty(engine)
    await engine.close()
