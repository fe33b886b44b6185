"""Words letter by letter: copy, spell, reverse, count letters.

High effort numbers the letters, so that reversing is looking up the numbers backwards, with the
reversed word growing beside them, or keeps the running count beside each letter. Medium effort
leaves out the growing word and counts only the hits. The assistant writes letter by letter, one
token each, whatever tokens the word had in the question.
"""

from __future__ import annotations

from random import Random

from motet.training.exercise import Exercise, polite, thoughts
from motet.training.lexicon import any_word, code, made_up_word, person, real_word, whole_number
from motet.training.phrases import phrases

_KINDS = {"copy": 3, "reverse": 6, "spell": 2, "count": 6, "length": 2}


def letters(random: Random) -> Exercise:
    """One exercise on the letters of a word; copies may be of several words."""
    kind = random.choices(tuple(_KINDS), tuple(_KINDS.values()))[0]
    word = _text(random) if kind == "copy" else _word(random)
    letter = _letter(random, word)
    quoted = f'"{word}"' if random.random() < 0.7 else f"'{word}'"
    question = random.choice(phrases("letters", kind)).format(w=word, q=quoted, l=letter)
    high, medium, answer = _solve(kind, word, letter)
    key = f"{kind} {letter if kind == 'count' else ''} {word.lower()}"
    question = question if kind == "copy" else polite(random, question)
    return Exercise(
        task="letters",
        key=key,
        question=question,
        answer=answer,
        thoughts=thoughts(high, medium),
        letter_by_letter=kind != "copy",
    )


def _word(random: Random) -> str:
    word = any_word(random)
    style = random.random()
    return word.capitalize() if style < 0.1 else word


def _text(random: Random) -> str:
    numbers = (code, lambda each: str(whole_number(each)))
    parts = (any_word, any_word, real_word, made_up_word, person, *numbers)
    count = random.choice((1, 1, 2, 3, 4))
    return " ".join(random.choice(parts)(random) for _ in range(count))


def _letter(random: Random, word: str) -> str:
    present = random.random() < 0.85
    letter = random.choice(word if present else "abcdefghijklmnopqrstuvwxyz")
    repeated = [each for each in word if word.count(each) > 1]
    if repeated and random.random() < 0.5:
        letter = random.choice(repeated)
    return letter.lower() if letter.isalpha() else "e"


def _solve(kind: str, word: str, letter: str) -> tuple[str, str, str]:
    """Thoughts at high and at medium effort, and the answer."""
    numbered = [f"{place}{each}" for place, each in enumerate(word, start=1)]
    forwards, backwards = "".join(numbered), "".join(reversed(numbered))
    match kind:
        case "copy":
            return f"I repeat it exactly: {word}", "I repeat it exactly.", word
        case "reverse":
            high = f"{forwards}\n{_growing(numbered, word[::-1])}"
            return high, f"{forwards}\n{backwards}", word[::-1]
        case "spell":
            return forwards, word, "-".join(word)
        case "length":
            return forwards, forwards, str(len(word))
        case _:
            return _running_count(word, letter), _marked(word, letter), _count(word, letter)


def _growing(numbered: list[str], reverse: str) -> str:
    """From the last letter to the first, each with the reversed word so far."""
    steps = zip(reversed(numbered), range(1, len(reverse) + 1), strict=True)
    return " ".join(f"{each}:{reverse[:end]}" for each, end in steps)


def _count(word: str, letter: str) -> str:
    return str(word.lower().count(letter))


def _running_count(word: str, letter: str) -> str:
    counts = (_count(word[: end + 1], letter) for end in range(len(word)))
    return f"{letter}: " + "".join(
        f"{each}{count}" for each, count in zip(word, counts, strict=True)
    )


def _marked(word: str, letter: str) -> str:
    marks, count = [], 0
    for each in word:
        count += each.lower() == letter
        marks.append(f"{each}{count}" if each.lower() == letter else each)
    return "".join(marks)
