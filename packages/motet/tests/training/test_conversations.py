"""Training examples: well-formed harmony, only the assistant's tokens learned."""

from __future__ import annotations

from itertools import groupby
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from motet.harmony import Conversation, ReasoningEffort, render_for_completion
from motet.training.conversations import (
    Situation,
    make_example,
    make_lesson,
    make_practice,
    make_situation,
)
from motet.training.exercise import Split
from motet.training.grading import is_right_answer, is_right_call, is_well_formed
from motet.training.tasks import TASKS
from motet.training.vocabulary import nano_vocabulary

VOCABULARY = nano_vocabulary()


def situations(task: str, effort: ReasoningEffort) -> list[Situation]:
    random = Random(11)
    return [make_situation(random, VOCABULARY, Split.TRAIN, task, effort) for _ in range(20)]


def learned_parts(situation: Situation) -> list[list[int]]:
    example = make_example(situation, VOCABULARY)
    pairs = zip(example.learned, example.ids, strict=True)
    runs = groupby(pairs, key=lambda pair: pair[0])
    return [[token for _, token in run] for learned, run in runs if learned]


@pytest.mark.parametrize("effort", ReasoningEffort)
@pytest.mark.parametrize("task", TASKS)
def test_what_is_learned_is_graded_as_right(task: str, effort: ReasoningEffort) -> None:
    for situation in situations(task, effort):
        exercise, parts = situation.exercise, learned_parts(situation)
        assert all(is_well_formed(part, VOCABULARY) for part in parts)
        assert is_right_answer(parts[-1], exercise, VOCABULARY)
        if exercise.call:
            assert is_right_call(parts[0], exercise.call, VOCABULARY)
        assert len(parts) == (2 if exercise.call else 1)


def test_an_example_begins_with_the_prompt_as_rendered() -> None:
    for situation in situations("functions", ReasoningEffort.HIGH):
        prompt = render_for_completion(Conversation(situation.messages), VOCABULARY)
        example = make_example(situation, VOCABULARY)
        assert example.ids[: len(prompt)] == prompt
        assert not any(example.learned[: len(prompt)])
        assert example.learned[len(prompt)]


def test_a_wrong_answer_is_graded_as_wrong() -> None:
    for situation in situations("arithmetic", ReasoningEffort.LOW):
        (answer,) = learned_parts(situation)
        (digit,) = VOCABULARY.encode("7")
        wrong = [*answer[:-1], digit, answer[-1]]
        assert is_well_formed(wrong, VOCABULARY)
        assert not is_right_answer(wrong, situation.exercise, VOCABULARY)
        assert not is_well_formed(answer[:-1], VOCABULARY)


def test_a_lesson_is_exercises_of_one_effort_each_learned_in_its_place() -> None:
    random = Random(7)
    for _ in range(40):
        lesson = make_lesson(random, VOCABULARY, {}, 448)
        assert len(lesson.ids) <= 448 or len(lesson.tasks) == 1
        assert len({task.partition("/")[2] for task in lesson.tasks}) == 1
        runs = [owner for owner, _ in groupby(lesson.owners) if owner >= 0]
        assert [owner for owner, _ in groupby(runs)] == list(range(len(lesson.tasks)))
        parts = [
            [token for _, token in run]
            for learned, run in groupby(
                zip(lesson.learned, lesson.ids, strict=True), key=lambda pair: pair[0]
            )
            if learned
        ]
        assert all(is_well_formed(part, VOCABULARY) for part in parts)


def test_practice_copies_the_user() -> None:
    random = Random(5)
    for _ in range(50):
        example = make_practice(random, VOCABULARY, 30)
        count = sum(example.learned)
        text = example.ids[-count:][3:-1]
        assert (
            text
            == [
                token
                for token, learned in zip(example.ids, example.learned, strict=True)
                if not learned
            ][-len(text) - 3 : -3]
        )


@given(st.text(alphabet="abcdefghijklmnopqrstuvwxyz", min_size=1, max_size=12))
def test_other_words_fall_into_letters(word: str) -> None:
    ids = VOCABULARY.encode(f" {word}")
    assert len(ids) in (1, len(word) + 1)
    assert VOCABULARY.decode(ids) == f" {word}"


def test_digits_never_share_a_token() -> None:
    for token in range(VOCABULARY.size):
        text = VOCABULARY.token_bytes(token) or b""
        assert len(text) == 1 or not any(digit in text for digit in b"0123456789")
