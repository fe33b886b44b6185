"""Constraints on the native engine: masks beside the step, forced tokens without one."""

import threading
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray
from random_models import random_checkpoint, random_config, random_tokens

from motet.engine import (
    FinishReason,
    GeneratedTokens,
    GenerationRequest,
    NativeEngine,
    SamplingParameters,
)

CHECKPOINT = random_checkpoint(replace(random_config(12), context_length=400))
SIZE = CHECKPOINT.config.vocabulary_size
PROMPT = random_tokens(CHECKPOINT.config, 20, 3).tolist()
Plan = list[set[int] | None]


class Planned:
    """At each place a set of allowed tokens or None for all; a set of one is forced."""

    def __init__(self, plan: Plan, *, is_slow: bool = False, forces: bool = True) -> None:
        self.plan = plan
        self.is_slow = is_slow
        self.forces = forces
        self.place = 0
        self.threads: set[str] = set()

    def allowed(self) -> NDArray[np.bool_] | None:
        self.threads.add(threading.current_thread().name)
        wanted = self._wanted()
        if wanted is None:
            return None
        mask = np.zeros(SIZE, dtype=np.bool_)
        mask[list(wanted)] = True
        return mask

    def accept(self, token: int) -> bool:
        assert token in (self._wanted() or {token})
        self.place += 1
        return True

    def forced(self) -> list[int]:
        tokens: list[int] = []
        while self.forces and (wanted := self._wanted()) is not None and len(wanted) == 1:
            tokens += wanted
            self.place += 1
        return tokens

    def _wanted(self) -> set[int] | None:
        return self.plan[self.place] if self.place < len(self.plan) else None


async def generate(constraint: Planned, **options: object) -> GeneratedTokens:
    engine = NativeEngine(CHECKPOINT, threads=2)
    request = GenerationRequest(
        PROMPT,
        SamplingParameters(seed=5),
        constraint=constraint,
        **options,  # type: ignore[arg-type]
    )
    generated = GeneratedTokens((), () if request.top_logprobs is not None else None)
    async for piece in engine.generate(request):
        generated += piece
    await engine.close()
    return generated


PLAN: Plan = [{4}, {5}, {6, 7}, {8}, None, {9, 10}, {11}, {12}, {13}, None, None]


async def test_forced_tokens_take_no_step_and_change_nothing() -> None:
    taken = await generate(Planned(PLAN), maximum_tokens=20)
    assert taken.tokens[:2] == (4, 5)
    assert taken.tokens[3] == 8
    assert taken.tokens[6:9] == (11, 12, 13)
    assert taken.forced == 6
    assert len(taken.tokens) == 20
    again = await generate(Planned(PLAN), maximum_tokens=20)
    assert again == taken


async def test_with_log_probabilities_every_token_takes_its_step() -> None:
    taken = await generate(Planned(PLAN), maximum_tokens=20)
    told = await generate(Planned(PLAN), maximum_tokens=20, top_logprobs=0)
    assert told.tokens == taken.tokens
    assert told.forced == 0
    assert told.logprobs
    assert [each.token for each in told.logprobs] == list(told.tokens)


async def test_what_all_is_forced_needs_no_step_at_all() -> None:
    plan: Plan = [{token} for token in range(30, 60)]
    assert await generate(Planned(plan), maximum_tokens=20) == GeneratedTokens(
        tuple(range(30, 50)), finish=FinishReason.LENGTH, forced=20
    )
    assert await generate(Planned(plan), stop_ids=frozenset({33})) == GeneratedTokens(
        (30, 31, 32, 33), finish=FinishReason.STOP, forced=4
    )


@pytest.mark.parametrize("count", [15, 16, 17, 100])
async def test_long_forced_runs_are_read_whole(count: int) -> None:
    plan: Plan = [None, *({i % 50} for i in range(count)), None]
    taken = await generate(Planned(plan), maximum_tokens=count + 2)
    stepwise = await generate(Planned(plan), maximum_tokens=count + 2, top_logprobs=0)
    assert taken.tokens == stepwise.tokens
    assert taken.forced == count


async def test_slow_masks_are_computed_beside_the_step() -> None:
    choices: Plan = [{1, 2}, {3, 4}, {5, 6}]
    slow, quick = Planned(choices, is_slow=True), Planned(choices)
    assert await generate(slow, maximum_tokens=3) == await generate(quick, maximum_tokens=3)
    assert slow.threads == {"motet-masks_0"}
    assert quick.threads == {"motet-engine"}


async def test_penalties_know_of_forced_tokens() -> None:
    plan: Plan = [{20}, {20}, {20, 21}]
    engine = NativeEngine(CHECKPOINT, threads=1)
    sampling = SamplingParameters(temperature=0, presence_penalty=100)
    request = GenerationRequest(PROMPT, sampling, 3, constraint=Planned(plan))
    tokens = [token async for piece in engine.generate(request) for token in piece.tokens]
    await engine.close()
    assert tokens == [20, 20, 21]
