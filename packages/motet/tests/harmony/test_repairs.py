"""The repair table: one or more cases for each kind, and docs/harmony.md lists them all."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

import openai_harmony as oracle_api
import pytest
from harmony_cases import ids, plain
from parser_fuzz import check

from motet.harmony import Message, RepairKind, Role, o200k_harmony, parse_tokens

WORDS = o200k_harmony()
DOCUMENT = Path(__file__).parents[4] / "docs" / "harmony.md"
TESTS = Path(__file__).parent

FINAL = Message.assistant("Hi")
THOUGHT = Message.assistant("Hm", "analysis")
CALL = Message.assistant("{}", "commentary", "functions.f", "<|constrain|>json")


class Case(NamedTuple):
    """What a model wrote, the messages it is read as, and the repairs noted, details after `:`."""

    written: str
    messages: list[Message]
    repairs: list[str]
    role: Role | None = Role.ASSISTANT
    tools: frozenset[str] | None = None


def call(recipient: str, content_type: str | None = None, channel: str = "commentary") -> Message:
    return Message.assistant("{}", channel, recipient, content_type)


CASES = {
    # Between messages
    "text where a start is expected": Case(
        "<|channel|>analysis<|message|>Hm<|end|>The answer is 5.<|return|>",
        [THOUGHT, Message.assistant("The answer is 5.")],
        ["missing_start", "missing_role", "missing_channel", "missing_message"],
    ),
    "text that begins with a tool's name": Case(
        "<|channel|>analysis<|message|>Hm<|end|>python is a language.<|return|>",
        [THOUGHT, Message.assistant("python is a language.")],
        ["missing_start", "missing_role", "missing_channel", "missing_message"],
    ),
    "text that addresses something": Case(
        "<|channel|>analysis<|message|>Hm<|end|>Now set it to=5.<|return|>",
        [THOUGHT, Message.assistant("Now set it to=5.")],
        ["missing_start", "missing_role", "missing_channel", "missing_message"],
    ),
    "a header without start": Case(
        "<|channel|>analysis<|message|>Hm<|end|>assistant<|channel|>final<|message|>Hi<|return|>",
        [THOUGHT, FINAL],
        ["missing_start"],
    ),
    "a channel where a start is expected": Case(
        "<|channel|>analysis<|message|>Hm<|end|><|channel|>final<|message|>Hi<|return|>",
        [THOUGHT, FINAL],
        ["missing_start"],
    ),
    "space between messages": Case(
        "<|channel|>analysis<|message|>Hm<|end|>\n<|start|>assistant<|channel|>final<|message|>Hi"
        "<|return|>",
        [THOUGHT, FINAL],
        ["stray_space:\n"],
    ),
    "a call and then an end": Case(
        "<|channel|>commentary to=functions.f <|constrain|>json<|message|>{}<|call|><|end|>",
        [CALL],
        ["stray_terminator:<|end|>"],
    ),
    # The speaker
    "the start again": Case(
        "<|start|>assistant<|channel|>final<|message|>Hi<|return|>",
        [FINAL],
        ["repeated_start:<|start|>assistant"],
    ),
    "the start twice": Case(
        "<|start|>assistant<|start|>assistant<|channel|>final<|message|>Hi<|return|>",
        [FINAL],
        ["repeated_start:<|start|>assistant"],
        role=None,
    ),
    "a start after an unused channel": Case(
        "<|channel|>analysis<|start|>assistant<|channel|>final<|message|>Hi<|return|>",
        [FINAL],
        ["repeated_start:<|start|>assistant<|channel|>analysis"],
    ),
    "a start after a text without message token": Case(
        "<|channel|>analysis Let me see.<|start|>assistant<|channel|>final<|message|>Hi<|return|>",
        [Message.assistant("Let me see.", "analysis"), FINAL],
        ["missing_message", "missing_end"],
    ),
    "the role again": Case(
        " assistant<|channel|>final<|message|>Hi<|return|>", [FINAL], ["repeated_role:assistant"]
    ),
    "no role": Case(
        "<|start|><|channel|>final<|message|>Hi<|return|>", [FINAL], ["missing_role"], role=None
    ),
    "an unknown role": Case(
        "<|start|>bot<|channel|>final<|message|>Hi<|return|>",
        [FINAL],
        ["unknown_role:bot"],
        role=None,
    ),
    "a role with an empty name": Case(
        "<|start|>user:<|message|>Hi<|end|>",
        [Message.user("Hi")],
        ["unknown_role::"],
        role=None,
    ),
    "a tool's answer made up": Case(
        "<|channel|>commentary to=functions.f <|constrain|>json<|message|>{}<|call|>"
        "<|start|>functions.f to=assistant<|channel|>commentary<|message|>1<|end|>",
        [CALL, Message.assistant("1", "commentary")],
        ["foreign_role:functions.f to=assistant <|channel|>commentary"],
    ),
    "a recipient that has grown onto the role": Case(
        "to=functions.f<|channel|>commentary <|constrain|>json<|message|>{}<|call|>",
        [CALL],
        ["missing_space"],
    ),
    "a recipient that has grown onto the role, after a start": Case(
        "<|start|>assistantto=functions.f<|channel|>commentary <|constrain|>json<|message|>{}"
        "<|call|>",
        [CALL],
        ["missing_space"],
        role=None,
    ),
    "a result to nobody": Case(
        "<|start|>functions.f<|channel|>commentary<|message|>1<|end|>",
        [Message.tool("functions.f", "1")],
        ["missing_recipient"],
        role=None,
    ),
    "a user made up": Case(
        "<|channel|>final<|message|>Hi<|end|><|start|>user<|message|>Bye<|end|>",
        [FINAL, Message.assistant("Bye", "commentary")],
        ["foreign_role:user"],
    ),
    "a system made up": Case(
        "<|channel|>final<|message|>Hi<|end|><|start|>system<|message|>Obey<|end|>",
        [FINAL, Message.assistant("Obey", "commentary")],
        ["foreign_role:system"],
    ),
    # The channel
    "no channel": Case("<|message|>Hi<|return|>", [FINAL], ["missing_channel"]),
    "a call without channel": Case(
        " to=functions.f <|constrain|>json<|message|>{}<|call|>", [CALL], ["missing_channel"]
    ),
    "a builtin call without channel": Case(
        " to=python code<|message|>{}<|call|>",
        [call("python", "code", "analysis")],
        ["missing_channel"],
    ),
    "a bare final": Case(" final<|message|>Hi<|return|>", [FINAL], ["missing_channel_mark"]),
    "a channel that has grown onto the role": Case(
        "<|start|>assistantfinal<|message|>Hi<|return|>",
        [FINAL],
        ["missing_channel_mark"],
        role=None,
    ),
    "a call that has grown onto the role": Case(
        "<|start|>assistantcommentary to=functions.f <|constrain|>json<|message|>{}<|call|>",
        [CALL],
        ["missing_channel_mark"],
        role=None,
    ),
    "two channels": Case(
        "<|channel|>commentary<|channel|>analysis<|message|>Hm<|end|>",
        [THOUGHT],
        ["repeated_channel:<|channel|>commentary"],
    ),
    "the channel again behind the tool's name": Case(
        "<|channel|>commentary to=functions.f<|channel|>commentary <|constrain|>json<|message|>{}"
        "<|call|>",
        [CALL],
        ["repeated_channel:<|channel|>commentary"],
    ),
    "a channel in other letters": Case(
        "<|channel|>Final<|message|>Hi<|return|>", [FINAL], ["unknown_channel:Final"]
    ),
    "a channel behind a space": Case(
        "<|channel|> final<|message|>Hi<|return|>", [FINAL], ["unknown_channel"]
    ),
    "a channel that has grown onto the content type": Case(
        "<|channel|>finaljson<|message|>Hi<|return|>",
        [Message.assistant("Hi", content_type="json")],
        ["unknown_channel"],
    ),
    "a channel nobody knows": Case(
        "<|channel|>reflection<|message|>Hi<|end|>",
        [Message.assistant("Hi", "commentary")],
        ["unknown_channel:reflection"],
    ),
    # The recipient
    "a recipient without to": Case(
        "<|channel|>commentary functions.f <|constrain|>json<|message|>{}<|call|>",
        [CALL],
        ["missing_to"],
    ),
    "two recipients": Case(
        "<|channel|>commentary to=functions.g to=functions.f<|message|>{}<|call|>",
        [call("functions.f")],
        ["repeated_recipient:to=functions.g"],
    ),
    "a recipient without namespace, tools not known": Case(
        "<|channel|>commentary to=f json<|message|>{}<|call|>",
        [call("f", "json")],
        ["unknown_recipient"],
    ),
    "a recipient without namespace, tools known": Case(
        "<|channel|>commentary to=f json<|message|>{}<|call|>",
        [call("functions.f", "json")],
        ["unknown_recipient:f"],
        tools=frozenset({"functions.f"}),
    ),
    "a function named like a builtin tool": Case(
        "<|channel|>commentary to=python code<|message|>{}<|call|>",
        [call("functions.python", "code")],
        ["unknown_recipient:python"],
        tools=frozenset({"functions.python"}),
    ),
    "a builtin tool called as a function": Case(
        "<|channel|>commentary to=functions.browser.open<|message|>{}<|call|>",
        [call("browser.open")],
        ["unknown_recipient:functions.browser.open"],
        tools=frozenset({"browser.open"}),
    ),
    "commentary to the assistant, then analysis": Case(
        "<|channel|>commentary to=assistant<|channel|>analysis<|message|>Hm<|end|>",
        [THOUGHT],
        ["repeated_channel:<|channel|>commentary", "recipient_is_no_tool:to=assistant"],
    ),
    "an answer to the user": Case(
        "<|channel|>final to=user<|message|>Hi<|return|>", [FINAL], ["recipient_is_no_tool:to=user"]
    ),
    "a function called in the analysis": Case(
        "<|channel|>analysis to=functions.f <|constrain|>json<|message|>{}<|call|>",
        [CALL],
        ["call_on_wrong_channel:analysis"],
    ),
    "a function called in the answer": Case(
        "<|channel|>final to=functions.f <|constrain|>json<|message|>{}<|call|>",
        [CALL],
        ["call_on_wrong_channel:final"],
    ),
    # What is left
    "a word that is no name in the header": Case(
        "<|channel|>analysis assistant code?<|message|>Hm<|end|>",
        [Message.assistant("assistant code?\nHm", "analysis")],
        ["text_in_header"],
    ),
    "a format without name": Case(
        "<|channel|>final <|constrain|><|message|>Hi<|return|>",
        [FINAL],
        ["header_leftover:<|constrain|>"],
    ),
    "a to without name": Case(
        "<|channel|>final to=<|message|>Hi<|return|>", [FINAL], ["header_leftover:to="]
    ),
    "a name in the header": Case(
        "<|channel|>analysis assistant<|message|>Hm<|end|>",
        [THOUGHT],
        ["header_leftover:assistant"],
    ),
    "a tool's name in the header of an answer": Case(
        "<|channel|>final python<|message|>Hi<|return|>", [FINAL], ["header_leftover:python"]
    ),
    "punctuation in the header": Case(
        "<|channel|>commentary? to=functions.f <|constrain|>json<|message|>{}<|call|>",
        [CALL],
        ["unknown_channel", "header_leftover:?"],
    ),
    "two formats": Case(
        "<|channel|>commentary to=functions.f json <|constrain|>json<|message|>{}<|call|>",
        [CALL],
        ["header_leftover:json"],
    ),
    "a format nobody knows": Case(
        "<|channel|>commentary to=functions.f <|constrain|>jsonjson<|message|>{}<|call|>",
        [call("functions.f", "<|constrain|>jsonjson")],
        ["unknown_format"],
    ),
    "a format nobody knows, without constrain": Case(
        "<|channel|>commentary to=functions.f javascript<|message|>{}<|call|>",
        [call("functions.f", "javascript")],
        ["unknown_format"],
    ),
    "a format nobody knows and nobody called": Case(
        "<|channel|>commentary to=functions.f javascript to=user<|message|>Hi<|end|>",
        [Message.assistant("Hi", "commentary")],
        [
            "unknown_format",
            "repeated_recipient:to=functions.f",
            "recipient_is_no_tool:to=user",
            "header_leftover:javascript",
        ],
    ),
    # The text before `<|message|>`
    "an answer in the header": Case(
        "<|channel|>final The answer is 42<|message|><|return|>",
        [Message.assistant("The answer is 42")],
        ["text_in_header"],
    ),
    "a number in the header": Case(
        "<|channel|>final 42<|message|><|return|>", [Message.assistant("42")], ["text_in_header"]
    ),
    "a word in the header": Case(
        "<|channel|>final Yes<|message|>, it is.<|return|>",
        [Message.assistant("Yes\n, it is.")],
        ["text_in_header"],
    ),
    "an answer that begins in the header": Case(
        "<|channel|>analysis We should think<|message|>Hm<|end|>",
        [Message.assistant("We should think\nHm", "analysis")],
        ["text_in_header"],
    ),
    "an answer that begins in the header, with its space": Case(
        "<|channel|>final The answer is<|message|> 42.<|return|>",
        [Message.assistant("The answer is 42.")],
        ["text_in_header"],
    ),
    "an answer grown onto the channel": Case(
        "<|channel|>finalThe answer is 42<|message|><|return|>",
        [Message.assistant("The answer is 42")],
        ["unknown_channel", "text_in_header"],
    ),
    "an answer instead of a channel": Case(
        "<|channel|>The answer is 42<|message|><|return|>",
        [Message.assistant("The answer is 42")],
        ["header_leftover:<|channel|>", "missing_channel", "text_in_header"],
    ),
    "an answer instead of a format": Case(
        "<|channel|>final <|constrain|>The answer is 42<|message|><|return|>",
        [Message.assistant("The answer is 42")],
        ["header_leftover:<|constrain|>", "text_in_header"],
    ),
    "an answer instead of a role": Case(
        "<|channel|>analysis<|message|>Hm<|end|><|start|>The answer is 42<|message|><|return|>",
        [THOUGHT, Message.assistant("The answer is 42")],
        ["missing_role", "missing_channel", "text_in_header"],
    ),
    "an answer instead of a name": Case(
        ":Hello there<|message|><|return|>",
        [Message.assistant(":Hello there")],
        ["missing_channel", "text_in_header"],
    ),
    "an answer that addresses something, in the header": Case(
        "<|channel|>final Now set it to=5 please<|message|><|return|>",
        [Message.assistant("Now set it to=5 please")],
        ["text_in_header"],
    ),
    "a text in the header, then a channel": Case(
        "<|channel|>analysis Let me see<|channel|>final<|message|>Hi<|return|>",
        [Message.assistant("Let me see", "analysis"), FINAL],
        ["missing_message", "missing_end", "missing_start"],
    ),
    "arguments in the header": Case(
        '<|channel|>commentary to=functions.f {"a": 1}<|message|><|call|>',
        [Message.assistant('{"a": 1}', "commentary", "functions.f")],
        ["text_in_header"],
    ),
    "arguments grown onto the recipient": Case(
        '<|channel|>commentary to=functions.f{"a": 1}<|message|><|call|>',
        [Message.assistant('{"a": 1}', "commentary", "functions.f")],
        ["text_in_header"],
    ),
    "arguments grown onto the format": Case(
        '<|channel|>commentary to=functions.f <|constrain|>json{"a": 1}<|message|><|call|>',
        [Message.assistant('{"a": 1}', "commentary", "functions.f", "<|constrain|>json")],
        ["text_in_header"],
    ),
    "arguments behind a tool's name": Case(
        '<|channel|>commentary functions.f {"a": 1}<|message|><|call|>',
        [Message.assistant('{"a": 1}', "commentary", "functions.f")],
        ["missing_to", "text_in_header"],
    ),
    "code in the header": Case(
        "<|channel|>analysis to=python print(1)<|message|><|call|>",
        [Message.assistant("print(1)", "analysis", "python")],
        ["text_in_header"],
    ),
    "a sentence in the header of a call": Case(
        "<|channel|>commentary I will look. to=functions.f <|constrain|>json<|message|>{}<|call|>",
        [Message.assistant("I will look. ", "commentary"), CALL],
        ["text_in_header"],
    ),
    "a sentence behind the recipient of a call": Case(
        "<|channel|>commentary to=functions.f I will look.<|message|>{}<|call|>",
        [Message.assistant("I will look.", "commentary"), call("functions.f")],
        ["text_in_header"],
    ),
    # The text without `<|message|>`
    "text behind the channel": Case(
        "<|channel|>final The answer is 5.<|return|>",
        [Message.assistant("The answer is 5.")],
        ["missing_message"],
    ),
    "text that has grown onto the channel": Case(
        "<|channel|>analysisWe need to think.<|end|>",
        [Message.assistant("We need to think.", "analysis")],
        ["unknown_channel", "missing_message"],
    ),
    "arguments behind the format": Case(
        '<|channel|>commentary to=functions.f <|constrain|>json{"a": 1}<|call|>',
        [Message.assistant('{"a": 1}', "commentary", "functions.f", "<|constrain|>json")],
        ["missing_message"],
    ),
    "a call without text": Case(
        "<|channel|>commentary to=functions.f<|call|>",
        [Message.assistant("", "commentary", "functions.f")],
        ["missing_message"],
    ),
    "text alone": Case(
        "Hello,\n\nworld!",
        [Message.assistant("Hello,\n\nworld!")],
        ["missing_channel", "missing_message"],
    ),
    "one word alone": Case(
        "579", [Message.assistant("579")], ["missing_channel", "missing_message"]
    ),
    "a long text alone": Case(
        "Hello" + " world" * 500,
        [Message.assistant("Hello" + " world" * 500)],
        ["missing_channel", "missing_message"],
    ),
    "nothing between start and end": Case(
        "<|start|>assistant<|end|><|start|>assistant<|channel|>final<|message|>Hi<|return|>",
        [FINAL],
        ["empty_message:<|start|>assistant<|end|>"],
        role=None,
    ),
    "nothing at all": Case("", [], ["cut_in_header:<|start|>assistant"]),
    "cut in the channel": Case(
        "<|channel|>comment", [], ["cut_in_header:<|start|>assistant<|channel|>comment"]
    ),
    "cut in the recipient": Case(
        " to=functions.get_wea", [], ["cut_in_header:<|start|>assistant to=functions.get_wea"]
    ),
    "cut in a text behind the channel": Case(
        "<|channel|>final The answer is",
        [Message.assistant("The answer is")],
        ["missing_message"],
    ),
    "cut behind the first word of a text": Case(
        "<|channel|>final The", [Message.assistant("The")], ["missing_message"]
    ),
    "cut in the next role": Case(
        "<|channel|>analysis<|message|>Hm<|end|><|start|>assis",
        [THOUGHT],
        ["cut_in_header:<|start|>assis"],
    ),
    "the next message without end": Case(
        "<|channel|>analysis<|message|>Hm<|start|>assistant<|channel|>final<|message|>Hi<|return|>",
        [THOUGHT, FINAL],
        ["missing_end"],
    ),
    "the next channel without end and start": Case(
        "<|channel|>analysis<|message|>Hm<|channel|>final<|message|>Hi<|return|>",
        [THOUGHT, FINAL],
        ["missing_end", "missing_start"],
    ),
    "the end of all text": Case(
        "<|channel|>final<|message|>Hi<|endoftext|>", [FINAL], ["missing_end:<|endoftext|>"]
    ),
    "the next message without the end of a call": Case(
        "<|channel|>commentary to=functions.f <|constrain|>json<|message|>{}<|start|>assistant"
        "<|channel|>final<|message|>Hi<|return|>",
        [CALL, FINAL],
        ["missing_end"],
    ),
    "a call ended as a message": Case(
        "<|channel|>commentary to=functions.f <|constrain|>json<|message|>{}<|end|>",
        [CALL],
        ["wrong_terminator:<|end|>"],
    ),
    "a message ended as a call": Case(
        "<|channel|>final<|message|>Hi<|call|>", [FINAL], ["wrong_terminator:<|call|>"]
    ),
    # Tokens that stand for nothing
    "the message token again": Case(
        "<|channel|>final<|message|><|message|>H<|constrain|>i<|return|>",
        [FINAL],
        ["stray_special:<|message|>", "stray_special:<|constrain|>"],
    ),
    "the beginning of all text": Case(
        "<|startoftext|><|channel|>final<|message|>Hi<|return|>",
        [FINAL],
        ["stray_special:<|startoftext|>"],
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_a_departure_is_read_as_it_was_meant(name: str) -> None:
    case = CASES[name]
    result = parse_tokens(ids(WORDS, case.written), WORDS, case.role, tools=case.tools)
    assert list(result.messages) == case.messages
    check(ids(WORDS, case.written), WORDS, case.role, case.tools)
    noted = [f"{repair.kind}:{repair.detail}".removesuffix(":") for repair in result.repairs]
    assert noted == [repair.removesuffix(":") for repair in case.repairs]
    assert not result.is_well_formed


@pytest.mark.parametrize("place", [0, 2, 4])
def test_reserved_and_unknown_tokens_are_left_out(place: int) -> None:
    tokens = ids(WORDS, "<|channel|>final<|message|>Hi<|return|>")
    for token, noted in (
        (200_000, (RepairKind.STRAY_SPECIAL, "<|reserved_200000|>")),
        (999_999, (RepairKind.UNKNOWN_TOKEN, "999999")),
        (-1, (RepairKind.UNKNOWN_TOKEN, "-1")),
    ):
        result = parse_tokens([*tokens[:place], token, *tokens[place:]], WORDS)
        assert list(result.messages) == [FINAL]
        kinds = {(repair.kind, repair.detail): repair.position for repair in result.repairs}
        assert kinds[noted] == place


def test_bytes_that_are_no_text_are_replaced_and_noted() -> None:
    def wrong_bytes(*values: int) -> list[int]:
        tokens = {WORDS.token_bytes(token): token for token in range(256)}
        return [tokens[bytes([value])] for value in values]

    header = ids(WORDS, "<|channel|>final<|message|>")
    broken = [*header, *wrong_bytes(0xF0, 0x9F), *WORDS.encode("Hi"), WORDS.return_]
    result = parse_tokens(broken, WORDS)
    assert [message.text for message in result.messages] == ["\ufffdHi"]
    assert [(r.kind, r.detail) for r in result.repairs] == [(RepairKind.INVALID_UTF8, "f09f")]
    named = [WORDS.channel, *wrong_bytes(0xFF), *ids(WORDS, "x<|message|>Hi<|end|>")]
    result = parse_tokens(named, WORDS)
    assert [message.text for message in result.messages] == ["\ufffdx\nHi"]
    assert (RepairKind.INVALID_UTF8, "ff") in [(r.kind, r.detail) for r in result.repairs]


def test_literal_control_text_is_cut_from_a_tools_name() -> None:
    name = WORDS.encode(" to=functions.f<|channel|>commentary")
    tokens = [
        WORDS.channel,
        *WORDS.encode("commentary"),
        *name,
        *ids(WORDS, "<|message|>{}<|call|>"),
    ]
    result = parse_tokens(tokens, WORDS)
    assert list(result.messages) == [call("functions.f")]
    (repair,) = result.repairs
    assert (repair.kind, repair.detail) == (
        RepairKind.HEADER_LEFTOVER,
        "<|channel|>commentary",
    )


def test_the_repairs_of_a_message_cost_it_its_exact_tokens_only() -> None:
    tokens = ids(WORDS, CASES["the next message without end"].written)
    thought, answer = parse_tokens(tokens, WORDS).messages
    assert thought.tokens is None
    assert answer.tokens is not None


def test_every_kind_has_a_case_and_a_row_in_the_document() -> None:
    noted = {repair.partition(":")[0] for case in CASES.values() for repair in case.repairs}
    tested_alone = {RepairKind.INVALID_UTF8, RepairKind.UNKNOWN_TOKEN}
    assert noted | tested_alone == set(RepairKind)
    text = DOCUMENT.read_text(encoding="utf-8")
    assert re.findall(r"^\| `([a-z_0-9]+)` \|", text, re.MULTILINE) == list(RepairKind)


def test_every_test_the_document_names_exists() -> None:
    sources = "".join(path.read_text(encoding="utf-8") for path in TESTS.glob("test_*.py"))
    text = DOCUMENT.read_text(encoding="utf-8")
    named = re.findall(r"`([^`<]+)` \|$", text, re.MULTILINE)
    assert len(named) > 50
    for name in named:
        assert f"def {name}(" in sources or f'"{name}": ' in sources, name


def test_openai_harmony_reads_the_listed_shapes_otherwise(
    harmony_oracle: oracle_api.HarmonyEncoding,
) -> None:
    text = DOCUMENT.read_text(encoding="utf-8").partition("### Shapes that stop")[2]
    names = re.findall(r"`([^`<]+)` \|$", text, re.MULTILINE)
    assert len(names) > 30
    for name in names:
        case = CASES[name]
        role = oracle_api.Role(case.role.value) if case.role else None
        try:
            read = harmony_oracle.parse_messages_from_completion_tokens(
                ids(WORDS, case.written), role
            )
        except oracle_api.HarmonyError:
            continue
        assert [plain(message) for message in read] != [m.to_json() for m in case.messages], name
