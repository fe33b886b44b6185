"""The generators against oracles that read nothing but the question and the texts."""

from __future__ import annotations

import json
import re
from random import Random

import pytest

from motet.harmony import ReasoningEffort
from motet.training.exercise import Exercise, Split, draw, is_held_out
from motet.training.tasks import TASKS
from motet.training.tasks.talk import FAREWELL, GREETING, IDENTITY, OUT_OF_REACH, THANKS

COUNT = 400
HIGH, MEDIUM = ReasoningEffort.HIGH, ReasoningEffort.MEDIUM


def exercises(task: str) -> list[Exercise]:
    random = Random(7)
    return [TASKS[task](random) for _ in range(COUNT)]


def integers(text: str) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", text)]


@pytest.mark.parametrize("task", TASKS)
def test_the_same_seed_makes_the_same_exercises(task: str) -> None:
    assert exercises(task) == exercises(task)


@pytest.mark.parametrize("task", TASKS)
def test_high_and_medium_effort_think_and_low_does_not(task: str) -> None:
    for exercise in exercises(task):
        assert exercise.thoughts.keys() == {HIGH, MEDIUM}
        assert all(exercise.thoughts.values())


@pytest.mark.parametrize("task", TASKS)
def test_wordings_vary(task: str) -> None:
    assert len({re.sub(r"\d+", "", each.question) for each in exercises(task)}) > 50


def test_sums_and_differences_are_right() -> None:
    for exercise in exercises("arithmetic"):
        a, b = integers(exercise.question)
        assert int(exercise.answer) in (a + b, a - b, b - a)
        assert eval(exercise.key) == int(exercise.answer)
        assert a <= 9999
        assert b <= 9999


def test_every_line_of_an_arithmetic_thought_is_true() -> None:
    for exercise in exercises("arithmetic"):
        for thought in exercise.thoughts.values():
            claims = re.findall(r"^([\d+-]+)=(\d+)", thought, flags=re.MULTILINE)
            assert claims
            for left, right in claims:
                terms = re.sub(r"\b0+(\d)", r"\1", left)
                assert eval(terms) == int(right)


def test_orders_are_right() -> None:
    for exercise in exercises("ordering"):
        numbers, answer = integers(exercise.question), integers(exercise.answer)
        if len(answer) == 1 and len(numbers) > 1:
            assert answer[0] in (min(numbers), max(numbers))
        else:
            assert answer in (sorted(numbers), sorted(numbers, reverse=True))


def test_the_answer_of_an_order_has_grown_in_its_thought() -> None:
    for exercise in exercises("ordering"):
        for thought in exercise.thoughts.values():
            taken = re.findall(r"^([a-e])(\d{4}): (.*)$", thought, flags=re.MULTILINE)
            lists = [integers(listed) for _, _, listed in taken]
            assert lists[-1] == integers(exercise.answer)
            assert [listed[:-1] for listed in lists[1:]] == lists[:-1]
            assert [int(number) for _, number, _ in taken] == lists[-1]


def test_numbers_are_compared_digit_by_digit_until_they_differ() -> None:
    for exercise in exercises("ordering"):
        thought = exercise.thoughts[HIGH]
        numbers = dict(re.findall(r"\b([a-e])(\d{4})\b", thought.partition("\n")[0]))
        lines = re.findall(r"^([a-e])([a-e])((?:[MCXI]\d\d)+)([<>])([a-e])$", thought, re.M)
        assert lines or len(numbers) == 1
        for one, other, digits, sign, winner in lines:
            pairs = list(zip(numbers[one], numbers[other], strict=True))
            equal = next((i for i, (x, y) in enumerate(pairs) if x != y), 3)
            columns = zip("MCXI", pairs[: equal + 1], strict=False)
            assert digits == "".join(f"{column}{x}{y}" for column, (x, y) in columns)
            best = (min if sign == "<" else max)(numbers[one], numbers[other])
            assert numbers[winner] == best


def test_a_looked_up_value_stands_in_the_question_and_in_the_quotation() -> None:
    for exercise in exercises("lookup"):
        quotation = exercise.thoughts[MEDIUM]
        assert exercise.answer in quotation
        assert quotation.lower() in exercise.question.lower()
        assert quotation in exercise.thoughts[HIGH]


def test_letters_are_counted_reversed_and_copied() -> None:
    for exercise in exercises("letters"):
        kind, letter, word = exercise.key.split(" ", 2)
        answer = exercise.answer.lower()
        expected = {
            "copy": word,
            "reverse": word[::-1],
            "spell": "-".join(word),
            "length": str(len(word)),
            "count": str(sum(each == letter for each in word)),
        }
        assert answer == expected[kind]
        assert word in exercise.question.lower()


def test_calls_fit_the_schema_and_the_sentence() -> None:
    kinds = {"string": str, "integer": int, "number": (int, float), "boolean": bool}
    for exercise in exercises("functions"):
        call = exercise.call
        assert call is not None
        schemas = {tool.name: tool.parameters for tool in exercise.tools}
        assert call.name in schemas
        schema = schemas[call.name] or {"properties": {}, "required": []}
        assert set(schema["required"]) <= call.arguments.keys() <= schema["properties"].keys()
        for name, value in call.arguments.items():
            described = schema["properties"][name]
            assert isinstance(value, kinds[described["type"]])  # type: ignore[arg-type]
            assert value in described.get("enum", [value])
            if not isinstance(value, bool):
                assert str(value).lower() in exercise.question.lower()


def test_the_answer_reports_every_value_of_the_result() -> None:
    for exercise in exercises("functions"):
        assert exercise.call is not None
        try:
            result = json.loads(exercise.call.result)
        except ValueError:
            result = exercise.call.result
        if not isinstance(result, dict):
            assert exercise.answer == exercise.call.result
            continue
        for key, value in result.items():
            shown = value if isinstance(value, str) else json.dumps(value)
            assert f"{key} is {shown}" in exercise.answer


def test_talk_has_five_honest_answers() -> None:
    answers = {exercise.answer for exercise in exercises("talk")}
    assert answers == {GREETING, IDENTITY, THANKS, FAREWELL, OUT_OF_REACH}


@pytest.mark.parametrize("task", TASKS)
def test_held_out_problems_are_never_drawn_for_training(task: str) -> None:
    random = Random(3)
    trained = {draw(TASKS[task], random, Split.TRAIN).key for _ in range(COUNT)}
    held_out = {draw(TASKS[task], random, Split.VALIDATION).key for _ in range(COUNT // 8)}
    assert not trained & held_out


def test_the_split_is_the_same_everywhere() -> None:
    keys = [f"{a}+{b}" for a in range(40) for b in range(40)]
    held_out = [key for key in keys if is_held_out(key)]
    assert 60 < len(held_out) < 140
    assert held_out[:3] == ["0+4", "0+6", "0+15"]
