"""Words for exercises: real ones out of the o200k ranks, made-up ones, names, things and values."""

from __future__ import annotations

from functools import cache
from random import Random

from motet.harmony import o200k_harmony
from motet.training.vocabulary import nano_vocabulary

_REAL_WORD_RANKS = 24_000
_VOWELS = ("a", "e", "i", "o", "u", "a", "e", "i", "o", "ai", "ou", "ee", "oo")
_STARTS = ("b", "br", "c", "ch", "d", "dr", "f", "fl", "g", "gr", "h", "j", "k", "l", "m", "n", "p", "pl", "qu", "r", "s",
           "sh", "sl", "st", "t", "th", "tr", "v", "w", "x", "y", "z")
_ENDS = ("", "", "", "b", "ck", "d", "g", "l", "ll", "m", "n", "nd", "p", "r", "rt", "s", "ss", "st", "t", "tt", "x", "z")

NAMES = (
    "Anna", "Ben", "Carla", "David", "Emma", "Felix", "Grace", "Hugo", "Ida", "Jonas", "Kim", "Leo", "Mia", "Nora", "Oscar",
    "Paul", "Quinn", "Rosa", "Sam", "Tina", "Uma", "Victor", "Wendy", "Xavier", "Yara", "Zoe", "Alice", "Bob", "Charlie",
    "Diana", "Eva", "Frank", "Hannah", "Ivan", "Julia", "Karl", "Lena", "Marco", "Nina", "Otto", "Peter", "Ruth", "Simon",
    "Tom", "Lucy", "Maria", "John", "Mary", "James", "Sofia", "Omar", "Aisha", "Chen", "Priya", "Kenji", "Olga",
)
CITIES = (
    "Oslo", "Rome", "Paris", "Berlin", "Madrid", "London", "Tokyo", "Lima", "Cairo", "Delhi", "Vienna", "Prague", "Dublin",
    "Athens", "Lisbon", "Warsaw", "Boston", "Chicago", "Sydney", "Toronto", "Nairobi", "Seoul", "Hanoi", "Bern", "Helsinki",
    "New York", "San Francisco", "Los Angeles", "Buenos Aires", "Cape Town", "Amsterdam", "Munich", "Istanbul", "Zurich",
)
COLOURS = ("red", "blue", "green", "yellow", "black", "white", "brown", "pink", "purple", "orange", "grey", "silver")
THINGS = (
    "box", "car", "house", "book", "lamp", "chair", "table", "bag", "cup", "key", "bike", "phone", "door", "hat", "coat", "boat",
    "train", "clock", "pen", "ring", "ball", "stone", "tree", "garden", "camera", "letter", "parcel", "bottle", "basket", "ticket",
)
ANIMALS = ("cat", "dog", "horse", "rabbit", "parrot", "fish", "goat", "cow", "sheep", "duck", "fox", "mouse", "owl", "turtle")
FOODS = ("pizza", "soup", "rice", "pasta", "apples", "bread", "cheese", "cake", "fish", "salad", "bananas", "honey", "noodles")
JOBS = ("teacher", "doctor", "baker", "pilot", "farmer", "nurse", "painter", "lawyer", "singer", "writer", "cook", "driver")
LANGUAGES = ("French", "German", "Spanish", "Italian", "Greek", "Hindi", "Japanese", "Polish", "Turkish", "Arabic", "Dutch")


@cache
def vocabulary_words() -> tuple[str, ...]:
    """The words that are single tokens of the nano model, whose letters it has to know by heart."""
    vocabulary = nano_vocabulary()
    tokens = (vocabulary.token_bytes(token) or b"" for token in range(vocabulary.size))
    return tuple(token[1:].decode() for token in tokens if token[:1] == b" " and token[1:].isalpha() and token.isascii())


@cache
def real_words() -> tuple[str, ...]:
    """Lower-case words of 3 to 12 letters that have a token of their own, the common ones first."""
    tokens = map(o200k_harmony().token_bytes, range(_REAL_WORD_RANKS))
    words = (token[1:].decode() for token in tokens if token and token[:1] == b" " and token[1:].isalpha() and token.isascii())
    return tuple(word for word in words if 3 <= len(word) <= 12 and word.islower())


def real_word(random: Random) -> str:
    """A common real word."""
    return random.choice(real_words())


def made_up_word(random: Random, syllables: int | None = None) -> str:
    """A pronounceable word of 2 to 12 letters."""
    count = syllables or random.choice((1, 2, 2, 2, 3, 3, 4))
    return "".join(random.choice(_STARTS) + random.choice(_VOWELS) + random.choice(_ENDS) for _ in range(count))[:12]


def any_word(random: Random) -> str:
    """A word of 2 to 12 letters: real, made up, or any letters at all."""
    style = random.random()
    if style < 0.2:
        return random.choice(vocabulary_words())
    if style < 0.5:
        return real_word(random)
    if style < 0.85:
        return made_up_word(random)
    return "".join(random.choice("abcdefghijklmnopqrstuvwxyz") for _ in range(random.randint(2, 12)))


def person(random: Random) -> str:
    """A first name, at times a made-up one."""
    return random.choice(NAMES) if random.random() < 0.7 else made_up_word(random, 2).capitalize()


def city(random: Random) -> str:
    """A city, at times a made-up one."""
    return random.choice(CITIES) if random.random() < 0.7 else made_up_word(random, 2).capitalize()


def thing(random: Random) -> str:
    """A thing of everyday life, at times any word."""
    return random.choice(THINGS) if random.random() < 0.7 else real_word(random)


def whole_number(random: Random, digits: int = 4) -> int:
    """A number of 1 to `digits` digits, every length equally often."""
    return random.randrange(10 ** random.randint(1, digits))


def code(random: Random) -> str:
    """An identifier such as `K7-402`."""
    letters = "".join(random.choice("ABCDEFGHIJKLMNOPQRSTUVWXYZ") for _ in range(random.randint(1, 2)))
    return f"{letters}{random.choice(('', '-'))}{random.randint(1, 999)}"
