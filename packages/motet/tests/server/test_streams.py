"""Turns as API events: the order of Responses streams, the deltas of Chat Completions."""

import asyncio
from collections.abc import Sequence
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from scripted import VOCABULARY, Writing, scripted_engine, served, thought
from stream_rules import check_stream

from motet.agent import Turn, TurnOptions
from motet.engine import EngineError
from motet.harmony import Conversation, Message
from motet.server.chat.replies import ChatReply, Delta
from motet.server.errors import as_api_error
from motet.server.memory import TurnMemory
from motet.server.responses.events import Event, ResponseStream
from motet.server.responses.requests import ResponseRequest, opening_response, read_response

QUESTION = Conversation((Message.system(), Message.user("?")))
SPECIAL = st.sampled_from(sorted(VOCABULARY.special.values()))
WORDS = st.sampled_from(
    [*VOCABULARY.encode("assistant final analysis commentary to=functions.add json \n"), 200, 130]
)
ANY_TOKEN = SPECIAL | WORDS | st.integers(0, VOCABULARY.size + 3)
ANY_TOKENS = st.lists(ANY_TOKEN, min_size=1, max_size=60)


def stream_of(
    script: Writing | Sequence[int | EngineError], options: TurnOptions | None = None, **fields: Any
) -> list[Event]:
    """The events of a response that a model writes so."""
    request = ResponseRequest.model_validate({"input": "?", **fields})
    model = served(scripted_engine(script))
    ask = read_response(request, [], model, TurnMemory(0))
    turn = Turn(model.engine, VOCABULARY, QUESTION, options or ask.options)
    opening = opening_response(request, model, ask)
    stream = ResponseStream(opening, VOCABULARY, request.include or ())

    async def run() -> list[Event]:
        events = stream.begin()
        try:
            async for event in turn.events():
                events += stream.feed(event)
        except EngineError as error:
            return events + stream.fail(turn, as_api_error(error))
        return events + stream.finish(turn)

    return asyncio.run(run())


@settings(max_examples=200, deadline=None)
@given(ANY_TOKENS)
def test_whatever_a_model_writes_becomes_a_stream_in_order(tokens: list[int]) -> None:
    check_stream(stream_of(tokens))


@settings(max_examples=50, deadline=None)
@given(ANY_TOKENS)
def test_a_failure_ends_the_stream_in_order(tokens: list[int]) -> None:
    response = check_stream(stream_of([*tokens[:20], EngineError("lost"), *tokens[20:]]))
    if response["status"] == "failed":
        assert response["error"] == {"code": "server_error", "message": "lost"}


def test_thoughts_preambles_and_calls_are_items() -> None:
    writing = thought("Hm.").preamble("I add.").call("add", '{"a":1}')
    events = stream_of(writing, include=["reasoning.encrypted_content"])
    response = check_stream(events)
    reasoning, preamble, call = response["output"]
    assert reasoning["content"] == [{"type": "reasoning_text", "text": "Hm."}]
    assert reasoning["encrypted_content"]
    assert (preamble["phase"], preamble["content"][0]["text"]) == ("commentary", "I add.")
    assert (call["name"], call["arguments"]) == ("add", '{"a":1}')
    assert response["status"] == "completed"
    assert response["usage"]["output_tokens_details"]["reasoning_tokens"] == len(
        VOCABULARY.encode("Hm.")
    )


def test_a_cut_answer_is_incomplete() -> None:
    writing = thought("Hm.").answer("A long answer. " * 20)
    length = len(writing.tokens) - 3
    response = check_stream(stream_of(writing, TurnOptions(maximum_tokens=length)))
    assert response["incomplete_details"] == {"reason": "max_output_tokens"}
    assert response["output"][-1]["status"] == "incomplete"
    assert response["usage"]["output_tokens"] == length


def test_scores_come_with_the_text_they_belong_to() -> None:
    events = stream_of(thought("Hm.").answer("Né 🎵."), top_logprobs=1)
    check_stream(events)
    deltas = [event for event in events if event["type"] == "response.output_text.delta"]
    for delta in deltas:
        data = b"".join(bytes(score["bytes"]) for score in delta["logprobs"])
        assert data.decode() == delta["delta"]
        assert all(len(score["top_logprobs"]) == 1 for score in delta["logprobs"])


def reply_of(
    script: Writing, *, options: TurnOptions | None = None, stop: Sequence[str] = (), **more: Any
) -> tuple[ChatReply, list[Delta], str]:
    """A chat choice that a model writes so, its deltas and why it ended."""
    turn = Turn(scripted_engine(script), VOCABULARY, QUESTION, options or TurnOptions())
    reply = ChatReply(VOCABULARY, stop, **more)

    async def run() -> list[Delta]:
        deltas = []
        async for event in turn.events():
            deltas += reply.feed(event)
            if reply.stopped:
                break
        return deltas

    deltas = asyncio.run(run())
    return reply, deltas, reply.finish(turn.finish)


def joined(deltas: Sequence[Delta], name: str) -> str:
    return "".join(delta.fields.get(name, "") for delta in deltas)


def test_thoughts_are_reasoning_content() -> None:
    reply, deltas, finish = reply_of(thought("Hm.").answer("Yes."))
    assert reply.message == {
        "role": "assistant",
        "content": "Yes.",
        "refusal": None,
        "reasoning_content": "Hm.",
    }
    assert (joined(deltas, "content"), joined(deltas, "reasoning_content")) == ("Yes.", "Hm.")
    assert finish == "stop"


def test_calls_come_in_deltas_that_join() -> None:
    reply, deltas, finish = reply_of(thought("Hm.").preamble("I add.").call("add", '{"a":1}'))
    (call,) = reply.message["tool_calls"]
    assert call["function"] == {"name": "add", "arguments": '{"a":1}'}
    assert (reply.content, finish) == ("I add.", "tool_calls")
    pieces = [delta.fields["tool_calls"][0] for delta in deltas if "tool_calls" in delta.fields]
    assert pieces[0]["id"] == call["id"]
    assert "".join(piece["function"]["arguments"] for piece in pieces) == '{"a":1}'


def test_messages_of_one_kind_are_paragraphs() -> None:
    reply, deltas, _ = reply_of(thought("One.").thought("Two.").preamble("Three.").answer("Four."))
    assert reply.reasoning == joined(deltas, "reasoning_content") == "One.\n\nTwo."
    assert reply.content == joined(deltas, "content") == "Three.\n\nFour."


def test_a_preamble_does_not_break_content_that_has_a_format() -> None:
    reply, _, _ = reply_of(thought("Hm.").preamble("Here.").answer("{}"), shaped=True)
    assert (reply.content, reply.reasoning) == ("{}", "Hm.\n\nHere.")


def test_a_stop_text_ends_the_answer_and_not_the_thought() -> None:
    writing = thought("Stop here?").answer("One two Stop here and go on.")
    options = TurnOptions(top_logprobs=0)
    reply, deltas, finish = reply_of(writing, options=options, stop=["op her"])
    assert reply.content == joined(deltas, "content") == "One two St"
    assert (reply.reasoning, finish) == ("Stop here?", "stop")
    scored = b"".join(bytes(score["bytes"]) for score in reply.logprobs).decode()
    assert scored.startswith("One two ")
    assert "here" not in scored


def test_a_cut_answer_has_the_reason_length() -> None:
    writing = thought("Hm.").answer("A long answer. " * 20)
    options = TurnOptions(maximum_tokens=len(writing.tokens) - 3)
    assert reply_of(writing, options=options)[2] == "length"
