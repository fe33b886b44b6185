"""Comparing and sorting up to five numbers of up to four digits, by repeated choice of the best.

All numbers are written with four digits and a letter, so that numbers that look alike are told
apart. High effort goes through those that are left with the best so far, comparing digit by digit,
thousands first (M, C, X, I), until two digits differ. Medium effort names the best number at once.
In both, the sorted numbers grow at the end of the lines.
"""

from __future__ import annotations

from random import Random

from motet.training.exercise import Exercise, polite, thoughts
from motet.training.phrases import phrases

_LABELS = "abcde"
_COLUMNS = "MCXI"  # 1000, 100, 10, 1


def ordering(random: Random) -> Exercise:
    """One comparison of two numbers, extreme of up to five, or sort of up to five."""
    kind = random.choices(("two", "extreme", "sort"), (2, 2, 5))[0]
    numbers = _numbers(random, _count(random, kind))
    largest = random.random() < (0.5 if kind != "sort" else 0.35)
    steps = 1 if kind != "sort" else len(numbers)
    wording = random.choice(phrases("ordering", _wordings(kind, largest)))
    question = wording.format(a=numbers[0], b=numbers[-1], n=_listed(random, numbers))
    answer = ", ".join(map(str, sorted(numbers, reverse=largest)[:steps]))
    return Exercise(
        task="ordering",
        key=f"{kind}{largest}{sorted(numbers)}",
        question=polite(random, question),
        answer=answer,
        thoughts=thoughts(
            high=_high(numbers, largest, steps), medium=_medium(numbers, largest, steps)
        ),
        letter_by_letter=True,
    )


def _count(random: Random, kind: str) -> int:
    if kind == "two":
        return 2
    return random.choice((3, 4, 5) if kind == "extreme" else (2, 3, 3, 4, 4, 5, 5))


def _wordings(kind: str, largest: bool) -> str:
    match kind:
        case "two":
            return "larger_of_two" if largest else "smaller_of_two"
        case "extreme":
            return "largest" if largest else "smallest"
        case _:
            return "descending" if largest else "ascending"


def _numbers(random: Random, count: int) -> list[int]:
    style, digits = random.random(), random.randint(1, 4)
    if style < 0.35:
        pool = [_with_digits(random, digits) for _ in range(count)]
    elif style < 0.6 and digits > 1:
        base = _with_digits(random, digits)
        step = 10 ** random.randint(1, digits - 1)
        pool = [base // step * step + random.randrange(step) for _ in range(count)]
    else:
        pool = [_with_digits(random, random.randint(1, 4)) for _ in range(count)]
    while len(set(pool)) < len(pool) and random.random() < 0.9:
        pool = [*dict.fromkeys(pool), _with_digits(random, random.randint(1, 4))][:count]
        pool += [_with_digits(random, random.randint(1, 4)) for _ in range(count - len(pool))]
    return pool


def _with_digits(random: Random, digits: int) -> int:
    return random.randint(10 ** (digits - 1) if digits > 1 else 0, 10**digits - 1)


def _listed(random: Random, numbers: list[int]) -> str:
    style = random.random()
    texts = list(map(str, numbers))
    if style < 0.6:
        return ", ".join(texts)
    if style < 0.75:
        return " ".join(texts)
    if style < 0.85:
        return ",".join(texts)
    return f"{', '.join(texts[:-1])} and {texts[-1]}"


def _high(numbers: list[int], largest: bool, steps: int) -> str:
    """Who is left; the best so far against the next, digit by digit; the winner of them all."""
    lines, left = [_opening(numbers, largest)], list(enumerate(numbers))
    taken: list[int] = []
    for _ in range(steps):
        lines.append("".join(_LABELS[label] for label, _ in left))
        best = left[0]
        for other in left[1:]:
            comparison, best = _compared(best, other, largest)
            lines.append(comparison)
        lines.append(_taken(best, taken))
        left.remove(best)
    return "\n".join(lines)


def _compared(
    best: tuple[int, int], other: tuple[int, int], largest: bool
) -> tuple[str, tuple[int, int]]:
    """Two labelled numbers digit by digit until they differ; the line and the better one."""
    text = f"{_LABELS[best[0]]}{_LABELS[other[0]]}"
    for column, x, y in zip(_COLUMNS, f"{best[1]:04}", f"{other[1]:04}", strict=True):
        text += f"{column}{x}{y}"
        if x != y:
            break
    winner = other if (other[1] > best[1] if largest else other[1] < best[1]) else best
    return f"{text}{'>' if largest else '<'}{_LABELS[winner[0]]}", winner


def _medium(numbers: list[int], largest: bool, steps: int) -> str:
    """The best of who is left, seen at a glance."""
    best_first = sorted(enumerate(numbers), key=lambda each: each[1], reverse=largest)
    taken: list[int] = []
    lines = [_taken(best, taken) for best in best_first[:steps]]
    return "\n".join([_opening(numbers, largest), *lines])


def _opening(numbers: list[int], largest: bool) -> str:
    labelled = " ".join(f"{_LABELS[label]}{number:04}" for label, number in enumerate(numbers))
    return f"{'>' if largest else '<'} {labelled}"


def _taken(best: tuple[int, int], taken: list[int]) -> str:
    """The line for one more number taken, with all numbers taken so far, and adds it to them."""
    label, number = best
    taken.append(number)
    return f"{_LABELS[label]}{number:04}: {', '.join(map(str, taken))}"
