"""Whether an answer is right: exact on the final text, and on every function call before it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from motet.harmony import FINAL, Message, Vocabulary
from motet.harmony.parsing import parse_tokens
from motet.training.exercise import Call, Exercise


def is_well_formed(ids: Sequence[int], vocabulary: Vocabulary) -> bool:
    """Whether a completion is harmony without any repair, ended by its own return or call."""
    ended = bool(ids) and ids[-1] in (vocabulary.return_, vocabulary.call)
    return ended and parse_tokens(ids, vocabulary).is_well_formed


def is_right_answer(ids: Sequence[int], exercise: Exercise, vocabulary: Vocabulary) -> bool:
    """Whether a completion ends in exactly the exercise's answer on the final channel."""
    message = _last_message(ids, vocabulary)
    return message is not None and message.channel == FINAL and message.text == exercise.answer


def is_right_call(ids: Sequence[int], call: Call, vocabulary: Vocabulary) -> bool:
    """Whether a completion ends in a call of the right function with the right arguments."""
    message = _last_message(ids, vocabulary)
    if (
        message is None
        or message.recipient != f"functions.{call.name}"
        or ids[-1] != vocabulary.call
    ):
        return False
    return _same_json(message.text, dict(call.arguments))


def _last_message(ids: Sequence[int], vocabulary: Vocabulary) -> Message | None:
    result = parse_tokens(ids, vocabulary)
    return result.messages[-1] if result.messages and result.is_well_formed else None


def _same_json(text: str, expected: dict[str, Any]) -> bool:
    """Equal as JSON: 1, 1.0 and true are three values."""
    try:
        found = json.loads(text)
    except ValueError:
        return False
    return json.dumps(found, sort_keys=True) == json.dumps(expected, sort_keys=True)
