"""Words letter by letter: copy, spell, reverse, count letters.

High effort numbers the letters, so that reversing is reading the numbers backwards, or keeps the
running count beside each letter. Medium effort only spells.
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
    return Exercise("letters", key, question, answer, thoughts(high, medium))


def _word(random: Random) -> str:
    word = any_word(random)
    style = random.random()
    return word.capitalize() if style < 0.12 else word.upper() if style < 0.15 else word


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
    spelled, backwards = " ".join(word), " ".join(reversed(word))
    numbered = [f"{place}{each}" for place, each in enumerate(word, start=1)]
    match kind:
        case "copy":
            return f"I repeat it exactly: {word}", "I repeat it exactly.", word
        case "reverse":
            high = f"{' '.join(numbered)}\n{' '.join(reversed(numbered))}"
            return high, f"{spelled}\n{backwards}", word[::-1]
        case "spell":
            return " ".join(numbered), spelled, "-".join(word)
        case "length":
            return " ".join(numbered), spelled, str(len(word))
        case _:
            return (
                _running_count(word, letter),
                _marked(word, letter),
                str(word.lower().count(letter)),
            )


def _running_count(word: str, letter: str) -> str:
    counts = (word[: end + 1].lower().count(letter) for end in range(len(word)))
    pairs = zip(word, counts, strict=True)
    return f"count {letter}: " + " ".join(f"{each}{count}" for each, count in pairs)


def _marked(word: str, letter: str) -> str:
    marks, count = [], 0
    for each in word:
        count += each.lower() == letter
        marks.append(f"{each}{count}" if each.lower() == letter else each)
    return " ".join(marks)
