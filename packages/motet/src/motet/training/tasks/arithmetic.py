"""Sums and differences of whole numbers from 0 to 9999, digit by digit.

High effort aligns both numbers to four digits, says which one is larger before it subtracts, writes
one line per digit with the carry or borrow, and lets the result grow from the right at the end of
each line. Medium effort writes the digit sums only. Every line is true arithmetic.
"""

from __future__ import annotations

from random import Random

from motet.training.exercise import Exercise, polite, thoughts

DIGITS = 4

_SUMS = (
    "What is {a} + {b}?", "{a} + {b}", "{a}+{b}", "{a} + {b} =", "{a}+{b}=", "{a} + {b} = ?", "{a}+{b}=?",
    "{a}+{b}?", "{a} + {b}?", "Add {a} and {b}.", "Add {a} to {b}.", "What's {a} + {b}?", "What's {a} plus {b}?",
    "What is {a} plus {b}?", "{a} plus {b}", "{a} plus {b}?", "Calculate {a} + {b}.", "Compute {a} + {b}.",
    "Calculate {a}+{b}", "How much is {a} + {b}?", "How much is {a} plus {b}?", "What is the sum of {a} and {b}?",
    "Sum of {a} and {b}", "The sum of {a} and {b}?", "Find the sum of {a} and {b}.", "Work out {a} + {b}.",
    "Solve {a} + {b}.", "Sum {a} and {b}.", "Find {a} + {b}.", "Evaluate {a} + {b}.", "What does {a} + {b} equal?",
    "What do {a} and {b} make?", "What do you get if you add {a} and {b}?", "What is {a} added to {b}?",
    "I have {a} apples and get {b} more. How many apples do I have?", "Tell me {a} + {b}.",
    "If I add {a} and {b}, what is the result?", "{a} and {b} together", "Total of {a} and {b}?",
    "What is the total of {a} and {b}?", "What is {a}+{b}?", "what is {a} + {b}", "How many are {a} and {b}?",
)
_DIFFERENCES = (
    "What is {a} - {b}?", "{a} - {b}", "{a}-{b}", "{a} - {b} =", "{a}-{b}=", "{a} - {b} = ?", "{a}-{b}=?",
    "{a}-{b}?", "{a} - {b}?", "Subtract {b} from {a}.", "What's {a} - {b}?", "What's {a} minus {b}?",
    "What is {a} minus {b}?", "{a} minus {b}", "{a} minus {b}?", "Calculate {a} - {b}.", "Compute {a} - {b}.",
    "Calculate {a}-{b}", "How much is {a} - {b}?", "How much is {a} minus {b}?", "Take {b} away from {a}.",
    "Take {b} from {a}.", "What is {a} less {b}?", "Work out {a} - {b}.", "Solve {a} - {b}.", "Find {a} - {b}.",
    "Evaluate {a} - {b}.", "What does {a} - {b} equal?", "What do you get if you subtract {b} from {a}?",
    "What is {a} take away {b}?", "Tell me {a} - {b}.", "If I subtract {b} from {a}, what is the result?",
    "I have {a} apples and give away {b}. How many apples are left?", "What remains of {a} after taking {b}?",
    "What is {b} subtracted from {a}?", "What is the difference {a} - {b}?", "What is {a}-{b}?", "what is {a} - {b}",
    "How much is left of {a} if you take {b}?", "Deduct {b} from {a}.",
)


def arithmetic(random: Random) -> Exercise:
    """One sum or difference; the numbers' lengths are uniform, many need carries."""
    a, b = _number(random), _number(random)
    if random.random() < 0.1:
        b = min(9999, max(0, a + random.randint(-12, 12)))
    sign = random.choice("+-")
    question = random.choice(_SUMS if sign == "+" else _DIFFERENCES).format(a=a, b=b)
    result = a + b if sign == "+" else a - b
    chains = (_sum_high(a, b), _sum_medium(a, b)) if sign == "+" else (_minus_high(a, b), _minus_medium(a, b))
    return Exercise("arithmetic", f"{a}{sign}{b}", polite(random, question), str(result), thoughts(*chains))


def _number(random: Random) -> int:
    digits = random.randint(1, DIGITS)
    if random.random() < 0.15:
        return int("".join(random.choice("0199") for _ in range(digits)))
    return random.randint(10 ** (digits - 1) if digits > 1 else 0, 10**digits - 1)


def _sum_high(a: int, b: int) -> str:
    lines, carry, result = [f"{a:04} + {b:04}"], 0, ""
    for x, y in _columns(a, b, DIGITS):
        total = x + y + carry
        result = f"{total % 10}{result}"
        lines.append(f"{x}+{y}+{carry}={total}, carry {total // 10}: {result}")
        carry = total // 10
    return "\n".join([*lines, f"{carry}{result} = {a + b}"])


def _sum_medium(a: int, b: int) -> str:
    lines, carry = [], 0
    for x, y in _columns(a, b, max(len(str(a)), len(str(b)))):
        total = x + y + carry
        lines.append(f"{x}+{y}+{carry}={total:02}")
        carry = total // 10
    return "\n".join(lines)


def _minus_high(a: int, b: int) -> str:
    large, small = max(a, b), min(a, b)
    relation = "less, -" if a < b else "not less, +"
    lines, borrow, result = [f"{a:04} - {b:04}", f"{relation}({large:04} - {small:04})"], 0, ""
    for x, y in _columns(large, small, DIGITS):
        difference = x - y - borrow
        result = f"{difference % 10}{result}"
        lines.append(f"{x + 10 * (difference < 0)}-{y}-{borrow}={difference % 10}, borrow {int(difference < 0)}: {result}")
        borrow = int(difference < 0)
    return "\n".join([*lines, f"{'-' if a < b else '+'}{result} = {a - b}"])


def _minus_medium(a: int, b: int) -> str:
    large, small = max(a, b), min(a, b)
    lines, borrow = [f"{'-' if a < b else '+'}({large} - {small})"], 0
    for x, y in _columns(large, small, len(str(large))):
        difference = x - y - borrow
        lines.append(f"{x + 10 * (difference < 0):02}-{y}-{borrow}={difference % 10}")
        borrow = int(difference < 0)
    return "\n".join(lines)


def _columns(a: int, b: int, count: int) -> list[tuple[int, int]]:
    """The digits of both numbers, the ones first."""
    return [(a // 10**place % 10, b // 10**place % 10) for place in range(count)]
