"""Messages: the JSON form is openai-harmony's, and bad input is refused by its path."""

from __future__ import annotations

from typing import Any

import openai_harmony as oracle_api
import pytest
from harmony_cases import DIALOGUES, conversations, plain, theirs

from motet.harmony import (
    Conversation,
    DeveloperContent,
    HarmonyError,
    Message,
    ReasoningEffort,
    ResponseFormat,
    Role,
    SystemContent,
    TextContent,
    ToolDescription,
    ToolNamespace,
    browser_tool,
    o200k_harmony,
    parse_tokens,
    python_tool,
    render_message,
)


def test_json_is_that_of_openai_harmony_and_comes_back() -> None:
    for conversation in conversations([DIALOGUES[-1], DIALOGUES[4]]):
        other = theirs(conversation)
        systems = [m.content[0] for m in conversation.messages if m.author.role is Role.SYSTEM]
        if all(isinstance(s, SystemContent) and s.reasoning_effort for s in systems):
            assert conversation.to_json() == plain(other)
        assert Conversation.from_json(conversation.to_json()) == conversation
        back = oracle_api.Conversation.from_json(other.to_json())
        assert Conversation.from_json(plain(back)).to_json() == plain(back)


def test_a_default_taken_away_survives_json() -> None:
    message = Message.system(SystemContent(None, None, None))
    assert Message.from_json(message.to_json()) == message
    written = {"role": "system", "content": [{"type": "system_content"}]}
    assert Message.from_json(written) == Message.system()


def test_a_conversation_knows_its_tools() -> None:
    add = ToolDescription("add", "Adds.")
    conversation = Conversation(
        (
            Message.system(SystemContent(tools=(browser_tool(), python_tool()))),
            Message.developer(DeveloperContent(tools=(ToolNamespace.functions([add]),))),
            Message.developer("Verbatim."),
        )
    )
    browser = {"browser.search", "browser.open", "browser.find"}
    assert conversation.tools == {"functions.add", "python", *browser}


def test_a_verbatim_system_message_may_be_empty() -> None:
    assert Message.system("").content == (TextContent(""),)


def test_a_string_is_one_text() -> None:
    assert Message.from_json({"role": "user", "content": "Hi"}) == Message.user("Hi")


def test_effort_is_read_in_any_case() -> None:
    for effort in ("low", "Low", "LOW"):
        content = {"type": "system_content", "reasoning_effort": effort, "channel_config": None}
        read = Message.from_json({"role": "system", "content": [content]})
        expected = SystemContent(reasoning_effort=ReasoningEffort.LOW, valid_channels=())
        assert read == Message.system(expected)


def test_response_formats_are_part_of_the_json() -> None:
    formats = (ResponseFormat("list", {"type": "array"}, "All."), ResponseFormat("any", {}))
    message = Message.developer(DeveloperContent(response_formats=formats))
    assert Message.from_json(message.to_json()) == message


def test_exact_tokens_are_neither_compared_nor_written() -> None:
    words = o200k_harmony()
    tokens = [words.channel, *words.encode("final"), words.message, *words.encode("Hi")]
    (message,) = parse_tokens(tokens, words).messages
    assert message.tokens == (*words.encode("assistant"), *tokens)
    assert message == Message.assistant("Hi")
    assert "tokens" not in message.to_json()


def test_builtin_tools_are_those_of_openai_harmony() -> None:
    for tool, other in (
        (browser_tool(), oracle_api.SystemContent().with_browser_tool()),
        (python_tool(), oracle_api.SystemContent().with_python_tool()),
    ):
        assert {tool.name: tool.to_json()} == other.to_dict()["tools"]


def nested(depth: int) -> dict[str, Any]:
    schema: dict[str, Any] = {}
    for _ in range(depth):
        schema = {"items": schema}
    return schema


def developer(**fields: object) -> dict[str, object]:
    return {"role": "developer", "content": [{"type": "developer_content", **fields}]}


def system(**fields: object) -> dict[str, object]:
    return {"role": "system", "content": [{"type": "system_content", **fields}]}


def functions(**fields: object) -> dict[str, object]:
    return developer(tools={"functions": {"name": "functions", "tools": [fields]}})


CONTENT = "message.content[0]"
TOOL = f"{CONTENT}.tools.functions.tools[0]"
WRONG: list[tuple[object, str]] = [
    ([], "message must be an object."),
    ({}, "message.role is missing."),
    ({"role": 1, "content": ""}, "message.role must be a string."),
    ({"role": "boss", "content": ""}, "message.role 'boss' is none of system, developer,"),
    ({"role": "user"}, "message.content is missing."),
    ({"role": "user", "content": 1}, "message.content must be a list."),
    ({"role": "user", "content": ["x"]}, f"{CONTENT} must be an object."),
    ({"role": "user", "content": [{"text": "x"}]}, f"{CONTENT}.type is missing."),
    ({"role": "user", "content": [{"type": "image"}]}, f"{CONTENT}.type 'image' is none of"),
    ({"role": "user", "content": [{"type": "text", "text": None}]}, f"{CONTENT}.text must be a"),
    ({"role": "user", "content": "", "chanel": "x"}, "message.chanel is not a known field."),
    ({"role": "user", "content": "", "channel": "a b"}, "message: The channel 'a b' must be one"),
    ({"role": "tool", "content": ""}, "message: The author of a tool's message needs a name."),
    ({"role": "user", "content": [{"type": "system_content"}]}, "message: The system content is"),
    (system(reasoning_effort="none"), f"{CONTENT}.reasoning_effort 'none' is none of low, medium"),
    (system(model_identity=["x"]), f"{CONTENT}.model_identity must be a string."),
    (system(channel_config={"valid_channels": [1]}), f"{CONTENT}.channel_config.valid_channels[0]"),
    (developer(tools={"a": {"name": "b", "tools": []}}), f"{CONTENT}.tools.a.name must be 'a'"),
    (developer(tools=[]), f"{CONTENT}.tools must be an object."),
    (functions(description=""), f"{TOOL}.name is missing."),
    (functions(name="f", description=None), f"{TOOL}.description must be a string, not null."),
    (functions(name="f", description="", strict=True), f"{TOOL}.strict is not a known field."),
    (functions(name="f", description="", parameters=nested(99)), f"{TOOL}.parameters nests deeper"),
]


@pytest.mark.parametrize(("value", "complaint"), WRONG, ids=lambda value: str(value)[:40])
def test_bad_input_is_refused_by_its_path(value: object, complaint: str) -> None:
    with pytest.raises(HarmonyError) as refused:
        Message.from_json(value)
    assert str(refused.value).startswith(complaint)


def test_the_path_names_the_message() -> None:
    messages = [{"role": "user", "content": ""}, {"role": "user", "content": 5}]
    with pytest.raises(HarmonyError, match=r"conversation\.messages\[1\]\.content must be a list"):
        Conversation.from_json({"messages": messages})
    with pytest.raises(HarmonyError, match=r"conversation\.messages is missing"):
        Conversation.from_json({})


def test_a_namespace_stands_in_a_message_once() -> None:
    with pytest.raises(HarmonyError, match="'browser' is there twice"):
        SystemContent(tools=(browser_tool(), browser_tool()))


def test_a_schema_as_deep_as_any_in_use_is_rendered() -> None:
    parameters = nested(60)
    message = Message.from_json(functions(name="f", description="", parameters=parameters))
    assert render_message(message, o200k_harmony())
