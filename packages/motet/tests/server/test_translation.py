"""Requests of both APIs as conversations and rules; nothing here generates."""

from collections.abc import Sequence
from typing import Any

import pytest
from scripted import ADD, CHAT_ADD, scripted_engine, served, user

from motet.harmony import (
    CONSTRAIN,
    DeveloperContent,
    Message,
    Role,
    SystemContent,
    ToolDescription,
    ToolNamespace,
)
from motet.harmony.grammar import AnswerFormat, ToolChoice
from motet.server.chat.requests import ChatRequest, read_chat
from motet.server.errors import ApiError
from motet.server.memory import Said, TurnMemory, recalled
from motet.server.prompts import Ask
from motet.server.responses.items import normal_items, read_items, sealed, unsealed
from motet.server.responses.requests import ResponseRequest, read_response

JSON = f"{CONSTRAIN}json"


def chat(messages: Sequence[dict[str, Any]], **fields: Any) -> Ask:
    request = ChatRequest.model_validate({"messages": messages, **fields})
    return read_chat(request, served(scripted_engine()), TurnMemory(10))


def respond(given: Any, **fields: Any) -> Ask:
    request = ResponseRequest.model_validate({"input": given, **fields})
    said = read_items(normal_items(request.input or []), [])
    return read_response(request, said, served(scripted_engine()), TurnMemory(10))


def asks(messages: Sequence[dict[str, Any]], **fields: Any) -> list[Ask]:
    """The same request by both APIs."""
    return [chat(messages, **fields), respond(messages, **fields)]


def call(name: str, arguments: str) -> Message:
    return Message.assistant(arguments, "commentary", f"functions.{name}", JSON)


def test_a_question_is_asked_behind_a_system_message() -> None:
    for ask in asks([user("What?")]):
        assert ask.conversation.messages == (
            Message.system(SystemContent()),
            Message.user("What?"),
        )


def test_leading_instructions_are_one_developer_message_and_later_ones_stay() -> None:
    messages = [
        {"role": "system", "content": "One."},
        {"role": "developer", "content": [{"type": "text", "text": "Two."}]},
        user(),
        {"role": "system", "content": "Three."},
    ]
    for ask in asks(messages):
        _, developer, _, later = ask.conversation.messages
        assert developer == Message.developer(DeveloperContent("One.\n\nTwo."))
        assert later == Message.developer(DeveloperContent("Three."))
    ask = respond(messages, instructions="Zero.")
    assert ask.conversation.messages[1] == Message.developer(
        DeveloperContent("Zero.\n\nOne.\n\nTwo.")
    )


def test_functions_are_described_and_only_strict_ones_held_to_everything() -> None:
    strict = {**ADD, "name": "strict_add", "strict": True}
    ask = respond([user()], tools=[ADD, strict])
    content = ask.conversation.messages[1].content[0]
    assert isinstance(content, DeveloperContent)
    assert content.tools == (
        ToolNamespace.functions(
            ToolDescription(name, "Adds.", ADD["parameters"]) for name in ("add", "strict_add")
        ),
    )
    assert ask.options.rules.lenient_tools == {"functions.add"}
    assert chat([user()], tools=[CHAT_ADD]).options.rules.lenient_tools == {"functions.add"}


@pytest.mark.parametrize(
    ("choice", "meant"),
    [
        (None, ToolChoice.auto()),
        ("auto", ToolChoice.auto()),
        ("none", ToolChoice.none()),
        ("required", ToolChoice.call()),
        ({"type": "function", "name": "add"}, ToolChoice.call(["functions.add"])),
        ({"type": "function", "function": {"name": "add"}}, ToolChoice.call(["functions.add"])),
        (
            {
                "type": "allowed_tools",
                "mode": "auto",
                "tools": [{"type": "function", "name": "add"}],
            },
            ToolChoice.auto(["functions.add"]),
        ),
        (
            {
                "type": "allowed_tools",
                "allowed_tools": {
                    "mode": "required",
                    "tools": [{"type": "function", "function": {"name": "add"}}],
                },
            },
            ToolChoice.call(["functions.add"]),
        ),
    ],
)
def test_tool_choices(choice: Any, meant: ToolChoice) -> None:
    for ask in asks([user()], tools=[ADD], tool_choice=choice):
        assert ask.options.rules.tool_choice == meant


@pytest.mark.parametrize(
    "choice",
    ["any", {"type": "function", "name": "other"}, {"type": "allowed_tools"}, {"type": "x"}],
)
def test_tool_choices_that_cannot_be(choice: Any) -> None:
    with pytest.raises(ApiError) as caught:
        respond([user()], tools=[ADD], tool_choice=choice)
    assert caught.value.param == "tool_choice"


def test_tools_of_other_types_are_left_out_with_a_warning() -> None:
    ask = respond([user()], tools=[{"type": "web_search"}, ADD, {"type": "local_shell"}])
    assert ask.conversation.tools == {"functions.add"}
    assert len(ask.warnings) == 2
    assert "'web_search'" in ask.warnings[0]


def test_formats_bind_the_answer_and_are_told_to_the_model() -> None:
    schema = {"type": "object", "properties": {"x": {"type": "string"}}}
    nested = {"type": "json_schema", "json_schema": {"name": "thing", "schema": schema}}
    flat = {"type": "json_schema", "name": "thing", "schema": schema}
    for ask in (
        chat([user()], response_format=nested),
        respond([user()], text={"format": flat}),
    ):
        assert ask.options.rules.answer == AnswerFormat.json_schema(schema)
        content = ask.conversation.messages[1].content[0]
        assert isinstance(content, DeveloperContent)
        (told,) = content.response_formats
        assert (told.name, told.schema) == ("thing", schema)
    loose = chat([user()], response_format={"type": "json_object"})
    assert loose.options.rules.answer == AnswerFormat.json_object()
    assert chat([user()], response_format={"type": "text"}).options.rules.answer is None


@pytest.mark.parametrize(
    ("effort", "told", "limit"),
    [("low", "low", None), ("high", "high", None), ("minimal", "low", None), ("none", "low", 0)],
)
def test_efforts(effort: str, told: str, limit: int | None) -> None:
    for ask in (
        chat([user()], reasoning_effort=effort),
        respond([user()], reasoning={"effort": effort}),
    ):
        content = ask.conversation.messages[0].content[0]
        assert isinstance(content, SystemContent)
        assert content.reasoning_effort == told
        assert ask.options.rules.maximum_thinking_tokens == limit


def test_sampling_and_limits() -> None:
    ask = chat(
        [user()],
        temperature=0.5,
        top_p=0,
        seed=-1,
        presence_penalty=1,
        frequency_penalty=-1,
        max_tokens=5,
        max_completion_tokens=7,
        n=3,
        stop="x",
        logprobs=True,
        top_logprobs=2,
    )
    sampling = ask.options.sampling
    assert (sampling.temperature, sampling.seed) == (0.5, 2**64 - 1)
    assert 0 < sampling.top_p < 1e-6
    assert (sampling.presence_penalty, sampling.frequency_penalty) == (1, -1)
    assert (ask.options.maximum_tokens, ask.choices, ask.stop) == (7, 3, ("x",))
    assert ask.options.top_logprobs == 2
    assert chat([user()]).options.top_logprobs is None


def test_calls_in_parallel_are_told_one_after_the_other() -> None:
    calls = [
        {
            "id": f"c{i}",
            "type": "function",
            "function": {"name": "add", "arguments": f'{{"a":{i}}}'},
        }
        for i in (1, 2)
    ]
    said = [
        user(),
        {"role": "assistant", "content": "Both.", "reasoning_content": "Hm.", "tool_calls": calls},
        {"role": "tool", "tool_call_id": "c2", "content": "two"},
        {"role": "tool", "tool_call_id": "c1", "content": [{"type": "text", "text": "one"}]},
    ]
    items = [
        user(),
        {"type": "reasoning", "content": [{"type": "reasoning_text", "text": "Hm."}]},
        {"role": "assistant", "content": "Both.", "phase": "commentary"},
        *({"type": "function_call", "call_id": f"c{i}", "name": "add", "arguments": f'{{"a":{i}}}'}
          for i in (1, 2)),
        {"type": "function_call_output", "call_id": "c2", "output": "two"},
        {
            "type": "function_call_output",
            "call_id": "c1",
            "output": [{"type": "input_text", "text": "one"}],
        },
    ]  # fmt: skip
    for ask in (chat(said), respond(items)):
        assert ask.conversation.messages[2:] == (
            Message.assistant("Hm.", "analysis"),
            Message.assistant("Both.", "commentary"),
            call("add", '{"a":1}'),
            Message.tool("functions.add", "one"),
            call("add", '{"a":2}'),
            Message.tool("functions.add", "two"),
        )


def test_what_builtin_tools_did_is_told_in_the_models_way() -> None:
    items = [
        {"type": "web_search_call", "action": {"type": "search", "query": "cats"}},
        {
            "type": "code_interpreter_call",
            "code": "1+1",
            "outputs": [{"type": "logs", "logs": "2"}],
        },
        {"type": "mcp_call", "id": "m", "name": "look", "arguments": "{}", "output": "seen"},
        {"type": "custom_tool_call", "call_id": "p", "name": "patch", "input": "text"},
        {"type": "custom_tool_call_output", "call_id": "p", "output": "done"},
    ]
    assert respond(items).conversation.messages[1:] == (
        Message.assistant('{"query": "cats"}', "analysis", "browser.search", "code"),
        Message.assistant("1+1", "analysis", "python", "code"),
        Message.tool("python", "2", "analysis"),
        call("look", "{}"),
        Message.tool("functions.look", "seen"),
        call("patch", '{"input": "text"}'),
        Message.tool("functions.patch", "done"),
    )


@pytest.mark.parametrize(
    ("message", "param"),
    [
        ({"role": "user", "content": [{"type": "image_url", "image_url": {}}]}, "[0].content[0]"),
        ({"role": "tool", "tool_call_id": "none", "content": "x"}, "[0].tool_call_id"),
    ],
)
def test_messages_that_cannot_be_read(message: dict[str, Any], param: str) -> None:
    with pytest.raises(ApiError) as caught:
        chat([message])
    assert caught.value.param == f"messages{param}"


@pytest.mark.parametrize(
    ("item", "param"),
    [
        ({"role": "user", "content": [{"type": "input_image"}]}, "[0].content[0]"),
        ({"type": "function_call_output", "call_id": "none", "output": "x"}, "[0].call_id"),
        ({"type": "function_call", "call_id": "c", "name": "two words"}, "[0]"),
        ({"type": "what"}, "[0].type"),
        ({"role": "judge", "content": "x"}, "[0].role"),
        ("text", "[0]"),
    ],
)
def test_items_that_cannot_be_read(item: Any, param: str) -> None:
    with pytest.raises(ApiError) as caught:
        respond([item])
    assert caught.value.param == f"input{param}"


def test_a_sealed_thought_comes_back() -> None:
    assert unsealed(sealed("Thöught")) == "Thöught"
    assert unsealed("not ours!") == unsealed(None) == ""
    item = {"type": "reasoning", "summary": [], "encrypted_content": sealed("Hm.")}
    assert respond([item]).conversation.messages[1] == Message.assistant("Hm.", "analysis")


def test_a_remembered_turn_replaces_what_is_repeated_of_it() -> None:
    memory = TurnMemory(1)
    turn = [Message.assistant("Long thought.", "analysis"), call("add", '{"a":1}')]
    memory.keep("c1", turn)
    question = Said(Message.user("?"))
    spaced = Said(call("add", '{ "a": 1 }'), "c1")
    assert recalled([question, spaced], memory)[1:] == turn
    assert recalled([question, Said(turn[0]), spaced], memory)[1:] == turn
    changed = Said(call("add", '{"a":2}'), "c1")
    assert recalled([question, changed], memory)[1:] == [changed.message]
    other = Said(Message.assistant("Other thought.", "analysis"))
    assert recalled([question, other, spaced], memory)[1:] == [other.message, turn[-1]]
    memory.keep("c2", turn)
    assert recalled([spaced], memory) == [spaced.message]


def test_every_item_is_shown_with_type_and_id() -> None:
    (item,) = normal_items("Hello")
    assert item["type"] == "message"
    assert item["id"].startswith("msg_")
    assert item["content"] == [{"type": "input_text", "text": "Hello"}]
    assert read_items([item], [])[0].message.author.role is Role.USER
