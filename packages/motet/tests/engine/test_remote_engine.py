"""The remote engine over sockets: four kinds of server, well and badly behaved."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing
from dataclasses import replace
from typing import Any

import pytest
from fake_servers import LOGPROB, FakeServer, Plan
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from motet.engine import (
    EngineError,
    FinishReason,
    GeneratedTokens,
    GenerationRequest,
    SamplingParameters,
    TokenLogprob,
)
from motet.engine.remote import RemoteEngine, Retries, ServerKind, TimeLimits, describe_server
from motet.harmony import o200k_harmony

VOCABULARY = o200k_harmony().first(1000)
STOP = VOCABULARY.return_
REQUEST = GenerationRequest([1, 2, 3], stop_ids=VOCABULARY.stop_ids)
QUICK = Retries(rounds=3, first_delay=0.01, longest_delay=0.05)
KINDS = list(ServerKind)


@pytest.fixture(params=KINDS)
def server(request: pytest.FixtureRequest) -> Iterator[FakeServer]:
    with FakeServer(request.param, VOCABULARY) as running:
        yield running


@pytest.fixture
def vllm() -> Iterator[FakeServer]:
    with FakeServer(ServerKind.VLLM, VOCABULARY) as running:
        yield running


def engine_on(*servers: FakeServer, limits: TimeLimits | None = None) -> RemoteEngine:
    """An engine on these servers, which have forgotten how it got to know them."""
    described = [describe_server(server.url) for server in servers]
    engine = RemoteEngine(described, VOCABULARY, limits=limits, retries=QUICK)
    for server in servers:
        server.requests.clear()
    return engine


async def generated(engine: RemoteEngine, request: GenerationRequest) -> GeneratedTokens:
    """The whole answer."""
    whole = GeneratedTokens((), None if request.top_logprobs is None else ())
    async with aclosing(engine.generate(request)) as pieces:
        async for piece in pieces:
            whole = whole + piece
    return whole


async def test_tokens_go_in_and_come_out(server: FakeServer) -> None:
    engine = engine_on(server)
    assert (engine.vocabulary_size, engine.context_length) == (VOCABULARY.size, 4096)
    assert not engine.obeys_constraints
    server.plans += [Plan([5, 6, STOP]), Plan([7, 8], "length")]
    assert await generated(engine, REQUEST) == GeneratedTokens(
        (5, 6, STOP), None, FinishReason.STOP
    )
    cut = replace(REQUEST, maximum_tokens=2)
    assert await generated(engine, cut) == GeneratedTokens((7, 8), None, FinishReason.LENGTH)
    await engine.close()
    first, second = server.requests
    key = {ServerKind.SGLANG: "input_ids"}.get(server.kind, "prompt")
    assert first[key] == second[key] == [1, 2, 3]
    with pytest.raises(EngineError, match="closed"):
        await generated(engine, REQUEST)


async def test_every_parameter_is_in_the_request(server: FakeServer) -> None:
    engine = engine_on(server)
    sampling = SamplingParameters(0.7, 0.9, 40, 0.05, seed=11)
    await generated(engine, replace(REQUEST, sampling=sampling, maximum_tokens=20))
    await generated(engine, REQUEST)
    sent, default = server.requests
    if server.kind is ServerKind.SGLANG:
        sent, default = sent["sampling_params"], default["sampling_params"]
    assert (sent["temperature"], sent["top_p"], sent["top_k"], sent["min_p"]) == (
        0.7,
        0.9,
        40,
        0.05,
    )
    names = {ServerKind.SGLANG: ("sampling_seed", "max_new_tokens"), ServerKind.LLAMA_CPP: None}
    seed, maximum = names.get(server.kind, ("seed", "max_tokens")) or ("seed", "n_predict")
    assert (sent[seed], sent[maximum]) == (11, 20)
    # Nothing is left to the server's own defaults, and no seed is made up.
    assert seed not in default
    assert (default["temperature"], default["top_p"], default["min_p"]) == (1, 1, 0)
    assert default["top_k"] in (0, -1)
    assert default[maximum] == 4096 - 3
    if server.kind is not ServerKind.LLAMA_CPP:
        assert set(default["stop_token_ids"]) == VOCABULARY.stop_ids


async def test_log_probabilities_name_tokens_by_their_ids(server: FakeServer) -> None:
    engine = engine_on(server)
    server.plans += [Plan([5, 6, STOP]), Plan([5, STOP])]
    whole = await generated(engine, replace(REQUEST, top_logprobs=2))
    assert whole.logprobs
    assert [score.token for score in whole.logprobs] == [5, 6, STOP]
    assert whole.logprobs[0] == TokenLogprob(5, LOGPROB, ((5, LOGPROB), (6, LOGPROB - 1)))
    alone = await generated(engine, replace(REQUEST, top_logprobs=0))
    assert alone.logprobs == (TokenLogprob(5, LOGPROB), TokenLogprob(STOP, LOGPROB))


@pytest.mark.parametrize(
    ("kind", "request_", "said"),
    [
        (ServerKind.SGLANG, {"sampling": SamplingParameters(repetition_penalty=1.1)}, "repetition"),
        (ServerKind.SGLANG, {"sampling": SamplingParameters(seed=1)}, "deterministic"),
        (ServerKind.SGLANG, {"sampling": SamplingParameters(0.5), "top_logprobs": 1}, "0 or 1"),
        (
            ServerKind.SGLANG,
            {"sampling": SamplingParameters(presence_penalty=1), "top_logprobs": 0},
            "without penalties",
        ),
        (ServerKind.LLAMA_CPP, {"sampling": SamplingParameters(presence_penalty=1)}, "penalties"),
        (ServerKind.LLAMA_CPP, {"sampling": SamplingParameters(seed=2**40)}, "seeds up to"),
        (ServerKind.VLLM, {"prompt": [1] * 4096}, "shorten the conversation"),
        (ServerKind.VLLM, {"prompt": [VOCABULARY.size]}, "vocabulary has"),
    ],
)
async def test_what_a_server_cannot_do_is_refused_before_it_is_asked(
    kind: ServerKind, request_: dict[str, Any], said: str
) -> None:
    with FakeServer(kind, VOCABULARY) as server:
        server.info = {}
        engine = engine_on(server)
        with pytest.raises(EngineError, match=said):
            await generated(engine, replace(REQUEST, **request_))
        assert server.requests == []


@pytest.mark.parametrize("is_incremental", [False, True])
async def test_sglang_may_repeat_the_answer_or_not(is_incremental: bool) -> None:
    with FakeServer(ServerKind.SGLANG, VOCABULARY) as server:
        server.is_incremental = is_incremental
        engine = engine_on(server)
        server.plans.append(Plan([9, 8, 8, 9, STOP]))
        whole = await generated(engine, replace(REQUEST, top_logprobs=1))
        assert whole.tokens == (9, 8, 8, 9, STOP)
        assert whole.logprobs
        assert [score.token for score in whole.logprobs] == [9, 8, 8, 9, STOP]


@pytest.fixture(scope="module")
def llama() -> Iterator[FakeServer]:
    with FakeServer(ServerKind.LLAMA_CPP, VOCABULARY) as running:
        yield running


@given(texts=st.lists(st.text(min_size=1, max_size=30), min_size=1, max_size=4))
@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_llama_cpp_loses_no_token_of_a_character(llama: FakeServer, texts: list[str]) -> None:
    """Of a character in several tokens llama.cpp names the last; all come out, marks between."""
    tokens = [*VOCABULARY.encode(texts[0])]
    for text in texts[1:]:
        tokens += [VOCABULARY.end, VOCABULARY.start, *VOCABULARY.encode(text)]
    tokens.append(STOP)

    async def answer() -> GeneratedTokens:
        engine = engine_on(llama)
        llama.plans.append(Plan(tokens))
        try:
            return await generated(engine, REQUEST)
        finally:
            await engine.close()

    assert list(asyncio.run(answer()).tokens) == tokens


async def test_llama_cpp_loses_no_text_of_an_oddly_split_character() -> None:
    with FakeServer(ServerKind.LLAMA_CPP, VOCABULARY) as server:
        engine = engine_on(server)
        single = {VOCABULARY.token_bytes(token): token for token in range(256)}
        odd = [single[bytes((byte,))] for byte in "aé€".encode()]
        server.plans.append(Plan([*odd, STOP]))
        whole = await generated(engine, REQUEST)
        assert VOCABULARY.decode(whole.tokens[:-1]) == "aé€"
        server.plans.append(Plan([*VOCABULARY.encode("🦆"), STOP]))
        with pytest.raises(EngineError, match="within a character"):
            await generated(engine, replace(REQUEST, top_logprobs=0))


async def test_answers_end_where_the_request_ends_them(server: FakeServer) -> None:
    """Whatever the server does: at the first stop id, and after as many tokens as were asked."""
    engine = engine_on(server)
    server.plans += [Plan([5, 77, 6, 7]), Plan([5, 6, 7, 8]), Plan([5, VOCABULARY.size])]
    at_77 = replace(REQUEST, stop_ids=frozenset((77,)))
    assert await generated(engine, at_77) == GeneratedTokens((5, 77), None, FinishReason.STOP)
    three = replace(REQUEST, maximum_tokens=3)
    assert await generated(engine, three) == GeneratedTokens((5, 6, 7), None, FinishReason.LENGTH)
    with pytest.raises(EngineError, match="vocabulary"):
        await generated(engine, REQUEST)


async def test_leaving_frees_the_sequence_at_once(server: FakeServer) -> None:
    engine = engine_on(server)
    server.plans += [Plan([5, 6, STOP], stalls_after=1), Plan([5, 6, STOP], stalls_after=1)]
    async with aclosing(engine.generate(REQUEST)) as pieces:
        assert (await anext(pieces)).tokens == (5,)
    assert await asyncio.to_thread(server.disconnected.wait, 10)
    server.disconnected.clear()
    task = asyncio.create_task(generated(engine, REQUEST))
    while len(server.requests) < 2:
        await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await asyncio.to_thread(server.disconnected.wait, 10)


async def test_a_server_that_dies_fails_its_generation_alone(server: FakeServer) -> None:
    engine = engine_on(server)
    server.plans += [Plan([5, 6, 7, STOP], stalls_after=3), Plan([5, 6, 7, STOP], dies_after=2)]
    stalled = engine.generate(REQUEST)
    assert (await anext(stalled)).tokens == (5,)
    dying = engine.generate(REQUEST)
    assert [(await anext(dying)).tokens for _ in range(2)] == [(5,), (6,)]
    with pytest.raises(EngineError, match=r"127\.0\.0\.1.* in the middle"):
        await anext(dying)
    assert len(server.requests) == 2  # nothing was tried again
    assert [(await anext(stalled)).tokens for _ in range(2)] == [(6,), (7,)]
    await stalled.aclose()


async def test_a_server_that_is_busy_or_not_up_yet_is_asked_again(server: FakeServer) -> None:
    engine = engine_on(server)
    busy = Plan(status=429, headers={"Retry-After": "1"})
    server.plans += [busy, Plan(status=503), Plan([5, STOP])]
    assert (await generated(engine, REQUEST)).tokens == (5, STOP)
    server.plans += [Plan(dies_after=0), Plan([5, STOP])]
    assert (await generated(engine, REQUEST)).tokens == (5, STOP)
    server.plans += [Plan(status=503)] * 3
    with pytest.raises(EngineError, match=r"no room now \(503\): as planned; tried 3 times"):
        await generated(engine, REQUEST)
    assert len(server.requests) == 8


@pytest.mark.parametrize(
    ("plan", "said"),
    [
        (Plan(status=400, body={"object": "error", "message": "too long"}), "(400): too long"),
        (Plan(status=404, body={"error": {"message": "no model x"}}), "(404): no model x"),
        (Plan(status=500, body={"detail": [{"msg": "oops"}]}), "oops"),
        (Plan([5], raw=b"data: {broken\n\n"), "no JSON"),
        (Plan([5], raw=b"data: [1, 2]\n\n"), "cannot be read"),
        (Plan([5], raw=b'data: {"surprise": 1}\n\n'), "cannot be read"),
        (Plan([5], raw=b'data: {"error": {"message": "out of memory"}}\n\n'), "out of memory"),
        (Plan([5], raw=b'data: {"choices": [{"token_ids": "no"}]}\n\n'), "list of integers"),
        (Plan([5], raw=b": nothing\n\n"), "before the end of the answer"),
        (Plan([5], "abort"), "abort"),
    ],
)
async def test_nonsense_is_one_sentence(vllm: FakeServer, plan: Plan, said: str) -> None:
    engine = engine_on(vllm)
    vllm.plans.append(plan)
    with pytest.raises(EngineError) as caught:
        await generated(engine, REQUEST)
    assert said in str(caught.value)
    assert vllm.url in str(caught.value)
    assert len(vllm.requests) == 1
    vllm.plans.append(Plan([5, STOP]))
    assert (await generated(engine, REQUEST)).tokens == (5, STOP)


async def test_slow_servers_are_given_up(vllm: FakeServer) -> None:
    engine = engine_on(vllm, limits=TimeLimits(first_token=2))
    vllm.plans.append(Plan([5, 6], stalls_after=0))
    with pytest.raises(EngineError, match="no token within 2 seconds"):
        await generated(engine, REQUEST)
    assert await asyncio.to_thread(vllm.disconnected.wait, 10)
    vllm.disconnected.clear()
    engine = engine_on(vllm, limits=TimeLimits(between_tokens=0.2))
    vllm.plans.append(Plan([5, 6], stalls_after=1))
    with pytest.raises(EngineError, match="silent in the middle"):
        await generated(engine, REQUEST)
    assert await asyncio.to_thread(vllm.disconnected.wait, 10)


async def test_closing_ends_live_generations(vllm: FakeServer) -> None:
    engine = engine_on(vllm)
    vllm.plans.append(Plan([5, 6], stalls_after=1))
    pieces: AsyncIterator[GeneratedTokens] = engine.generate(REQUEST)
    await anext(pieces)
    waiting = asyncio.ensure_future(anext(pieces))
    await asyncio.sleep(0.05)
    await engine.close()
    with pytest.raises(EngineError):
        await asyncio.wait_for(waiting, 10)
    assert await asyncio.to_thread(vllm.disconnected.wait, 10)
