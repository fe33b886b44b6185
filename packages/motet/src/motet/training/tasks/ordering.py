"""Comparing and sorting up to five numbers of up to four digits, by repeated choice of the best.

All numbers are written with four digits, so that the larger one is the one that is larger at the
first digit that differs. High effort walks through what is left with the best number so far beside
each, then writes the best and what is left without it. Medium effort leaves out the walk.
"""

from __future__ import annotations

from random import Random

from motet.training.exercise import Exercise, polite, thoughts

_LARGER_OF_TWO = (
    "Which is bigger, {a} or {b}?", "Which is larger, {a} or {b}?", "Which is greater, {a} or {b}?",
    "Which number is bigger: {a} or {b}?", "What is bigger, {a} or {b}?", "What is larger: {a} or {b}?",
    "Which one is greater: {a} or {b}?", "Which of {a} and {b} is larger?", "Which of {a} and {b} is bigger?",
    "Compare {a} and {b}. Which is bigger?", "Compare {a} and {b}: which one is larger?", "Is {a} or {b} bigger?",
    "Is {a} or {b} larger?", "{a} or {b}, which is bigger?", "{a} or {b}: which is more?", "Which is more, {a} or {b}?",
    "Which is higher, {a} or {b}?", "What is the larger of {a} and {b}?", "The bigger of {a} and {b}?",
    "Name the larger number: {a} or {b}.", "max({a}, {b})", "What is max({a}, {b})?", "Tell me which is bigger, {a} or {b}.",
    "Give me the greater of {a} and {b}.", "Pick the larger: {a}, {b}", "Which is the bigger number, {a} or {b}?",
)
_SMALLER_OF_TWO = (
    "Which is smaller, {a} or {b}?", "Which is less, {a} or {b}?", "Which is lower, {a} or {b}?",
    "Which number is smaller: {a} or {b}?", "What is smaller, {a} or {b}?", "What is less: {a} or {b}?",
    "Which one is smaller: {a} or {b}?", "Which of {a} and {b} is smaller?", "Which of {a} and {b} is less?",
    "Compare {a} and {b}. Which is smaller?", "Compare {a} and {b}: which one is less?", "Is {a} or {b} smaller?",
    "Is {a} or {b} less?", "{a} or {b}, which is smaller?", "{a} or {b}: which is less?",
    "What is the smaller of {a} and {b}?", "The smaller of {a} and {b}?", "Name the smaller number: {a} or {b}.",
    "min({a}, {b})", "What is min({a}, {b})?", "Tell me which is smaller, {a} or {b}.", "Give me the lesser of {a} and {b}.",
    "Pick the smaller: {a}, {b}", "Which is the smaller number, {a} or {b}?", "Which is the lower number, {a} or {b}?",
)
_LARGEST = (
    "What is the largest of {n}?", "What is the biggest of {n}?", "Which is the largest: {n}?", "Largest of {n}",
    "Which number is the biggest: {n}?", "Find the largest number: {n}", "Find the maximum of {n}.", "max({n})",
    "What is the maximum of {n}?", "The largest of {n}?", "Biggest number in {n}?", "Which is the greatest of {n}?",
    "What is the greatest number in {n}?", "Give me the largest of {n}.", "Give me the maximum: {n}", "Pick the biggest: {n}",
    "Which of {n} is the largest?", "Which of {n} is the biggest?", "Which of these is the largest: {n}?",
    "Which of these numbers is the biggest? {n}", "Tell me the largest number in {n}.", "Highest of {n}?",
    "What is the highest number: {n}?", "Here are some numbers: {n}. Which is the largest?", "Maximum of {n}",
    "{n}: which is the biggest?", "What's the largest of {n}?", "From {n}, choose the largest.",
)
_SMALLEST = (
    "What is the smallest of {n}?", "What is the least of {n}?", "Which is the smallest: {n}?", "Smallest of {n}",
    "Which number is the smallest: {n}?", "Find the smallest number: {n}", "Find the minimum of {n}.", "min({n})",
    "What is the minimum of {n}?", "The smallest of {n}?", "Smallest number in {n}?", "Which is the lowest of {n}?",
    "What is the lowest number in {n}?", "Give me the smallest of {n}.", "Give me the minimum: {n}", "Pick the smallest: {n}",
    "Which of {n} is the smallest?", "Which of {n} is the lowest?", "Which of these is the smallest: {n}?",
    "Which of these numbers is the smallest? {n}", "Tell me the smallest number in {n}.", "Lowest of {n}?",
    "What is the lowest number: {n}?", "Here are some numbers: {n}. Which is the smallest?", "Minimum of {n}",
    "{n}: which is the smallest?", "What's the smallest of {n}?", "From {n}, choose the smallest.",
)
_ASCENDING = (
    "Sort {n}", "Sort {n}.", "Sort these numbers: {n}", "Sort the numbers {n}.", "Sort: {n}", "sort {n} please",
    "Sort {n} in ascending order.", "Sort {n} ascending", "Sort ascending: {n}", "Order {n}.", "Order these numbers: {n}",
    "Put {n} in order.", "Put these numbers in order: {n}", "Put {n} in ascending order.", "Arrange {n} in ascending order.",
    "Arrange {n} from smallest to largest.", "Sort {n} from smallest to largest.", "Sort from small to large: {n}",
    "Order {n} from low to high.", "Rank {n} from lowest to highest.", "List {n} in increasing order.",
    "Sort in increasing order: {n}", "Can you sort {n}?", "Could you sort these: {n}?", "{n} sorted", "{n} in order",
    "What is {n} in ascending order?", "Here are some numbers: {n}. Sort them.", "Write {n} in order, smallest first.",
    "Sort the list {n}", "Sort this list: {n}", "Sort the following numbers: {n}", "sort [{n}]", "sorted({n})",
)
_DESCENDING = (
    "Sort {n} in descending order.", "Sort {n} descending", "Sort descending: {n}", "Put {n} in descending order.",
    "Arrange {n} in descending order.", "Arrange {n} from largest to smallest.", "Sort {n} from largest to smallest.",
    "Sort from large to small: {n}", "Order {n} from high to low.", "Rank {n} from highest to lowest.",
    "List {n} in decreasing order.", "Sort in decreasing order: {n}", "Can you sort {n} in descending order?",
    "Could you sort these descending: {n}?", "{n} sorted descending", "{n} in descending order",
    "What is {n} in descending order?", "Here are some numbers: {n}. Sort them in descending order.",
    "Write {n} in order, largest first.", "Sort the list {n} in descending order.", "Sort {n}, largest first.",
    "Sort {n} with the biggest first.", "Order these numbers from largest to smallest: {n}", "Sort {n} in reverse order.",
    "Sort the following numbers in descending order: {n}", "Sort these numbers from highest to lowest: {n}",
)


def ordering(random: Random) -> Exercise:
    """One comparison of two numbers, extreme of up to five, or sort of up to five."""
    kind = random.choices(("two", "extreme", "sort"), (2, 2, 5))[0]
    count = 2 if kind == "two" else random.choice((3, 4, 5) if kind == "extreme" else (2, 3, 3, 4, 4, 5, 5))
    numbers = _numbers(random, count)
    largest = random.random() < (0.5 if kind != "sort" else 0.35)
    steps = 1 if kind != "sort" else count
    template = random.choice(_templates(kind, largest))
    question = template.format(a=numbers[0], b=numbers[-1], n=_listed(random, numbers))
    ranked = sorted(numbers, reverse=largest)
    key = f"{kind}{largest}{sorted(numbers)}"
    chains = thoughts(_chain(numbers, largest, steps, True), _chain(numbers, largest, steps, False))
    return Exercise("ordering", key, polite(random, question), ", ".join(map(str, ranked[:steps])), chains)


def _templates(kind: str, largest: bool) -> tuple[str, ...]:
    match kind:
        case "two":
            return _LARGER_OF_TWO if largest else _SMALLER_OF_TWO
        case "extreme":
            return _LARGEST if largest else _SMALLEST
        case _:
            return _DESCENDING if largest else _ASCENDING


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
    left, taken = list(numbers), []
    lines = [("largest: " if largest else "smallest: ") + _padded(left)]
    for _ in range(steps):
        best = left[0]
        pairs = []
        for number in left:
            best = max(best, number) if largest else min(best, number)
            pairs.append(f"{number:04}:{best:04}")
        if walk and len(left) > 1:
            lines.append(" ".join(pairs))
        left.remove(best)
        taken.append(best)
        if steps > 1:
            lines.append(f"{best:04} left {_padded(left)}".rstrip())
        else:
            lines.append(f"{best:04}")
    if steps > 1:
        lines.append(f"sorted {_padded(taken)}")
    return "\n".join(lines)


def _padded(numbers: list[int]) -> str:
    return " ".join(f"{number:04}" for number in numbers)
