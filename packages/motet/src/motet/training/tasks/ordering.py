"""Comparing and sorting up to five numbers of up to four digits, by repeated choice of the best.

All numbers are written with four digits, so that the first digit that differs decides, and with a
letter, so that numbers that look alike are told apart. High effort walks through what is left with
the best number so far beside each, then writes the best and what is left without it. Medium effort
leaves out the walk.
"""

from __future__ import annotations

from random import Random

from motet.training.exercise import Exercise, polite, thoughts
from motet.training.phrases import phrases

_LABELS = "abcde"


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
            high=_chain(numbers, largest, steps, walk=True),
            medium=_chain(numbers, largest, steps, walk=False),
        ),
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


def _chain(numbers: list[int], largest: bool, steps: int, walk: bool) -> str:
    left, taken = list(zip(_LABELS, numbers, strict=False)), []
    lines = [("largest: " if largest else "smallest: ") + _shown(left)]
    for _ in range(steps):
        bests = [_best(left[:end], largest) for end in range(1, len(left) + 1)]
        if walk and len(left) > 1:
            pairs = zip(left, bests, strict=True)
            lines.append(" ".join(f"{_shown([each])}:{_shown([best])}" for each, best in pairs))
        left.remove(bests[-1])
        taken.append(bests[-1])
        remaining = f" left {_shown(left)}".rstrip() if steps > 1 else ""
        lines.append(_shown(taken[-1:]) + remaining)
    if steps > 1:
        lines.append(f"sorted {_shown(taken)}")
    return "\n".join(lines)


def _best(numbers: list[tuple[str, int]], largest: bool) -> tuple[str, int]:
    """The first of the largest or smallest."""
    return (max if largest else min)(numbers, key=lambda labelled: labelled[1])


def _shown(numbers: list[tuple[str, int]]) -> str:
    return " ".join(f"{label}{number:04}" for label, number in numbers)
