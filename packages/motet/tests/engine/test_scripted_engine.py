"""The public test double keeps the promises of the protocol."""

import pytest

from motet.engine import (
    Engine,
    EngineError,
    FinishReason,
    GeneratedTokens,
    GenerationRequest,
    ScriptedEngine,
    TokenLogprob,
)


async def collect(engine: Engine, **request: object) -> tuple[list[int], FinishReason | None]:
    tokens: list[int] = []
    piece = GeneratedTokens(())
    async for piece in engine.generate(GenerationRequest(prompt=(1,), **request)):  # type: ignore[arg-type]
        tokens += piece.tokens
    return tokens, piece.finish


async def test_scripts_are_played_in_order_and_requests_kept() -> None:
    engine = ScriptedEngine([[5, 6, 7], [8, 9]])
    assert await collect(engine, stop_ids=frozenset({7})) == ([5, 6, 7], FinishReason.STOP)
    assert await collect(engine) == ([8, 9], FinishReason.LENGTH)
    assert [request.stop_ids for request in engine.requests] == [{7}, frozenset()]
    with pytest.raises(EngineError, match="no script left"):
        await collect(engine)


async def test_stop_ids_and_limits_end_a_script_early() -> None:
    engine = ScriptedEngine([[5, 6, 7], [5, 6, 7]])
    assert await collect(engine, stop_ids=frozenset({6})) == ([5, 6], FinishReason.STOP)
    assert await collect(engine, maximum_tokens=1) == ([5], FinishReason.LENGTH)


async def test_an_error_in_a_script_is_raised_in_its_place() -> None:
    engine = ScriptedEngine([[5, EngineError("the model caught fire")]])
    stream = engine.generate(GenerationRequest(prompt=(1,), top_logprobs=1))
    assert (await anext(stream)).logprobs == (TokenLogprob(5, 0.0, ((5, 0.0),)),)
    with pytest.raises(EngineError, match="caught fire"):
        await anext(stream)


async def test_a_closed_engine_refuses() -> None:
    engine = ScriptedEngine([[5]])
    await engine.close()
    with pytest.raises(EngineError, match="closed"):
        await collect(engine)
