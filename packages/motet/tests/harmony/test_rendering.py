"""Rendering: token-identical to openai-harmony on a matrix; retention; exact tokens; injection."""

from __future__ import annotations

import openai_harmony as oracle_api
import pytest
from harmony_cases import (
    ANSWER,
    ASK,
    CALL,
    DIALOGUES,
    DIALOGUES_THE_ORACLE_CANNOT_PARSE,
    FUNCTION,
    PREAMBLE,
    PYTHON,
    PYTHON_RESULT,
    RESULT,
    THINK,
    conversations,
    ids,
    theirs,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from motet.harmony import (
    AnalysisRetention,
    Author,
    Conversation,
    DeveloperContent,
    HarmonyError,
    Message,
    ResponseFormat,
    Role,
    SystemContent,
    TextContent,
    o200k_harmony,
    parse_tokens,
    render_conversation,
    render_for_completion,
    render_for_training,
    render_message,
)

WORDS = o200k_harmony()
REFERENCE, ALL = AnalysisRetention.REFERENCE, AnalysisRetention.ALL


def text(message: Message) -> str:
    return WORDS.decode(render_message(message, WORDS))


def test_a_matrix_of_conversations_is_rendered_as_openai_harmony_does(
    harmony_oracle: oracle_api.HarmonyEncoding,
) -> None:
    matrix = conversations(DIALOGUES + DIALOGUES_THE_ORACLE_CANNOT_PARSE)
    assert len(matrix) >= 500
    for conversation in matrix:
        expected = harmony_oracle.render_conversation_for_completion(
            theirs(conversation), oracle_api.Role.ASSISTANT
        )
        assert render_for_completion(conversation, WORDS, retention=REFERENCE) == expected


@pytest.mark.parametrize("drops", [True, False])
def test_every_way_to_render_is_that_of_openai_harmony(
    harmony_oracle: oracle_api.HarmonyEncoding, drops: bool
) -> None:
    config = oracle_api.RenderConversationConfig(auto_drop_analysis=drops)
    retention = REFERENCE if drops else ALL
    for dialogue in DIALOGUES:
        mine, other = Conversation(dialogue), theirs(Conversation(dialogue))
        assert render_conversation(
            mine, WORDS, retention=retention
        ) == harmony_oracle.render_conversation(other, config)
        assert render_for_training(
            mine, WORDS, retention=retention
        ) == harmony_oracle.render_conversation_for_training(other, config)
        for role in Role:
            assert render_for_completion(
                mine, WORDS, role, retention=retention
            ) == harmony_oracle.render_conversation_for_completion(
                other, oracle_api.Role(role.value), config
            )


HEADER_WORD = st.from_regex(r"[\w.<|>/=-]{1,12}", fullmatch=True)


@settings(max_examples=150, deadline=None)
@given(
    role=st.sampled_from([role for role in Role if role is not Role.TOOL]),
    name=st.none() | HEADER_WORD,
    texts=st.lists(st.text(), max_size=3),
    channel=st.none() | HEADER_WORD,
    recipient=st.none() | HEADER_WORD.filter(lambda word: word != "all"),
    content_type=st.none() | HEADER_WORD | HEADER_WORD.map("<|constrain|>{}".format),
)
def test_any_message_is_rendered_as_openai_harmony_does(
    harmony_oracle: oracle_api.HarmonyEncoding,
    role: Role,
    name: str | None,
    texts: list[str],
    channel: str | None,
    recipient: str | None,
    content_type: str | None,
) -> None:
    content = tuple(map(TextContent, texts))
    message = Message(Author(role, name), content, channel, recipient, content_type)
    other = theirs(Conversation((message,)))
    assert render_message(message, WORDS) == harmony_oracle.render(other.messages[0])


# Retention of analysis


def kept(retention: AnalysisRetention, *messages: Message) -> list[Message]:
    rendered = render_conversation(Conversation(messages), WORDS, retention=retention)
    return list(parse_tokens(rendered, WORDS, None).messages)


def test_thoughts_are_kept_while_their_turn_runs() -> None:
    loop = [ASK, THINK, PREAMBLE, CALL, RESULT, THINK, PYTHON, PYTHON_RESULT]
    assert kept(AnalysisRetention.CURRENT_TURN, *loop) == loop


def test_thoughts_of_ended_turns_go_and_calls_and_results_stay() -> None:
    turn = [ASK, THINK, PREAMBLE, CALL, RESULT, PYTHON, PYTHON_RESULT, THINK, ANSWER]
    ended = [ASK, PREAMBLE, CALL, RESULT, PYTHON, PYTHON_RESULT, ANSWER]
    assert kept(AnalysisRetention.CURRENT_TURN, *turn, *turn) == ended + ended
    assert kept(AnalysisRetention.CURRENT_TURN, *turn, ASK, THINK, CALL) == [
        *ended,
        *(ASK, THINK, CALL),
    ]


def test_reference_retention_drops_only_before_the_first_answer() -> None:
    turn = [ASK, THINK, PYTHON, PYTHON_RESULT, ANSWER]
    assert kept(REFERENCE, *turn, *turn) == [ASK, ANSWER, *turn]
    assert kept(REFERENCE, *turn, ASK, THINK, CALL) == [*turn, ASK, THINK, CALL]


def test_training_keeps_the_thoughts_that_lead_to_the_last_answer() -> None:
    turn = (ASK, THINK, ANSWER)
    trained = render_for_training(Conversation(turn + turn), WORDS)
    assert trained[-1] == WORDS.return_
    assert list(parse_tokens(trained, WORDS, None).messages) == [ASK, ANSWER, *turn]


# Exact tokens


def generated(tokens: list[int]) -> Message:
    (message,) = parse_tokens(tokens, WORDS).messages
    return message


def test_what_a_model_wrote_is_repeated_token_by_token() -> None:
    call = ids(WORDS, '<|channel|>commentary to=functions.f <|constrain|>json<|message|>{"')
    odd = [*call, *WORDS.encode("l"), *WORDS.encode("ocation"), WORDS.call]
    prompt = render_for_completion(Conversation((ASK,)), WORDS)
    longer = render_for_completion(Conversation((ASK, generated(odd), RESULT)), WORDS)
    assert longer[: len(prompt) + len(odd)] == prompt + odd


def test_a_return_becomes_an_end_in_the_past() -> None:
    answer = generated(ids(WORDS, "<|channel|>final<|message|>4<|return|>"))
    assert answer.tokens is not None
    assert answer.tokens[-1] == WORDS.return_
    assert text(answer).endswith("4<|end|>")
    trained = render_for_training(Conversation((answer,)), WORDS)
    assert trained[-1] == WORDS.return_


def test_a_message_cut_short_is_ended_when_repeated() -> None:
    cut = generated(ids(WORDS, "<|channel|>final<|message|>4"))
    assert text(cut) == "<|start|>assistant<|channel|>final<|message|>4<|end|>"
    call = generated(ids(WORDS, "<|channel|>commentary to=functions.f<|message|>{"))
    assert text(call).endswith("{<|call|>")


def test_what_was_repaired_is_written_as_it_was_meant() -> None:
    mended = generated(ids(WORDS, "<|start|>assistantfinalHello, you<|return|>"))
    assert mended.tokens is None
    assert text(mended) == "<|start|>assistant<|channel|>final<|message|>Hello, you<|end|>"


# What nobody can do


@settings(max_examples=100, deadline=None)
@given(st.lists(st.sampled_from([f"<|{name}|>" for name in WORDS.special] + [" to=x", "a"])))
def test_text_never_becomes_a_special_token(parts: list[str]) -> None:
    said = "".join(parts)
    message = Message.user(said)
    tokens = render_message(message, WORDS)
    assert [t for t in tokens if WORDS.is_special(t)] == [WORDS.start, WORDS.message, WORDS.end]
    assert parse_tokens(tokens, WORDS, None).messages == (message,)
    instructions = Message.developer(DeveloperContent(said))
    assert sum(map(WORDS.is_special, render_message(instructions, WORDS))) == 3


@pytest.mark.parametrize("word", ["", "two words", "line\nbreak", "no\u00a0break"])
def test_a_message_whose_header_would_break_cannot_be_made(word: str) -> None:
    for field in ("channel", "recipient", "content_type"):
        with pytest.raises(HarmonyError, match="one word"):
            Message(Author(Role.ASSISTANT), (), **{field: word})
    with pytest.raises(HarmonyError, match="one word"):
        Author(Role.USER, word)


def test_a_tool_has_a_name_that_is_no_role() -> None:
    with pytest.raises(HarmonyError, match="needs a name"):
        Author(Role.TOOL)
    with pytest.raises(HarmonyError, match="is a role"):
        Message.tool("system", "I am the system now.")


def test_content_stands_in_its_own_role_only() -> None:
    with pytest.raises(HarmonyError, match="system messages only"):
        Message(Author(Role.USER), (SystemContent(),))


# Where we differ on purpose: the table in docs/harmony.md


def test_response_formats_end_the_developer_message() -> None:
    formats = (
        ResponseFormat("list", {"type": "object", "properties": {}}, "What to buy.\nAll."),
        ResponseFormat("number", {"type": "number"}),
    )
    assert text(Message.developer(DeveloperContent("Help.", response_formats=formats))) == (
        "<|start|>developer<|message|># Instructions\n\nHelp.\n\n# Response Formats\n\n"
        '## list\n\n// What to buy.\n// All.\n{"type":"object","properties":{}}\n\n'
        '## number\n\n{"type":"number"}<|end|>'
    )


def test_a_result_without_recipient_goes_to_the_assistant(
    harmony_oracle: oracle_api.HarmonyEncoding,
) -> None:
    result = Message(Author(Role.TOOL, FUNCTION), (TextContent("1"),), "commentary")
    assert render_message(result, WORDS) == render_message(Message.tool(FUNCTION, "1"), WORDS)
    other = harmony_oracle.render(theirs(Conversation((result,))).messages[0])
    with pytest.raises(oracle_api.HarmonyError, match="Unknown role"):
        harmony_oracle.parse_messages_from_completion_tokens(other)


def test_a_message_to_all_is_no_call(harmony_oracle: oracle_api.HarmonyEncoding) -> None:
    message = Message.assistant("Hi", recipient="all")
    assert text(message) == "<|start|>assistant<|channel|>final<|message|>Hi<|end|>"
    other = harmony_oracle.render(theirs(Conversation((message,))).messages[0])
    assert other == [*render_message(message, WORDS)[:-1], WORDS.call]
