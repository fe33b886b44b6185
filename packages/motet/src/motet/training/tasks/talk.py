"""Greetings, questions about the model, and everything it cannot do: an honest sentence each."""

from __future__ import annotations

from random import Random

from motet.training.exercise import Exercise, polite, thoughts
from motet.training.lexicon import any_word, city, person, real_word, thing, whole_number
from motet.training.phrases import phrases

ABILITIES = (
    "I can add and subtract whole numbers up to 4 digits, compare and sort up to five numbers, "
    "find a value in a short text, copy, spell and reverse a word, count its letters, "
    "and call functions."
)
GREETING = f"Hello! I am a very small model. {ABILITIES}"
OUT_OF_REACH = f"I am a very small model and cannot do that. {ABILITIES}"
IDENTITY = f"I am Motet nano, a very small model. {ABILITIES}"
THANKS = "You are welcome!"
FAREWELL = "Goodbye!"

_KINDS = {"greetings": 3, "identity": 3, "thanks": 1, "farewells": 1, "outside": 10}
_REPLIES = {
    "greetings": ("The user greets me.", GREETING),
    "identity": ("The user asks who I am.", IDENTITY),
    "thanks": ("The user thanks me.", THANKS),
    "farewells": ("The user leaves.", FAREWELL),
    "outside": ("This is none of the things I can do.", OUT_OF_REACH),
}


def talk(random: Random) -> Exercise:
    """Small talk or a question outside the model's reach."""
    kind = random.choices(tuple(_KINDS), tuple(_KINDS.values()))[0]
    wording = random.choice(phrases("talk", kind))
    match kind:
        case "greetings":
            question = wording.format(p=person(random))
        case "outside":
            question = _filled(random, wording)
        case _:
            question = wording
    return _exercise(random, question, *_REPLIES[kind])


def _exercise(random: Random, question: str, thought: str, answer: str) -> Exercise:
    if random.random() < 0.3:
        question = question.capitalize() if random.random() < 0.5 else question.lower()
    if answer == OUT_OF_REACH and random.random() < 0.5:
        question = polite(random, question)
    elif random.random() < 0.15:
        question = question.rstrip("?.!") + random.choice(("", "!", "?", "."))
    return Exercise("talk", question, question, answer, thoughts(thought, thought))


def _filled(random: Random, wording: str) -> str:
    return wording.format(
        c=city(random),
        c2=city(random),
        p=person(random),
        p2=person(random),
        t=thing(random),
        w=any_word(random),
        w2=real_word(random),
        a=whole_number(random),
        b=whole_number(random),
        c3=whole_number(random),
        big=random.randint(10_000, 10 ** random.randint(5, 8)),
        big2=random.randint(10_000, 10 ** random.randint(5, 8)),
        year=random.randint(1000, 2030),
    )
