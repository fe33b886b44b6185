"""Guesses and what they are worth."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from motet.engine.speculation import MAXIMUM_DRAFT, Guesses, StepTimes, Tokens, lookup


def ids(*tokens: int) -> Tokens:
    return np.array(tokens, dtype=np.int32)


def lookup_by_hand(tokens: list[int]) -> list[int]:
    for length in (3, 2):
        for end in range(len(tokens) - 1, length - 1, -1):
            if len(tokens) > length and tokens[end - length : end] == tokens[-length:]:
                following = tokens[end:] * MAXIMUM_DRAFT
                return following[:MAXIMUM_DRAFT]
    return []


@given(st.lists(st.integers(0, 3), max_size=60))
def test_the_last_occurrence_is_found(tokens: list[int]) -> None:
    assert lookup(ids(*tokens)).tolist() == lookup_by_hand(tokens)


def test_three_tokens_tell_more_than_two() -> None:
    assert lookup(ids(1, 2, 3, 4, 5, 9, 2, 3, 7, 8, 1, 2, 3)).tolist()[:2] == [4, 5]
    assert lookup(ids(2, 3, 7, 8, 1, 2, 3)).tolist()[:2] == [7, 8]


def repeating(count: int) -> Tokens:
    return np.resize(ids(5, 6, 7, 8), count)


def test_drafts_grow_with_success_and_shrink_with_failure() -> None:
    guesses = Guesses()
    tokens = repeating(40)
    sizes = []
    for _ in range(10):
        sizes.append(guesses.draft(tokens, price=0.4).size)
        guesses.compare(repeating(60)[40:44])
    assert sizes == sorted(sizes)
    assert sizes[-1] == MAXIMUM_DRAFT
    for _ in range(20):
        last = guesses.draft(tokens, price=0.4).size
        guesses.compare(ids(9))
    assert last == 0


def test_guesses_are_judged_without_being_read() -> None:
    guesses = Guesses()
    for _ in range(10):
        assert guesses.draft(repeating(40), price=0.85).size == 0 or guesses.right > 0.85
        guesses.compare(repeating(41)[40:])
    assert guesses.draft(repeating(40), price=0.4).size > 0


def test_only_the_first_wrong_guess_counts() -> None:
    one, many = Guesses(), Guesses()
    for guesses, come in ((one, ids(9)), (many, ids(9, 9, 9))):
        guesses.draft(repeating(40), price=0.4)
        guesses.compare(come)
    assert one.right == many.right < 0.5


@given(
    fixed=st.floats(0, 1), each=st.floats(1e-3, 1), rows=st.lists(st.integers(1, 30), min_size=30)
)
def test_the_price_of_a_row_is_its_share_of_the_step(
    fixed: float, each: float, rows: list[int]
) -> None:
    times = StepTimes()
    for count in (*rows, 1, 30):
        times.note(count, fixed + each * count)
    assert times.price(1) == pytest.approx(each / (fixed + each), abs=1e-6)
    assert times.price(10) == pytest.approx(10 * each / (fixed + 10 * each), abs=1e-6)


def test_what_was_never_varied_is_unknown_and_old_steps_are_forgotten() -> None:
    times = StepTimes()
    assert times.price(1) == 0.5
    times.note(5, 5.0)
    times.note(1, 1.0)
    assert times.price(1) == pytest.approx(1)
    for _ in range(600):
        times.note(1, 1.0)
    assert times.price(1) == 0.5


@given(st.lists(st.tuples(st.integers(1, 100), st.floats(0, 1e3)), max_size=50), st.integers(1, 99))
def test_a_price_is_a_share_whatever_was_measured(
    steps: list[tuple[int, float]], rows: int
) -> None:
    times = StepTimes()
    for count, seconds in steps:
        times.note(count, seconds)
    assert 0 <= times.price(rows) <= 1
