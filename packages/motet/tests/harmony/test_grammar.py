"""What a turn may be: which headers, which texts, which ends."""

import pytest
from grammar_walks import (
    CITY,
    NOW,
    SMALL,
    WEATHER,
    conversation,
    follow,
    grammar,
    read,
    walk,
    written,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from motet.harmony import Message, ToolDescription
from motet.harmony.grammar import AnswerFormat, GrammarError, ToolChoice, TurnRules

PLAIN = conversation()
TOOLS = conversation(WEATHER, NOW, builtin=True)
THOUGHT = "<|channel|>analysis<|message|>Hm.<|end|><|start|>assistant"
CALL = (
    '<|channel|>commentary to=functions.weather <|constrain|>json<|message|>{"city":"Rome"}<|call|>'
)


@pytest.mark.parametrize(
    "text",
    [
        "<|channel|>final<|message|>Hello there.<|return|>",
        THOUGHT + "<|channel|>final<|message|>Hello.<|return|>",
        THOUGHT + THOUGHT + "<|channel|>final<|message|>Hello.<|return|>",
        THOUGHT + CALL,
        THOUGHT + "<|channel|>commentary<|message|>I look.<|end|><|start|>assistant" + CALL,
        " to=functions.weather<|channel|>commentary <|constrain|>json<|message|>"
        '{"city":"Rome","days":3}<|call|>',
        "<|channel|>commentary to=functions.now <|constrain|>json<|message|>{}<|call|>",
        "<|channel|>analysis to=python code<|message|>print(1)\n<|call|>",
        '<|channel|>commentary to=browser.search code<|message|>{"query":"x","topn":3}<|call|>',
        ' to=browser.open<|channel|>analysis code<|message|>{"id":3}<|call|>',
    ],
)
def test_what_models_were_trained_to_write_may_be_written(text: str) -> None:
    tokens = written(text)
    assert follow(grammar(TOOLS).constraint(), tokens) is None
    assert read(tokens, TOOLS).is_well_formed


@pytest.mark.parametrize(
    ("text", "rules"),
    [
        ("<|message|>", TurnRules()),
        ("<|channel|>final<|message|><|return|>", TurnRules()),
        ("<|channel|>final<|message|>Hi<|end|>", TurnRules()),
        ("<|channel|>final<|message|>Hi<|call|>", TurnRules()),
        ("<|channel|>final<|message|>Hi<|channel|>", TurnRules()),
        ("<|channel|>analysis<|message|>Hm<|return|>", TurnRules()),
        ("<|channel|>answer", TurnRules()),
        ("<|channel|>analysis to=functions.weather", TurnRules()),
        ("<|channel|>commentary to=functions.unknown", TurnRules()),
        ("<|channel|>commentary to=weather", TurnRules()),
        (CALL.replace("Rome", 'Rome","x":"'), TurnRules()),
        (CALL.replace('"city"', '"days"'), TurnRules()),
        (THOUGHT + CALL, TurnRules(ToolChoice.none())),
        (CALL, TurnRules(ToolChoice.auto(["functions.now"]))),
        (CALL, TurnRules(ToolChoice.call(["functions.now"]))),
        (THOUGHT + "<|channel|>final", TurnRules(ToolChoice.call())),
        (THOUGHT, TurnRules(maximum_thinking_tokens=0)),
        ("<|channel|>final<|message|>Hi", TurnRules(answer=AnswerFormat.regex("[0-9]+"))),
    ],
)
def test_what_cannot_be_is_not_written(text: str, rules: TurnRules) -> None:
    assert follow(grammar(TOOLS, rules).constraint(), written(text)) is not None


def test_a_format_binds_the_answer_and_not_the_thoughts() -> None:
    rules = TurnRules(answer=AnswerFormat.json_schema(CITY))
    thought = '<|channel|>analysis<|message|>{"town": oops<|end|><|start|>assistant'
    answer = '<|channel|>final<|message|>{"city":"Rome"}<|return|>'
    assert follow(grammar(PLAIN, rules).constraint(), written(thought + answer)) is None


@settings(deadline=None, max_examples=40)
@given(seed=st.integers(0, 2**32), room=st.integers(40, 300), builtin=st.booleans())
def test_whatever_is_chosen_the_turn_is_well_formed_and_ends(
    seed: int, room: int, builtin: bool
) -> None:
    asked = conversation(WEATHER, NOW, builtin=builtin)
    tokens = walk(grammar(asked).constraint(room), seed)
    result = read(tokens, asked)
    assert len(tokens) <= room
    assert result.is_well_formed
    assert tokens[-1] in (SMALL.return_, SMALL.call)
    assert result.messages[-1].tokens is not None


@settings(deadline=None, max_examples=40)
@given(seed=st.integers(0, 2**32))
def test_thinking_leaves_room_for_an_answer(seed: int) -> None:
    rules = TurnRules(answer=AnswerFormat.json_schema(CITY))
    constraint = grammar(PLAIN, rules).constraint(120)
    tokens = written("<|channel|>analysis")
    assert follow(constraint, tokens) is None
    tokens += walk(constraint, seed)
    result = read(tokens, PLAIN)
    assert len(tokens) <= 120
    assert [message.channel for message in result.messages][-1] == "final"


def test_thinking_ends_at_its_limit_with_whole_characters() -> None:
    rules = TurnRules(maximum_thinking_tokens=5)
    for seed in range(30):
        constraint = grammar(PLAIN, rules).constraint()
        start = written("<|channel|>analysis<|message|>")
        assert follow(constraint, start) is None
        tokens = walk(constraint, seed, most=12)
        end = tokens.index(SMALL.end)
        assert end <= 5
        if constraint.ended_thinking:
            assert tokens[end:][
                : len(written("<|end|><|start|>assistant<|channel|>final"))
            ] == written("<|end|><|start|>assistant<|channel|>final")
        assert read([*start, *tokens[: end + 1]], PLAIN).is_well_formed


@pytest.mark.parametrize("piece", ["na", "I should check that again. ", "a" * 50 + " b c "])
def test_thoughts_that_go_in_circles_end(piece: str) -> None:
    constraint = grammar(PLAIN).constraint()
    assert follow(constraint, written("<|channel|>analysis<|message|>Well. ")) is None
    tokens = written(piece) * 1000
    for token in tokens:
        if forced := constraint.forced():
            assert list(forced) == written("<|end|><|start|>assistant<|channel|>final<|message|>")
            break
        assert constraint.accept(token)
    assert constraint.ended_thinking == "loop"


def test_long_thoughts_that_go_on_are_left_alone() -> None:
    constraint = grammar(PLAIN).constraint()
    text = " ".join(f"step {i}: {i * i % 97}" for i in range(1500))
    assert follow(constraint, written(f"<|channel|>analysis<|message|>{text}")) is None
    assert constraint.ended_thinking is None


def test_what_is_certain_is_forced() -> None:
    constraint = grammar(conversation(NOW), TurnRules(ToolChoice.call(), maximum_thinking_tokens=0))
    first = constraint.constraint()
    assert list(first.forced()) == []
    assert first.accept(SMALL.channel)
    assert read([SMALL.channel, *first.forced()], conversation(NOW)).messages == ()
    rules = TurnRules(maximum_thinking_tokens=0)
    answer = grammar(PLAIN, rules).constraint()
    assert list(answer.forced()) == written("<|channel|>final<|message|>")
    fixed = AnswerFormat.json_schema({"const": {"a": [1, 2]}})
    everything = grammar(PLAIN, TurnRules(answer=fixed, maximum_thinking_tokens=0)).constraint()
    tokens = list(everything.forced())
    assert read(tokens, PLAIN).messages == (Message.assistant('{"a":[1,2]}'),)
    assert not everything.was_closed


def test_required_keys_and_punctuation_are_forced() -> None:
    constraint = grammar(conversation(WEATHER), TurnRules(ToolChoice.call())).constraint()
    assert follow(constraint, written("<|channel|>commentary to")) is None
    forced = SMALL.decode(constraint.forced())
    assert forced == '=functions.weather <|constrain|>json<|message|>{"city":'


def test_functions_named_like_builtin_tools_do_not_collide() -> None:
    asked = conversation(
        ToolDescription("python", "Mine.", CITY), ToolDescription("browser", "Mine."), builtin=True
    )
    mine = written(CALL.replace("weather", "python"))
    builtin = written("<|channel|>analysis to=python code<|message|>1+1<|call|>")
    for tokens, recipient in ((mine, "functions.python"), (builtin, "python")):
        assert follow(grammar(asked).constraint(), tokens) is None
        assert read(tokens, asked).messages[-1].recipient == recipient
    only_mine = conversation(ToolDescription("python", "Mine.", CITY))
    assert follow(grammar(only_mine).constraint(), builtin) is not None


def test_channels_that_are_not_valid_are_not_used() -> None:
    quiet = grammar(conversation(channels=("final",))).constraint()
    assert follow(quiet, written("<|channel|>analysis")) is not None
    assert list(quiet.forced()) == []


def test_a_choice_of_tools_that_are_not_there_is_refused() -> None:
    with pytest.raises(GrammarError, match=r"no tool functions\.x .*functions\.weather"):
        grammar(TOOLS, TurnRules(ToolChoice.call(["functions.x"])))
    with pytest.raises(GrammarError, match="no tool to call"):
        grammar(PLAIN, TurnRules(ToolChoice.call()))
    with pytest.raises(GrammarError, match="at least 0"):
        TurnRules(maximum_thinking_tokens=-1)
