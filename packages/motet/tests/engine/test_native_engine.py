"""The native engine as its callers see it: alone, in company, cancelled, and in trouble."""

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import aclosing, suppress
from dataclasses import replace
from random import Random

import numpy as np
import pytest
import pytest_asyncio
from numpy.typing import NDArray
from random_models import random_checkpoint, random_config, random_tokens

from motet.engine import (
    EngineError,
    FinishReason,
    GeneratedTokens,
    GenerationRequest,
    NativeEngine,
    SamplingParameters,
    TokenLogprob,
)
from motet.engine.native import native_model

CHECKPOINT = random_checkpoint(replace(random_config(11), context_length=400))
CONFIG = CHECKPOINT.config
GREEDY = SamplingParameters(temperature=0.0)


@pytest_asyncio.fixture
async def engine() -> AsyncIterator[NativeEngine]:
    native = NativeEngine(CHECKPOINT, threads=2)
    yield native
    await native.close()


def request(
    length: int = 20, seed: int = 0, sampling: SamplingParameters = GREEDY, **options: object
) -> GenerationRequest:
    prompt = random_tokens(CONFIG, length, seed).tolist()
    return GenerationRequest(prompt, sampling, **options)  # type: ignore[arg-type]


async def collect(engine: NativeEngine, wanted: GenerationRequest) -> GeneratedTokens:
    generated = GeneratedTokens((), () if wanted.top_logprobs is not None else None)
    async for piece in engine.generate(wanted):
        assert not generated.finish
        generated += piece
    return generated


def greedy_by_hand(wanted: GenerationRequest, count: int) -> list[int]:
    model = native_model(CHECKPOINT, threads=1)
    tokens = list(wanted.prompt)
    for _ in range(count):
        whole = np.array(tokens, dtype=np.int32)
        tokens.append(int(model.step([(model.sequence(), whole, 1)])[0].argmax()))
    return tokens[len(wanted.prompt) :]


async def freed(engine: NativeEngine) -> bool:
    """Whether generations hold nothing as soon as the step in progress is over."""
    for _ in range(200):
        engine.clear_cache()
        figures = engine.statistics()
        if not figures.live and not figures.key_value_bytes:
            return True
        await asyncio.sleep(0.01)
    return False


def wait_for_no_worker() -> None:
    """Return once every worker thread has gone."""
    for thread in threading.enumerate():
        if thread.name == "motet-engine":
            thread.join(timeout=5)
            assert not thread.is_alive()


async def test_greedy_generation_is_the_arg_max_of_the_model(engine: NativeEngine) -> None:
    wanted = request(maximum_tokens=12)
    generated = await collect(engine, wanted)
    assert list(generated.tokens) == greedy_by_hand(wanted, 12)
    assert generated.finish is FinishReason.LENGTH
    assert generated.logprobs is None
    assert await freed(engine)


async def test_a_stop_token_ends_the_generation_and_is_part_of_it(engine: NativeEngine) -> None:
    expected = greedy_by_hand(request(), 30)
    stop = next(t for i, t in enumerate(expected) if i > 4 and t not in expected[:i])
    generated = await collect(engine, request(stop_ids=frozenset({stop})))
    assert list(generated.tokens) == expected[: expected.index(stop) + 1]
    assert generated.finish is FinishReason.STOP


async def test_generation_goes_on_to_the_end_of_the_context(engine: NativeEngine) -> None:
    for limit in (None, 1000):
        generated = await collect(engine, request(length=390, maximum_tokens=limit))
        assert len(generated.tokens) == 10
        assert generated.finish is FinishReason.LENGTH


@pytest.mark.parametrize(
    ("prompt", "complaint"),
    [
        ([1] * 400, "has 400 tokens, but the model's context of 400"),
        ([1, CONFIG.vocabulary_size], f"the token {CONFIG.vocabulary_size}"),
        ([1, -1], "the token -1"),
    ],
)
async def test_impossible_prompts(engine: NativeEngine, prompt: list[int], complaint: str) -> None:
    with pytest.raises(EngineError, match=complaint):
        await collect(engine, GenerationRequest(prompt))


async def test_answers_do_not_depend_on_the_company(engine: NativeEngine) -> None:
    wanted = [
        request(length, seed, SamplingParameters(seed=seed, top_p=0.9), maximum_tokens=25)
        for seed, length in enumerate([3, 350, 40, 1, 120, 77, 5, 200] * 10)
    ]
    alone = [await collect(engine, wanted[i]) for i in range(8)]
    together = await asyncio.gather(*(collect(engine, one) for one in wanted))
    assert together[:8] == alone
    assert len({one.tokens for one in together}) > 70
    assert await freed(engine)


async def test_requests_join_while_others_run(engine: NativeEngine) -> None:
    long, late = request(maximum_tokens=300), request(seed=1, maximum_tokens=5)
    expected = await collect(engine, late)
    async with aclosing(engine.generate(long)) as stream:
        seen = len((await anext(stream)).tokens)
        assert await collect(engine, late) == expected
        async for piece in stream:
            seen += len(piece.tokens)
    assert seen == 300


async def test_closing_the_iterator_frees_the_sequence(engine: NativeEngine) -> None:
    stream = engine.generate(request())
    await anext(stream)
    assert engine.statistics().key_value_bytes > 0
    await stream.aclose()
    assert await freed(engine)


async def test_cancelling_the_task_frees_the_sequence(engine: NativeEngine) -> None:
    tasks = [asyncio.create_task(collect(engine, request(seed=i))) for i in range(100)]
    await asyncio.sleep(0.02)
    for task in tasks:
        task.cancel()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert any(isinstance(result, asyncio.CancelledError) for result in results)
    assert await freed(engine)
    assert (await collect(engine, request(maximum_tokens=3))).finish


async def test_log_probabilities_come_with_their_tokens(engine: NativeEngine) -> None:
    wanted = request(maximum_tokens=6, top_logprobs=3)
    generated = await collect(engine, wanted)
    assert generated.logprobs is not None
    assert tuple(entry.token for entry in generated.logprobs) == generated.tokens
    for entry in generated.logprobs:
        assert isinstance(entry, TokenLogprob)
        assert entry.top[0] == (entry.token, entry.logprob)
        assert len(entry.top) == 3
    only_chosen = await collect(engine, replace(wanted, top_logprobs=0))
    assert only_chosen.logprobs == tuple(replace(entry, top=()) for entry in generated.logprobs)


class Breaking:
    """A constraint that allows everything until it breaks."""

    is_slow = True

    def __init__(self, after: int, error: type[BaseException] = RuntimeError) -> None:
        self.left = after
        self.error = error

    def allowed(self) -> NDArray[np.bool_] | None:
        if self.left == 0:
            raise self.error("the grammar fell over")
        return None

    def accept(self, token: int) -> bool:
        self.left -= 1
        return True

    def forced(self) -> list[int]:
        return []


@pytest.mark.parametrize("error", [RuntimeError, SystemExit])
async def test_a_broken_constraint_takes_no_other_generation_with_it(
    engine: NativeEngine, error: type[BaseException]
) -> None:
    expected = await collect(engine, request(maximum_tokens=30))
    well, ill = await asyncio.gather(
        collect(engine, request(maximum_tokens=30)),
        collect(engine, request(seed=1, constraint=Breaking(4, error))),
        return_exceptions=True,
    )
    assert well == expected
    assert isinstance(ill, EngineError)
    assert "the grammar fell over" in str(ill)
    assert await freed(engine)


class Lingering:
    """A constraint that holds up the step in progress until it is let go."""

    is_slow = True

    def __init__(self) -> None:
        self.reached, self.released = threading.Event(), threading.Event()

    def allowed(self) -> NDArray[np.bool_] | None:
        self.reached.set()
        assert self.released.wait(timeout=20)
        return None

    def accept(self, token: int) -> bool:
        return True

    def forced(self) -> list[int]:
        return []


async def test_a_generation_cancelled_within_a_step_takes_no_other_with_it(
    engine: NativeEngine,
) -> None:
    expected = await collect(engine, request(maximum_tokens=10))
    constraint = Lingering()
    well = asyncio.create_task(collect(engine, request(maximum_tokens=10)))
    cancelled = asyncio.create_task(collect(engine, request(seed=1, constraint=constraint)))
    assert await asyncio.to_thread(constraint.reached.wait, 20)
    cancelled.cancel()
    with pytest.raises(asyncio.CancelledError):
        await cancelled
    constraint.released.set()
    assert await well == expected
    assert await freed(engine)


async def test_logits_that_are_no_numbers_end_their_own_generation_alone() -> None:
    name, spoilt = "model.embed_tokens.weight", 3
    tensor = CHECKPOINT.tensors[name]
    data = tensor.data.copy()
    data[spoilt] = 0x7FC0  # the bf16 pattern of NaN
    tensors = {**CHECKPOINT.tensors, name: replace(tensor, data=data)}
    engine = NativeEngine(replace(CHECKPOINT, tensors=tensors), threads=2)
    sane = replace(request(maximum_tokens=20), prompt=list(range(4, 40)))
    expected = await collect(engine, sane)
    assert spoilt not in expected.tokens
    ill = replace(sane, prompt=[*sane.prompt, spoilt])
    outcomes = await asyncio.gather(
        *(collect(engine, one) for one in (sane, ill, sane)), return_exceptions=True
    )
    assert outcomes[::2] == [expected] * 2
    assert "not numbers" in str(outcomes[1])
    assert await freed(engine)
    await engine.close()


@pytest.mark.parametrize("seed", range(3))
async def test_what_becomes_of_others_changes_nothing(engine: NativeEngine, seed: int) -> None:
    """Generations are cancelled at random moments, or break; the rest say what they always say."""
    random = Random(seed)
    lasting = [
        request(random.randint(1, 150), i, SamplingParameters(seed=i), maximum_tokens=20)
        for i in range(6)
    ]
    expected = [await collect(engine, one) for one in lasting]

    async def disturb(number: int) -> None:
        await asyncio.sleep(random.random() / 20)
        constraint = Breaking(random.randint(0, 9)) if number % 3 == 0 else None
        one = request(random.randint(1, 390), number, constraint=constraint)
        with suppress(asyncio.TimeoutError, EngineError):
            await asyncio.wait_for(collect(engine, one), random.random() / 10)

    disturbing = [asyncio.create_task(disturb(number)) for number in range(80)]
    found = await asyncio.gather(*(collect(engine, one) for one in lasting))
    assert found == expected
    await asyncio.gather(*disturbing)
    assert await freed(engine)
    assert await collect(engine, lasting[0]) == expected[0]


async def test_tokens_that_came_before_an_error_are_not_lost(engine: NativeEngine) -> None:
    stream = engine.generate(request(constraint=Breaking(after=4)))
    tokens = (await anext(stream)).tokens
    await asyncio.to_thread(wait_for_no_worker)  # everything has been delivered, unread
    if len(tokens) < 4:
        tokens += (await anext(stream)).tokens
    assert len(tokens) == 4
    with pytest.raises(EngineError, match="fell over"):
        await anext(stream)


async def test_without_a_thread_a_request_fails_and_the_next_is_served(
    engine: NativeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as broken:
        broken.setattr(threading.Thread, "start", refuse)
        with pytest.raises(EngineError, match="no thread"):
            await collect(engine, request(maximum_tokens=1))
    assert (await collect(engine, request(maximum_tokens=1))).finish


@pytest.mark.parametrize("error", [MemoryError, RuntimeError, SystemExit])
@pytest.mark.parametrize("method", ["arrange", "plan", "settle"])
async def test_a_failing_step_reaches_the_callers_and_leaves_the_engine_usable(
    engine: NativeEngine, error: type[BaseException], method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = await collect(engine, request(maximum_tokens=5))

    def fail(*_: object) -> None:
        raise error("a bug")

    with monkeypatch.context() as broken:
        broken.setattr(f"motet.engine.scheduling.Scheduler.{method}", fail)
        outcomes = await asyncio.gather(
            *(collect(engine, request(seed=i)) for i in range(5)), return_exceptions=True
        )
    assert [type(outcome) for outcome in outcomes] == [EngineError] * 5
    assert await collect(engine, request(maximum_tokens=5)) == expected


async def test_closing_the_engine_ends_what_runs_and_refuses_what_comes() -> None:
    engine = NativeEngine(CHECKPOINT)
    tasks = [asyncio.create_task(collect(engine, request(seed=i))) for i in range(80)]
    await asyncio.sleep(0.02)
    await engine.close()
    outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    assert any(isinstance(outcome, EngineError) for outcome in outcomes)
    assert all(isinstance(outcome, EngineError | GeneratedTokens) for outcome in outcomes)
    with pytest.raises(EngineError, match="closed"):
        await collect(engine, request())
    assert engine.statistics().key_value_bytes == 0
    await engine.close()


async def test_an_idle_engine_has_no_worker(engine: NativeEngine) -> None:
    await collect(engine, request(maximum_tokens=2))
    wait_for_no_worker()


def test_one_engine_serves_several_event_loops() -> None:
    engine = NativeEngine(CHECKPOINT)
    wanted = request(maximum_tokens=20)
    expected = asyncio.run(collect(engine, wanted))
    results: list[GeneratedTokens] = []
    threads = [
        threading.Thread(target=lambda: results.append(asyncio.run(collect(engine, wanted))))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [expected] * 4
    asyncio.run(engine.close())
