"""No text reaches a terminal with its control characters alive."""

import unicodedata

from hypothesis import given
from hypothesis import strategies as st

from motet.cli.documents import json_text
from motet.cli.terminal import printable


@given(st.text())
def test_nothing_that_controls_a_terminal_is_left(text: str) -> None:
    for safe in (printable(text), json_text(text)):
        assert all(letter in "\t\n" or unicodedata.category(letter) != "Cc" for letter in safe)


@given(st.text(st.characters(exclude_categories=["Cc"])))
def test_ordinary_text_is_left_alone(text: str) -> None:
    assert printable(text) == text


def test_escape_sequences_are_shown() -> None:
    assert printable("a\x1b[31mb\x9b1mc\x07\r\n") == "a␛[31mb\ufffd1mc␇\n"
