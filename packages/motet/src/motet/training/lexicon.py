"""Words for exercises: real ones out of the o200k ranks, made-up ones, names, things and values."""

from __future__ import annotations

from functools import cache
from random import Random
from string import ascii_lowercase, ascii_uppercase

from motet.harmony import o200k_harmony
from motet.training.phrases import phrases
from motet.training.vocabulary import nano_vocabulary

_REAL_WORD_RANKS = 24_000
_VOWELS, _STARTS, _ENDS = (phrases("lexicon", kind) for kind in ("vowels", "starts", "ends"))


@cache
def vocabulary_words() -> tuple[str, ...]:
    """The words that are single tokens of the nano model, whose letters it has to know by heart."""
    vocabulary = nano_vocabulary()
    tokens = (vocabulary.token_bytes(token) or b"" for token in range(vocabulary.size))
    return tuple(
        token[1:].decode()
        for token in tokens
        if token[:1] == b" " and token[1:].isalpha() and token.isascii()
    )


@cache
def real_words() -> tuple[str, ...]:
    """Common lower-case words of 3 to 10 letters, none of them a single token of the nano model."""
    tokens = (o200k_harmony().token_bytes(rank) or b"" for rank in range(_REAL_WORD_RANKS))
    words = (
        token[1:].decode()
        for token in tokens
        if token[:1] == b" " and token[1:].isalpha() and token.isascii()
    )
    whole = set(vocabulary_words())
    return tuple(
        word for word in words if 3 <= len(word) <= 10 and word.islower() and word not in whole
    )


def real_word(random: Random) -> str:
    """A common real word."""
    return random.choice(real_words())


def made_up_word(random: Random, syllables: int | None = None) -> str:
    """A pronounceable word of 2 to 10 letters."""
    count = syllables or random.choice((1, 2, 2, 2, 3, 3))
    parts = (
        random.choice(_STARTS) + random.choice(_VOWELS) + random.choice(_ENDS) for _ in range(count)
    )
    return "".join(parts)[:10]


def any_word(random: Random) -> str:
    """A word of 2 to 10 letters: real, made up, or any letters at all."""
    style = random.random()
    if style < 0.03:
        return random.choice(vocabulary_words())
    if style < 0.6:
        return real_word(random)
    if style < 0.93:
        return made_up_word(random)
    return "".join(random.choice(ascii_lowercase) for _ in range(random.randint(2, 10)))


def person(random: Random) -> str:
    """A first name, at times a made-up one."""
    return _name(random, "names")


def city(random: Random) -> str:
    """A city, at times a made-up one."""
    return _name(random, "cities")


def thing(random: Random) -> str:
    """A thing of everyday life, at times any word."""
    return (
        random.choice(phrases("lexicon", "things")) if random.random() < 0.85 else real_word(random)
    )


def whole_number(random: Random, digits: int = 4) -> int:
    """A number of 1 to `digits` digits, every length equally often."""
    return random.randrange(10 ** random.randint(1, digits))


def code(random: Random) -> str:
    """An identifier such as `K7-402`."""
    letters = "".join(random.choice(ascii_uppercase) for _ in range(random.randint(1, 2)))
    return f"{letters}{random.choice(('', '-'))}{random.randint(1, 999)}"


def _name(random: Random, kind: str) -> str:
    if random.random() < 0.85:
        return random.choice(phrases("lexicon", kind))
    return made_up_word(random, 2).capitalize()
