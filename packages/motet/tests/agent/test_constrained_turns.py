"""Turns held to their grammar by the engine: well-formed, valid, obedient, and over."""

import asyncio
from collections.abc import Callable, Iterator
from itertools import islice

import pytest
from constrained_turns import Case, format_cases, nano, random_weights, run, tool_cases

from motet.agent import Turn, TurnOptions
from motet.checkpoint import Checkpoint
from motet.engine import FinishReason, NativeEngine, SamplingParameters
from motet.harmony import (
    Conversation,
    DeveloperContent,
    Message,
    ToolDescription,
    ToolNamespace,
    Vocabulary,
)
from motet.harmony.grammar import AnswerFormat, ToolChoice, TurnRules, compile_turn

QUESTION = Conversation((Message.system(), Message.user("What is 12 + 34?")))


@pytest.mark.parametrize("model", [nano, random_weights])
@pytest.mark.parametrize("cases", [tool_cases, format_cases])
async def test_no_turn_is_at_fault(
    model: Callable[[], tuple[Checkpoint, Vocabulary]], cases: Callable[[int], Iterator[Case]]
) -> None:
    checkpoint, vocabulary = model()
    engine = NativeEngine(checkpoint)
    faults, counts = await run(engine, vocabulary, list(islice(cases(7), 30)))
    await engine.close()
    assert faults == []
    assert counts["forced"] > 100


async def turn_of(options: TurnOptions, conversation: Conversation = QUESTION) -> Turn:
    checkpoint, vocabulary = nano()
    engine = NativeEngine(checkpoint)
    grammar = await asyncio.to_thread(compile_turn, vocabulary, conversation, options.rules)
    turn = Turn(engine, vocabulary, conversation, options, grammar)
    async for _ in turn.events():
        pass
    await engine.close()
    return turn


GREEDY = SamplingParameters(temperature=0.0)


async def test_thinking_has_a_budget_and_the_answer_comes_all_the_same() -> None:
    rules = TurnRules(maximum_thinking_tokens=8)
    turn = await turn_of(TurnOptions(GREEDY, rules=rules))
    assert turn.ended_thinking == "limit"
    assert turn.finish is FinishReason.STOP
    assert [message.channel for message in turn.messages] == ["analysis", "final"]
    assert turn.repairs == ()
    # `<|end|><|start|>assistant<|channel|>final<|message|>`, and `<|channel|>` had no choice either
    assert turn.forced_tokens >= 6


async def test_an_answer_that_reaches_the_limit_is_ended_and_said_to_be_cut() -> None:
    letters = AnswerFormat.json_schema({"type": "array", "items": {"const": "abc"}, "minItems": 9})
    turn = await turn_of(TurnOptions(GREEDY, 60, TurnRules(answer=letters)))
    assert turn.messages[-1].text.startswith('["abc","abc"')
    assert turn.messages[-1].text.endswith('"abc"]')
    words = "Repeat this: velmora quandrifer K7-402 bastelion 4821"
    long = await turn_of(
        TurnOptions(GREEDY, 30), Conversation((Message.system(), Message.user(words)))
    )
    assert long.finish is FinishReason.LENGTH
    assert long.generated_tokens <= 30
    assert long.messages[-1].channel == "final"
    assert long.messages[-1].tokens is not None


async def test_a_call_and_its_result_extend_the_prompt() -> None:
    parameters = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}
    add = ToolNamespace.functions([ToolDescription("add", "Adds.", parameters)])
    asked = Conversation(
        (Message.system(), Message.developer(DeveloperContent(tools=(add,))), Message.user("Go."))
    )
    first = await turn_of(TurnOptions(GREEDY, 200, TurnRules(ToolChoice.call())), asked)
    assert first.messages[-1].recipient == "functions.add"
    result = Message.tool("functions.add", "7")
    followed = Conversation((*first.conversation.messages, result))
    second = await turn_of(TurnOptions(GREEDY, 200, TurnRules(ToolChoice.none())), followed)
    assert second.messages[-1].channel == "final"
    assert second.prompt_tokens > first.prompt_tokens + first.generated_tokens
