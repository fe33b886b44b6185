"""Sums and differences of whole numbers from 0 to 9999, digit by digit.

High effort aligns both numbers to four digits, says which one is larger before it subtracts, writes
one line per digit with the carry or borrow, and lets the result grow from the right at the end of
each line. Medium effort writes the digit sums only. Every line is true arithmetic.
"""

from __future__ import annotations

from random import Random

from motet.training.exercise import Exercise, polite, thoughts
from motet.training.phrases import phrases

DIGITS = 4


def arithmetic(random: Random) -> Exercise:
    """One sum or difference; the numbers' lengths are uniform, many need carries."""
    a, b = _number(random), _number(random)
    if random.random() < 0.1:
        b = min(9999, max(0, a + random.randint(-12, 12)))
    sign = random.choice("+-")
    wording = random.choice(phrases("arithmetic", "sums" if sign == "+" else "differences"))
    result = a + b if sign == "+" else a - b
    if sign == "+":
        chains = thoughts(_sum_high(a, b), _sum_medium(a, b))
    else:
        chains = thoughts(_difference_high(a, b), _difference_medium(a, b))
    question = polite(random, wording.format(a=a, b=b))
    return Exercise("arithmetic", f"{a}{sign}{b}", question, str(result), chains)


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


def _difference_high(a: int, b: int) -> str:
    large, small = max(a, b), min(a, b)
    relation = "less, -" if a < b else "not less, +"
    lines = [f"{a:04} - {b:04}", f"{relation}({large:04} - {small:04})"]
    borrow, result = 0, ""
    for x, y in _columns(large, small, DIGITS):
        difference = x - y - borrow
        digit, lent = difference % 10, int(difference < 0)
        result = f"{digit}{result}"
        lines.append(f"{x + 10 * lent}-{y}-{borrow}={digit}, borrow {lent}: {result}")
        borrow = lent
    return "\n".join([*lines, f"{'-' if a < b else '+'}{result} = {a - b}"])


def _difference_medium(a: int, b: int) -> str:
    large, small = max(a, b), min(a, b)
    lines, borrow = [f"{'-' if a < b else '+'}({large} - {small})"], 0
    for x, y in _columns(large, small, len(str(large))):
        difference = x - y - borrow
        digit, lent = difference % 10, int(difference < 0)
        lines.append(f"{x + 10 * lent:02}-{y}-{borrow}={digit}")
        borrow = lent
    return "\n".join(lines)


def _columns(a: int, b: int, count: int) -> list[tuple[int, int]]:
    """The digits of both numbers, the ones first."""
    return [(a // 10**place % 10, b // 10**place % 10) for place in range(count)]
