"""What a task generator makes, and which exercises are kept away from training.

An exercise is a question with everything the assistant has to write: a chain of thought for each
reasoning effort, possibly a call of a function, and the answer. The split goes by the problem, not
by its wording: a stable hash of `key` decides, so no wording of a held-out problem is ever trained.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from random import Random
from typing import Any

from motet.harmony import ReasoningEffort, ToolDescription

HELD_OUT_SHARE = 16
"""One problem in this many is held out."""

_ATTEMPTS = 10_000


class Split(StrEnum):
    """Which problems to draw from."""

    TRAIN = "train"
    VALIDATION = "validation"


@dataclass(frozen=True)
class Call:
    """A call of a developer's function and what it gives back."""

    name: str
    arguments: Mapping[str, Any]
    result: str


@dataclass(frozen=True)
class Exercise:
    """One question and its solution; an absent or empty thought means to answer at once.

    With `letter_by_letter`, the assistant writes one token per character.
    """

    task: str
    key: str
    question: str
    answer: str
    thoughts: Mapping[ReasoningEffort, str]
    tools: tuple[ToolDescription, ...] = ()
    call: Call | None = None
    letter_by_letter: bool = False


Generator = Callable[[Random], Exercise]


def is_held_out(key: str) -> bool:
    """Whether the problem `key` belongs to validation; the same in every process."""
    digest = hashlib.sha256(key.encode()).digest()
    return int.from_bytes(digest[:4], "big") % HELD_OUT_SHARE == 0


class NoProblemError(Exception):
    """A generator makes no problem of the split, or hardly any."""


def draw(generator: Generator, random: Random, split: Split) -> Exercise:
    """A random exercise of `split`. Raises NoProblemError."""
    for _ in range(_ATTEMPTS):
        exercise = generator(random)
        if is_held_out(exercise.key) == (split is Split.VALIDATION):
            return exercise
    raise NoProblemError(f"{generator} makes no problem of the split {split}")


def thoughts(high: str, medium: str) -> dict[ReasoningEffort, str]:
    """The chains of thought of one exercise; low effort has none."""
    return {ReasoningEffort.HIGH: high, ReasoningEffort.MEDIUM: medium}


def polite(random: Random, request: str) -> str:
    """The request in one of the ways people type it: case, punctuation, politeness."""
    style = random.random()
    if style < 0.08:
        request = f"Please {request[0].lower()}{request[1:]}"
    elif style < 0.12:
        request = f"{request.rstrip('.?!')}, please."
    elif style < 0.16:
        request = f"Can you tell me: {request}"
    elif style < 0.19:
        request = f"Hi! {request}"
    elif style < 0.22:
        request = f"{request} Thanks!"
    if random.random() < 0.12:
        request = request[0].lower() + request[1:]
    if random.random() < 0.12:
        request = request.rstrip(".?")
    return request
