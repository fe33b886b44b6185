"""The shipped nano model, through the native engine."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from motet.checkpoint import open_checkpoint
from motet.engine import GenerationRequest, NativeEngine, SamplingParameters
from motet.harmony import (
    ANALYSIS,
    FINAL,
    Conversation,
    DeveloperContent,
    Message,
    ParseResult,
    ReasoningEffort,
    SystemContent,
    ToolDescription,
    ToolNamespace,
    parse_tokens,
    render_for_completion,
)
from motet.nano import embedded_nano_path
from motet.training.evaluate_nano import Examiner, measure
from motet.training.vocabulary import nano_vocabulary

LARGEST_BYTES = 20_000_000
VOCABULARY = nano_vocabulary()


@pytest.fixture(scope="module")
def engine() -> Iterator[NativeEngine]:
    engine = NativeEngine(open_checkpoint(embedded_nano_path()), threads=1)
    yield engine
    asyncio.run(engine.close())


def answer(engine: NativeEngine, *messages: Message) -> ParseResult:
    async def complete() -> list[int]:
        prompt = render_for_completion(Conversation(messages), VOCABULARY)
        greedy = SamplingParameters(temperature=0)
        request = GenerationRequest(prompt, greedy, 500, VOCABULARY.stop_ids)
        return [token async for part in engine.generate(request) for token in part.tokens]

    return parse_tokens(asyncio.run(complete()), VOCABULARY)


def test_the_files_are_small_and_whole() -> None:
    checkpoint = open_checkpoint(embedded_nano_path())
    assert sum(path.stat().st_size for path in embedded_nano_path().iterdir()) <= LARGEST_BYTES
    assert checkpoint.vocabulary.to_json() == VOCABULARY.to_json()


@pytest.mark.parametrize(
    ("question", "expected"),
    [
        ("What is 123 + 456?", "579"),
        ("900 - 45", "855"),
        ("Sort 5, 3, 9, 1", "1, 3, 5, 9"),
        ("Which is bigger, 517 or 571?", "571"),
        ("How many letters are in lantern?", "7"),
        ("Reverse the word lantern", "nretnal"),
        ("Sort 17, 4, 99, 23, 8 from largest to smallest", "99, 23, 17, 8, 4"),
        ("How many e's are in elephant?", "2"),
        ("Anna lives in Rome. Ben lives in Paris. Where does Ben live?", "Paris"),
    ],
)
def test_it_thinks_and_answers(engine: NativeEngine, question: str, expected: str) -> None:
    system = Message.system(SystemContent(reasoning_effort=ReasoningEffort.HIGH))
    result = answer(engine, system, Message.user(question))
    assert result.is_well_formed
    assert [message.channel for message in result.messages] == [ANALYSIS, FINAL]
    assert result.messages[-1].text == expected


def test_it_calls_a_function_and_reports_its_result(engine: NativeEngine) -> None:
    parameters = {
        "type": "object",
        "properties": {"city": {"type": "string", "description": "The city"}},
        "required": ["city"],
    }
    weather = ToolDescription("get_weather", "Get the weather in a city.", parameters)
    developer = DeveloperContent(None, (ToolNamespace.functions((weather,)),))
    opening = (
        Message.system(),
        Message.developer(developer),
        Message.user("What is the weather in Paris?"),
    )
    called = answer(engine, *opening).messages
    assert called[-1].recipient == "functions.get_weather"
    assert called[-1].text == '{"city":"Paris"}'
    result = Message.tool("functions.get_weather", '{"condition": "sunny"}')
    reported = answer(engine, *opening, *called, result).messages
    assert (reported[-1].channel, reported[-1].text) == (FINAL, "The condition is sunny.")


def test_the_evaluation_measures(engine: NativeEngine) -> None:
    examiner = Examiner(engine, VOCABULARY)
    row = asyncio.run(
        measure(examiner, VOCABULARY, "arithmetic", ReasoningEffort.HIGH, prompts=8, samples=2)
    )
    assert row.held.right >= 75
    assert row.held.well_formed == row.held_sampled.well_formed == 100
