"""Thinking that is ended from outside, over a scripted engine that obeys no constraint."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from motet.agent import Turn, TurnOptions
from motet.engine import FinishReason, ScriptedEngine
from motet.harmony import (
    Conversation,
    DeveloperContent,
    Message,
    ToolDescription,
    ToolNamespace,
    o200k_harmony,
)
from motet.harmony.grammar import TurnRules

V = o200k_harmony()
QUESTION = Conversation((Message.system(), Message.user("What is 2 + 2?")))
FUNCTIONS = ToolNamespace.functions([ToolDescription("add", "Adds.")])
WITH_TOOLS = Conversation(
    (Message.system(), Message.developer(DeveloperContent(tools=(FUNCTIONS,))), Message.user("2?"))
)
THINK = [V.channel, *V.encode("analysis"), V.message]
NEXT = [V.end, V.start, *V.encode("assistant"), V.channel]
ANSWER = [*V.encode("final"), V.message]
CALL = [*V.encode("commentary to=functions.add "), V.constrain, *V.encode("json"), V.message]


async def run(
    scripts: list[list[int]],
    limit: int | None = None,
    conversation: Conversation = QUESTION,
    maximum: int | None = None,
) -> tuple[Turn, ScriptedEngine]:
    engine = ScriptedEngine(scripts)
    rules = TurnRules(maximum_thinking_tokens=limit)
    turn = Turn(engine, V, conversation, TurnOptions(maximum_tokens=maximum, rules=rules))
    async for _ in turn.events():
        pass
    return turn, engine


def texts(turn: Turn) -> list[tuple[str | None, str]]:
    assert turn.repairs == ()
    return [(message.channel, message.text) for message in turn.messages]


async def test_a_model_that_ends_its_thinking_is_left_alone() -> None:
    script = [*THINK, *V.encode("Two and two."), *NEXT, *ANSWER, *V.encode("4"), V.return_]
    turn, engine = await run([script], limit=20)
    assert texts(turn) == [("analysis", "Two and two."), ("final", "4")]
    assert (turn.ended_thinking, turn.forced_tokens, len(engine.requests)) == (None, 0, 1)


async def test_at_its_limit_the_thinking_gives_way_to_the_answer() -> None:
    thought = V.encode("one two three four five six")
    turn, engine = await run([[*THINK, *thought], [*V.encode("4"), V.return_]], limit=4)
    assert texts(turn) == [("analysis", "one two three four"), ("final", "4")]
    assert turn.ended_thinking == "limit"
    first, second = engine.requests
    lead = [*NEXT, *ANSWER]
    assert list(second.prompt) == [*first.prompt, *THINK, *thought[:4], *lead]
    assert turn.forced_tokens == len(lead)
    assert turn.finish is FinishReason.STOP


async def test_a_loop_is_ended() -> None:
    piece = V.encode("and again ")
    turn, _ = await run([[*THINK, *piece * 500], [*V.encode("Stop."), V.return_]])
    assert turn.ended_thinking == "loop"
    assert texts(turn)[-1] == ("final", "Stop.")
    assert turn.generated_tokens < 600


async def test_with_tools_the_model_chooses_what_follows_the_thought() -> None:
    thought = [*THINK, *V.encode("one two three four five")]
    call = [*CALL, *V.encode('{"a":2}'), V.call]
    turn, _ = await run([thought, call], 3, WITH_TOOLS)
    assert [message.recipient for message in turn.messages] == [None, "functions.add"]
    assert texts(turn)[0] == ("analysis", "one two three")
    # It thinks on: that header is never seen, and it is led to an answer.
    again = [*V.encode("analysis"), V.message, *V.encode("more")]
    turn, engine = await run([thought, again, [*V.encode("4"), V.return_]], 3, WITH_TOOLS)
    assert texts(turn) == [("analysis", "one two three"), ("final", "4")]
    assert list(engine.requests[-1].prompt[-len(ANSWER) :]) == ANSWER
    assert len(engine.requests) == 3


async def test_a_second_thought_behind_the_limit_becomes_the_answer() -> None:
    thought = [*THINK, *V.encode("one two three")]
    preamble = [*V.encode("commentary"), V.message, *V.encode("Adding."), *NEXT, *THINK[1:]]
    preamble += V.encode("more")
    turn, _ = await run([thought, preamble, [*V.encode("4"), V.return_]], 2, WITH_TOOLS)
    assert texts(turn) == [("analysis", "one two"), ("commentary", "Adding."), ("final", "4")]


async def test_no_thinking_at_all() -> None:
    turn, engine = await run([[*THINK, *V.encode("one")], [*V.encode("4"), V.return_]], limit=0)
    assert texts(turn) == [("final", "4")]
    assert list(engine.requests[1].prompt) == [*engine.requests[0].prompt, V.channel, *ANSWER]
    plain, _ = await run([[V.channel, *ANSWER, *V.encode("4"), V.return_]], limit=0)
    assert texts(plain) == [("final", "4")]
    assert plain.forced_tokens == 0


async def test_room_is_kept_for_an_answer() -> None:
    thought = [*THINK, *V.encode("word " * 200)]
    answer = [*V.encode("word " * 200)]
    turn, engine = await run([thought, answer], maximum=100)
    assert turn.ended_thinking == "limit"
    assert [channel for channel, _ in texts(turn)] == ["analysis", "final"]
    assert turn.finish is FinishReason.LENGTH
    assert turn.generated_tokens == 100
    assert engine.requests[1].maximum_tokens is not None
    assert engine.requests[1].maximum_tokens >= 25


@given(limit=st.integers(1, 12), thought=st.text("aé€🦆🇺🇦 ", min_size=12, max_size=24))
@settings(max_examples=40, deadline=None)
@pytest.mark.asyncio
async def test_no_character_is_cut_in_two(limit: int, thought: str) -> None:
    thought += " word" * 20
    turn, _ = await run([[*THINK, *V.encode(thought)], [*V.encode("4"), V.return_]], limit)
    (_, thought_shown), (_, answer) = texts(turn)
    assert thought.startswith(thought_shown)
    assert (answer, turn.ended_thinking) == ("4", "limit")
    assert limit <= turn.generated_tokens - turn.forced_tokens - len(THINK) - 2 <= limit + 3
