"""A turn's grammar as a text means what the constraint means, read by llguidance itself."""

import pytest
from grammar_walks import CITY, NOW, SMALL, WEATHER, conversation, follow, grammar, walk, written

from motet.harmony import Conversation, HarmonyError
from motet.harmony.grammar import (
    AnswerFormat,
    GrammarConstraint,
    GrammarError,
    ToolChoice,
    TurnRules,
    answer_grammar,
    sequence_text,
)

PERSON = AnswerFormat.json_schema(CITY)
THOUGHT = "<|channel|>analysis<|message|>Hm. 漢字 🦆\n\n<|end|><|start|>assistant"
CALL = '<|channel|>commentary to=functions.weather <|constrain|>json<|message|>{"city":"Rome"}'
OTHER_CALL = " to=functions.now<|channel|>commentary <|constrain|>json<|message|>{}"
CASES = [
    (conversation(), TurnRules()),
    (conversation(WEATHER, NOW), TurnRules()),
    (conversation(WEATHER, NOW, builtin=True), TurnRules()),
    (conversation(WEATHER), TurnRules(ToolChoice.call())),
    (conversation(), TurnRules(answer=PERSON)),
    (conversation(WEATHER), TurnRules(answer=AnswerFormat.choice(["yes", "n::=o"]))),
    (conversation(), TurnRules(answer=AnswerFormat.regex(r"[a-c]{3}\d+"))),
    (conversation(), TurnRules(answer=AnswerFormat.lark('start: "a" word\nword: /[b-d]+/'))),
    (conversation(channels=("final",)), TurnRules()),
]


@pytest.mark.parametrize(("asked", "rules"), CASES)
@pytest.mark.parametrize("thinks", [True, False])
def test_what_the_text_allows_the_constraint_allows(
    asked: Conversation, rules: TurnRules, thinks: bool
) -> None:
    compiled = grammar(asked, rules)
    for seed in range(10):
        tokens = walk(GrammarConstraint(compiled.text(thinks=thinks), SMALL), seed, most=60)
        assert follow(compiled.constraint(), tokens) is None


@pytest.mark.parametrize(("asked", "rules"), CASES)
def test_what_the_constraint_allows_the_text_allows(asked: Conversation, rules: TurnRules) -> None:
    compiled = grammar(asked, rules)
    for seed in range(10):
        tokens = walk(compiled.constraint(200), seed)
        assert follow(GrammarConstraint(compiled.text(), SMALL), tokens) is None


@pytest.mark.parametrize(
    ("text", "place"),
    [
        (f"{THOUGHT}{CALL}<|call|>", None),
        (f"{THOUGHT}{THOUGHT}{OTHER_CALL}<|call|>", None),
        (f"{CALL}<|return|>", "<|return|>"),
        (f"{THOUGHT}<|channel|>final<|message|>No call.<|return|>", "f"),
        (CALL.replace("city", "town") + "<|call|>", "t"),
    ],
)
def test_a_required_call_is_one(text: str, place: str | None) -> None:
    compiled = grammar(conversation(WEATHER, NOW), TurnRules(ToolChoice.call()))
    tokens = written(text)
    found = follow(GrammarConstraint(compiled.text(), SMALL), tokens)
    assert (found and SMALL.decode(tokens[found : found + 1])) == place


def test_without_thoughts_the_answer_comes_at_once() -> None:
    compiled = grammar(conversation())
    text = GrammarConstraint(compiled.text(thinks=False), SMALL)
    assert follow(text, written(THOUGHT)) == 1
    assert GrammarConstraint(compiled.text(thinks=False), SMALL).forced() == written(
        "<|channel|>final<|message|>"
    )


def test_constraints_of_grammars_end_and_refuse() -> None:
    stop = SMALL.return_
    yes = GrammarConstraint(answer_grammar(AnswerFormat.choice(["yes"])), SMALL, frozenset({stop}))
    assert follow(yes, [*SMALL.encode("yes"), stop]) is None
    forced = GrammarConstraint(sequence_text([stop, stop]), SMALL)
    assert follow(forced, [stop, stop]) is None
    wrong = GrammarConstraint(answer_grammar(AnswerFormat.regex("a|bc")), SMALL)
    with pytest.raises(HarmonyError, match="cannot come here"):
        wrong.accept(SMALL.encode("z")[0])
    with pytest.raises(GrammarError, match="cannot be used"):
        GrammarConstraint("start: nothing", SMALL)
