"""A turn over a scripted engine: what is asked, what comes out, what is kept."""

import pytest

from motet.agent import ScoredText, Turn, TurnOptions
from motet.engine import EngineError, FinishReason, SamplingParameters, ScriptedEngine
from motet.harmony import (
    Conversation,
    DeveloperContent,
    Message,
    MessageEnded,
    MessageStarted,
    RepairKind,
    TextDelta,
    ToolDescription,
    ToolNamespace,
    Vocabulary,
    o200k_harmony,
    render_for_completion,
)

QUESTION = Conversation((Message.system(), Message.user("What is 2 + 2?")))


@pytest.fixture(scope="module")
def vocabulary() -> Vocabulary:
    return o200k_harmony()


def answer_tokens(vocabulary: Vocabulary, thought: str, answer: str) -> list[int]:
    """What a model writes after `<|start|>assistant` to think and then answer."""
    v = vocabulary
    return [
        *(v.channel, *v.encode("analysis"), v.message, *v.encode(thought), v.end),
        *(v.start, *v.encode("assistant"), v.channel, *v.encode("final"), v.message),
        *(*v.encode(answer), v.return_),
    ]


async def test_an_answer_becomes_events_and_messages(vocabulary: Vocabulary) -> None:
    script = answer_tokens(vocabulary, "Two and two.", "4")
    engine = ScriptedEngine([script])
    options = TurnOptions(SamplingParameters(temperature=0.5, seed=3), maximum_tokens=100)
    turn = Turn(engine, vocabulary, QUESTION, options)
    events = [event async for event in turn.events()]

    started = [event for event in events if isinstance(event, MessageStarted)]
    assert [event.channel for event in started] == ["analysis", "final"]
    assert "".join(e.text for e in events if isinstance(e, TextDelta)) == "Two and two.4"
    assert isinstance(events[-1], MessageEnded)
    assert events[-1].end == "return"

    (request,) = engine.requests
    assert list(request.prompt) == render_for_completion(QUESTION, vocabulary)
    assert request.stop_ids == vocabulary.stop_ids
    assert (request.maximum_tokens, request.sampling.seed) == (100, 3)
    assert turn.prompt_tokens == len(request.prompt)
    assert turn.generated_tokens == len(script)
    assert turn.finish is FinishReason.STOP
    assert turn.repairs == ()
    assert turn.conversation.messages == (
        *QUESTION.messages,
        Message.assistant("Two and two.", "analysis"),
        Message.assistant("4", "final"),
    )


async def test_the_next_prompt_repeats_the_exact_tokens_of_an_unfinished_turn(
    vocabulary: Vocabulary,
) -> None:
    v = vocabulary
    call = [
        *(v.channel, *v.encode("commentary to=functions.add "), v.constrain, *v.encode("json")),
        *(v.message, *v.encode('{"a":2}'), v.call),
    ]
    turn = Turn(ScriptedEngine([call]), v, QUESTION)
    async for _ in turn.events():
        pass
    result = Message.tool("functions.add", "4")
    followed = Conversation((*turn.conversation.messages, result))
    extended = [*render_for_completion(QUESTION, v), *call]
    assert render_for_completion(followed, v)[: len(extended)] == extended


async def test_a_call_that_is_ended_as_a_message_ends_the_turn(vocabulary: Vocabulary) -> None:
    v = vocabulary
    call = [
        *(v.channel, *v.encode("commentary to=functions.add"), v.message, *v.encode("{}"), v.end),
    ]
    made_up = [
        *(v.start, *v.encode("functions.add to=assistant"), v.channel, *v.encode("commentary")),
        *(v.message, *v.encode("5"), v.end),
    ]
    turn = Turn(ScriptedEngine([[*call, *made_up, v.return_]]), v, QUESTION)
    events = [event async for event in turn.events()]
    assert isinstance(events[-1], MessageEnded)
    assert events[-1].end == "call"
    assert [message.recipient for message in turn.messages] == ["functions.add"]
    assert (turn.finish, turn.generated_tokens) == (FinishReason.STOP, len(call))


async def test_a_call_goes_to_the_tool_on_offer_that_is_meant(vocabulary: Vocabulary) -> None:
    v = vocabulary
    call = [
        *(v.channel, *v.encode("commentary to=add "), v.constrain, *v.encode("json")),
        *(v.message, *v.encode('{"a":2}'), v.call),
    ]
    functions = ToolNamespace.functions([ToolDescription("add", "Adds.")])
    developer = Message.developer(DeveloperContent(tools=(functions,)))
    offered = Conversation((Message.system(), developer, Message.user("What is 2 + 2?")))
    for conversation, meant in ((QUESTION, "add"), (offered, "functions.add")):
        turn = Turn(ScriptedEngine([call]), v, conversation)
        async for _ in turn.events():
            pass
        assert turn.messages[-1].recipient == meant
        assert [repair.kind for repair in turn.repairs] == [RepairKind.UNKNOWN_RECIPIENT]


async def test_a_turn_that_is_broken_off_keeps_what_was_said(vocabulary: Vocabulary) -> None:
    script = answer_tokens(vocabulary, "One thought.", "A long answer that nobody waits for")
    turn = Turn(ScriptedEngine([script]), vocabulary, QUESTION)
    events = turn.events()
    said = ""
    async for event in events:
        if isinstance(event, TextDelta):
            said += event.text
        if said.endswith("A long"):
            break
    await events.aclose()
    assert turn.finish is None
    assert [message.text for message in turn.messages] == ["One thought.", "A long"]
    assert turn.conversation.messages[-1].channel == "final"


async def test_a_length_limit_ends_the_message_where_it_is(vocabulary: Vocabulary) -> None:
    script = answer_tokens(vocabulary, "Two and two.", "4")
    turn = Turn(ScriptedEngine([script]), vocabulary, QUESTION, TurnOptions(maximum_tokens=5))
    events = [event async for event in turn.events()]
    assert turn.finish is FinishReason.LENGTH
    assert isinstance(events[-1], MessageEnded)
    assert events[-1].end == "cut"
    assert [message.text for message in turn.messages] == ["Two and"]


async def test_an_engine_that_fails_leaves_what_was_said(vocabulary: Vocabulary) -> None:
    script = answer_tokens(vocabulary, "Two and two.", "4")
    turn = Turn(ScriptedEngine([[*script[:6], EngineError("lost")]]), vocabulary, QUESTION)
    with pytest.raises(EngineError, match="lost"):
        async for _ in turn.events():
            pass
    assert [message.text for message in turn.messages] == ["Two and two"]
    assert turn.finish is None


async def test_texts_come_with_the_scores_of_their_tokens(vocabulary: Vocabulary) -> None:
    script = answer_tokens(vocabulary, "Zwei 🎵.", "4")
    options = TurnOptions(top_logprobs=1)
    turn = Turn(ScriptedEngine([script]), vocabulary, QUESTION, options)
    texts = [event async for event in turn.events() if isinstance(event, TextDelta)]
    assert all(isinstance(text, ScoredText) and text.logprobs for text in texts)
    scores = [score for text in texts if isinstance(text, ScoredText) for score in text.logprobs]
    assert vocabulary.decode(score.token for score in scores) == "Zwei 🎵.4"
    assert turn.thinking_tokens == len(vocabulary.encode("Zwei 🎵."))
