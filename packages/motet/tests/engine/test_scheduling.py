"""Who reads what in a step, who waits, and who gives way."""

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
import pytest_asyncio
from random_models import random_checkpoint, random_config, random_tokens

from motet.checkpoint.config import FULL, SLIDING
from motet.engine import EngineBusy, GenerationRequest, SamplingParameters, Totals
from motet.engine.generation import Generation
from motet.engine.native import native_model
from motet.engine.pages import PAGE, PageSizes
from motet.engine.sampling import Sampler
from motet.engine.scheduling import LIVE_GENERATIONS, RESERVE, TOKENS_PER_STEP, Scheduler

CONFIG = replace(
    random_config(0), layers=2, layer_types=(SLIDING, FULL), sliding_window=128, vocabulary_size=64
)
MODEL = native_model(random_checkpoint(CONFIG), threads=1)
SIZES = PageSizes.of(MODEL, CONFIG)
HALF = TOKENS_PER_STEP // 2


class Bench:
    """A scheduler whose steps are made one at a time, and what was read in the last of them."""

    def __init__(self) -> None:
        self.totals = Totals()
        self.read: dict[Generation, int] = {}
        self.limit(1 << 30)

    def limit(self, limit: int, maximum_waiting: int = 256) -> None:
        self.allowed = limit
        self.scheduler = Scheduler(
            MODEL, SIZES, limit, self.totals, maximum_waiting=maximum_waiting, speculation=False
        )

    def add(self, length: int, *, seed: int = 0, shared: int = 0, answer: int = 500) -> Generation:
        """A request of so many tokens, of which the first `shared` depend on no seed."""
        prompt = random_tokens(CONFIG, length, seed + 1)
        prompt[:shared] = random_tokens(CONFIG, shared, 0)
        request = GenerationRequest(prompt.tolist(), SamplingParameters(temperature=0))
        sampler = Sampler(request, CONFIG.vocabulary_size)
        generation = Generation(request, prompt, MODEL.sequence(), sampler, answer)
        self.scheduler.add(generation)
        return generation

    def step(self) -> None:
        self.scheduler.arrange()
        parts = self.scheduler.plan()
        logits = MODEL.step([(part.generation.sequence, part.tokens, part.rows) for part in parts])
        row = 0
        for part in parts:
            if part.rows:
                part.generation.extend(logits[row : row + part.rows], part.drafted)
            row += part.rows
        assert MODEL.cache_bytes <= self.allowed
        self.scheduler.settle(parts, seconds=0.0)
        self.scheduler.cache.check_integrity()
        self.read = {part.generation: part.tokens.size for part in parts}

    def read_all(self) -> int:
        """Step until all is over; the number of steps."""
        steps = 0
        while self.scheduler.live or self.scheduler.waiting:
            self.step()
            steps += 1
            assert self.read or not self.scheduler.live
            assert steps < 10_000
        return steps


@pytest_asyncio.fixture
async def bench() -> AsyncIterator[Bench]:
    bench = Bench()
    yield bench
    for generation in (*bench.scheduler.live, *bench.scheduler.waiting):
        generation.mailbox.abandoned = True
    bench.scheduler.arrange()
    bench.scheduler.cache.clear()
    assert MODEL.cache_bytes == bench.scheduler.cache.bytes == 0


async def test_the_oldest_prompt_gets_half_and_the_shortest_the_rest(bench: Bench) -> None:
    oldest, long, short, middling = (
        bench.add(length, seed=length) for length in (2000, 1500, 40, 300)
    )
    bench.step()
    assert bench.read == {oldest: HALF, short: 40, middling: HALF - 40}
    bench.step()
    room = TOKENS_PER_STEP - 1  # the short one's first token
    rest = room - room // 2 - (300 - HALF + 40)
    assert bench.read == {oldest: room // 2, short: 1, middling: 300 - HALF + 40, long: rest}


async def test_a_prompt_alone_gets_the_whole_room(bench: Bench) -> None:
    generation = bench.add(700)
    bench.step()
    assert bench.read == {generation: TOKENS_PER_STEP}
    bench.step()
    assert bench.read == {generation: 700 - TOKENS_PER_STEP}


async def test_no_long_prompt_stops_those_that_answer(bench: Bench) -> None:
    answering = [bench.add(20, seed=i) for i in range(5)]
    bench.step()
    bench.add(3000)
    for _ in range(5):
        bench.step()
        assert all(bench.read[each] == 1 for each in answering)


async def test_every_prompt_gets_its_turn_however_many_short_ones_come(bench: Bench) -> None:
    long = [bench.add(1500, seed=i, answer=1) for i in range(3)]
    for i in range(40):
        bench.add(250, seed=100 + i, answer=1)
        bench.step()
    assert all(each.ended for each in long)


async def test_the_same_beginning_is_read_once(bench: Bench) -> None:
    together = [bench.add(700, seed=i, shared=640, answer=1) for i in range(6)]
    bench.step()
    assert bench.read == {together[0]: TOKENS_PER_STEP}
    bench.read_all()
    assert [each.cached for each in together] == [0, *[640] * 5]
    assert bench.totals.tokens_read == 700 + 5 * 60
    assert (bench.totals.prompt_tokens, bench.totals.cached_tokens) == (6 * 700, 5 * 640)


async def test_what_another_has_read_so_far_is_a_beginning(bench: Bench) -> None:
    bench.add(700, shared=640)
    bench.step()
    late = bench.add(600, seed=1, shared=300)
    bench.step()
    assert late.cached == 256


async def test_those_who_come_first_are_let_in_first_as_memory_allows(bench: Bench) -> None:
    bench.limit(2 * SIZES.needed(300 + RESERVE) + SIZES.sliding * 4)
    first, second, third = (bench.add(300, seed=i) for i in range(3))
    tiny = bench.add(5)
    bench.step()
    assert bench.scheduler.live == [first, second]
    assert list(bench.scheduler.waiting) == [third, tiny]
    first.mailbox.abandoned = True
    bench.step()
    assert bench.scheduler.live[:2] == [second, third]


async def test_the_youngest_gives_way_and_ends_all_the_same(bench: Bench) -> None:
    generations = [bench.add(100, seed=i, answer=600) for i in range(4)]
    bench.read_all()
    expected = [each.tokens.tolist() for each in generations]
    bench.scheduler.cache.clear()

    bench.limit(SIZES.needed(900))
    again = [bench.add(100, seed=i, answer=600) for i in range(4)]
    ended: list[Generation] = []
    while oldest := next((each for each in again if not each.ended), None):
        bench.step()
        assert oldest in bench.read or oldest.ended
        ended += [each for each in again if each.ended and each not in ended]
    assert bench.totals.preemptions > 0
    assert ended == again
    assert [each.tokens.tolist() for each in again] == expected


async def test_what_barely_fits_alone_gets_to_its_end(bench: Bench) -> None:
    for pages in (1, 2, 3, 4, 5, 9):
        tokens = pages * PAGE
        bench.limit(SIZES.needed(tokens))
        assert SIZES.capacity(bench.allowed, 10**6) == tokens
        prompt = max(1, tokens - 70)
        several = [bench.add(prompt, seed=i, answer=tokens - prompt) for i in range(3)]
        bench.read_all()
        assert all(each.tokens_left == 0 for each in several)
        bench.scheduler.cache.clear()


async def test_known_prefixes_are_forgotten_before_anyone_gives_way(bench: Bench) -> None:
    bench.limit(SIZES.needed(700))
    bench.add(500, answer=1)
    bench.read_all()
    assert bench.scheduler.cache.bytes > 0
    bench.add(500, seed=1, answer=100)
    bench.read_all()
    assert bench.totals.preemptions == 0


async def test_who_could_not_be_let_in_anyway_costs_no_known_prefix(bench: Bench) -> None:
    bench.limit(SIZES.needed(900))
    bench.add(200, answer=1)
    bench.read_all()
    bench.add(400, seed=1)
    bench.step()
    waiting = bench.add(400, seed=2)
    bench.step()
    assert list(bench.scheduler.waiting) == [waiting]
    late = bench.add(200, answer=1)
    bench.scheduler.cancel(waiting)
    bench.step()
    assert late.cached == 192


async def test_too_many_are_turned_away(bench: Bench) -> None:
    bench.limit(1 << 30, maximum_waiting=3)
    waiting = [bench.add(10, seed=i) for i in range(3)]
    with pytest.raises(EngineBusy, match="3 requests are waiting already"):
        bench.add(10)
    bench.scheduler.cancel(waiting[1])
    bench.add(10)
    bench.step()
    assert len(bench.scheduler.live) == 3


async def test_no_more_than_so_many_are_live(bench: Bench) -> None:
    for i in range(LIVE_GENERATIONS + 5):
        bench.add(3, seed=i)
    bench.step()
    assert len(bench.read) == LIVE_GENERATIONS
    figures = bench.scheduler.statistics()
    assert (figures.live, figures.waiting) == (LIVE_GENERATIONS, 5)
