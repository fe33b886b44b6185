"""Several servers behind one engine: who is asked, and what happens when one goes away."""

import asyncio
from collections.abc import Iterator
from contextlib import aclosing
from dataclasses import replace

import pytest
from fake_servers import FakeServer, Plan

from motet.engine import GenerationRequest
from motet.engine.remote import RemoteEngine, Retries, ServerKind, backend, describe_server
from motet.harmony import o200k_harmony

VOCABULARY = o200k_harmony().first(1000)
STOP = VOCABULARY.return_
REQUEST = GenerationRequest([1, 2, 3], stop_ids=VOCABULARY.stop_ids)


@pytest.fixture
def servers() -> Iterator[list[FakeServer]]:
    kinds = (ServerKind.VLLM, ServerKind.SGLANG, ServerKind.LLAMA_CPP)
    first, second, third = (FakeServer(kind, VOCABULARY) for kind in kinds)
    with first, second, third:
        yield [first, second, third]


def engine_on(servers: list[FakeServer]) -> RemoteEngine:
    retries = Retries(rounds=3, first_delay=0.01, longest_delay=0.05)
    described = [describe_server(server.url) for server in servers]
    engine = RemoteEngine(described, VOCABULARY, retries=retries)
    for server in servers:
        server.requests.clear()
    return engine


def asked(servers: list[FakeServer]) -> list[int]:
    return [len(server.requests) for server in servers]


async def tokens(engine: RemoteEngine, request: GenerationRequest = REQUEST) -> list[int]:
    async with aclosing(engine.generate(request)) as pieces:
        return [token async for piece in pieces for token in piece.tokens]


async def test_load_is_spread(servers: list[FakeServer]) -> None:
    engine = engine_on(servers)
    for server in servers:
        server.gate.clear()
    running = [asyncio.create_task(tokens(engine)) for _ in range(9)]
    while sum(asked(servers)) < 9:
        await asyncio.sleep(0.01)
    assert asked(servers) == [3, 3, 3]
    for server in servers:
        server.gate.set()
    assert await asyncio.gather(*running) == [[0]] * 9


async def test_a_conversation_stays_where_its_prompt_is_cached(servers: list[FakeServer]) -> None:
    engine = engine_on(servers)
    prompt = [token % 250 for token in range(400)]
    for turn in range(5):
        await tokens(engine, replace(REQUEST, prompt=prompt))
        prompt += [turn, 0] * 20
    assert sorted(asked(servers)) == [0, 0, 5]
    # Other conversations spread, and one whose server is much busier goes elsewhere.
    home = asked(servers).index(5)
    servers[home].gate.clear()
    running = []
    for _ in range(4):
        running.append(asyncio.create_task(tokens(engine, replace(REQUEST, prompt=prompt))))
        while sum(asked(servers)) < 5 + len(running):
            await asyncio.sleep(0.01)
    assert asked(servers)[home] == 5 + 3
    servers[home].gate.set()
    await asyncio.gather(*running)


async def test_another_server_takes_over_at_once(
    servers: list[FakeServer], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 100.0
    monkeypatch.setattr(backend, "monotonic", lambda: now)
    engine = engine_on(servers)
    for server in servers[:2]:
        server.plans += [Plan(status=503), Plan(dies_after=0)]
    servers[2].plans += [Plan([5, STOP])] * 6
    assert [await tokens(engine) for _ in range(6)] == [[5, STOP]] * 6
    # Those that failed are left alone for a while, longer after the second time.
    assert asked(servers) == [1, 1, 6]
    for later, times in ((0.4, [1, 1]), (0.2, [2, 2]), (0.8, [2, 2]), (0.3, [3, 3])):
        now += later
        for _ in range(4):
            await tokens(engine)
        assert [min(count, times[0]) for count in asked(servers)[:2]] == times


async def test_a_server_that_comes_back_is_used_again() -> None:
    well = FakeServer(ServerKind.VLLM, VOCABULARY)
    with well:
        with FakeServer(ServerKind.VLLM, VOCABULARY) as gone:
            engine = engine_on([gone, well])
            port = int(gone.url.rpartition(":")[2])
        for _ in range(4):
            assert await tokens(engine) == [0]
        with FakeServer(ServerKind.VLLM, VOCABULARY, port=port) as back:
            while not back.requests:
                assert await tokens(engine) == [0]
                await asyncio.sleep(0.05)
        await engine.close()
