"""Words letter by letter: copy, spell, reverse, count letters.

High effort numbers the letters, so that reversing is reading the numbers backwards, or keeps the
running count beside each letter. Medium effort only spells.
"""

from __future__ import annotations

from random import Random

from motet.training.exercise import Exercise, polite, thoughts
from motet.training.lexicon import any_word, code, made_up_word, person, real_word, whole_number

_COPY = (
    "Repeat after me: {w}", "Copy: {w}", "Say: {w}", "Repeat: {w}", "Say {q}", "Repeat {q}", "Copy {q}", "Copy this: {w}",
    "Repeat this: {w}", "Echo: {w}", "echo {w}", "Say exactly this: {w}", "Please repeat: {w}", "Write {q}", "Type {q}",
    "Copy the following: {w}", "Repeat the following: {w}", "Repeat the words {q}", "Say the words {q}", "Print {q}",
    "Write down: {w}", "Copy this text: {w}", "Repeat this text exactly: {w}", "Say only this: {w}", "Answer with {q}",
    "Output exactly: {w}", "Return this text: {w}", "Write this: {w}", "Can you repeat {q}?", "Can you say {q}?",
    "Reply with {q}", "Just say {q}", "Repeat word for word: {w}", "Copy the text {q}", "Please copy {q}",
)
_REVERSE = (
    "Reverse the word {w}.", "Reverse {w}", "Reverse {q}", "Reverse the word {q}.", "Spell {w} backwards.", "Spell {q} backwards.",
    "Write {w} backwards.", "Write the word {w} backwards.", "Write {q} in reverse.", "What is {w} backwards?",
    "What is {q} backwards?", "What's {w} spelled backwards?", "What is {w} reversed?", "{w} backwards", "{w} reversed",
    "Reverse the letters of {w}.", "Reverse the letters in {q}.", "Spell the word {w} backwards.", "Say {w} backwards.",
    "Turn the word {w} around.", "Turn {q} around.", "Can you reverse {w}?", "Can you spell {w} backwards?", "reverse: {w}",
    "Reverse this word: {w}", "Flip the word {w}.", "How do you write {w} backwards?", "How do you spell {w} backwards?",
    "Give me {w} in reverse.", "Write {w} in reverse order.", "Reverse the string {q}.", "Write {w} from back to front.",
    "What do you get when you reverse {w}?", "What does {w} look like backwards?", "Read {w} backwards.",
)
_SPELL = (
    "Spell {w}.", "Spell {q}", "Spell the word {w}.", "How do you spell {w}?", "How is {w} spelled?", "Spell out {w}.",
    "Spell out the word {q}.", "Can you spell {w}?", "Spell {w} letter by letter.", "List the letters of {w}.",
    "What are the letters of {w}?", "What are the letters in {q}?", "Write {w} letter by letter.", "How do I spell {w}?",
    "Give me the letters of {w}.", "Spelling of {w}?", "What is the spelling of {w}?", "Name the letters in {w}.",
    "Split {w} into letters.", "Break {w} into letters.", "Which letters are in {w}?", "Say the letters of {w}.",
    "Write out the letters of {w}.", "Show me how to spell {w}.", "Tell me how {w} is spelled.", "spell: {w}",
)
_COUNT = (
    "How many {l}'s are in {w}?", "How many {l}'s are in the word {w}?", "How many {l}s are in {w}?", "How many {l}'s are there in {w}?",
    "How many times does {l} appear in {w}?", "How many times does the letter {l} appear in {w}?", "Count the {l}'s in {w}.",
    "Count the letter {l} in {w}.", "Count the {l}s in {q}.", "How often does {l} occur in {w}?", "How many {l} in {w}?",
    "How often is the letter {l} in {w}?", "How many letters {l} are in {w}?", "In the word {w}, how many {l}'s are there?",
    "How many {l}'s does {w} have?", "How many {l}'s does the word {q} have?", "How many {l}'s in {w}?", "number of {l}'s in {w}",
    "What is the number of {l}'s in {w}?", "How many times is {l} in {w}?", "How many of the letters in {w} are {l}?",
    'How many "{l}" are in {q}?', 'How many times does "{l}" appear in {q}?', 'Count the letter "{l}" in the word {q}.',
    "How many times can you find {l} in {w}?", "How many times does {w} contain {l}?", "Tell me how many {l}'s are in {w}.",
    "how many {l}'s are in {w}", "Count how many {l}'s are in {w}.", "How many {l}'s do you see in {w}?",
)
_LENGTH = (
    "How many letters are in {w}?", "How many letters are in the word {w}?", "How many letters does {w} have?", "How long is the word {w}?",
    "How many letters does the word {q} have?", "Count the letters in {w}.", "Count the letters of {q}.", "What is the length of {w}?",
    "How long is {q}?", "Length of {w}?", "How many letters in {w}?", "Number of letters in {w}", "What is the number of letters in {w}?",
    "Count how many letters {w} has.", "How many letters are there in {w}?", "How many letters has {w}?", "What is the length of the word {q}?",
    "Tell me the length of {w}.", "Tell me how many letters {w} has.", "Of how many letters is {w} made?", "How many letters do you count in {w}?",
    "letters in {w}?", "How many characters are in {w}?", "How many characters does {q} have?", "Give me the length of {w}.",
)
_KINDS = {"copy": _COPY, "reverse": _REVERSE, "spell": _SPELL, "count": _COUNT, "length": _LENGTH}


def letters(random: Random) -> Exercise:
    """One exercise on the letters of a word; copies may be of several words."""
    kind = random.choices(tuple(_KINDS), (3, 6, 2, 6, 2))[0]
    word = _text(random) if kind == "copy" else _word(random)
    letter = _letter(random, word)
    quoted = f'"{word}"' if random.random() < 0.7 else f"'{word}'"
    question = random.choice(_KINDS[kind]).format(w=word, q=quoted, l=letter)
    high, medium, answer = _solve(kind, word, letter)
    key = f"{kind} {letter if kind == 'count' else ''} {word.lower()}"
    question = question if kind == "copy" else polite(random, question)
    return Exercise("letters", key, question, answer, thoughts(high, medium))


def _word(random: Random) -> str:
    word = any_word(random)
    style = random.random()
    return word.capitalize() if style < 0.12 else word.upper() if style < 0.15 else word


def _text(random: Random) -> str:
    parts = (any_word, any_word, real_word, made_up_word, person, code, lambda r: str(whole_number(r)))
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
            return _running_count(word, letter), _marked(word, letter), str(word.lower().count(letter))


def _running_count(word: str, letter: str) -> str:
    counts = (word[: end + 1].lower().count(letter) for end in range(len(word)))
    return f"count {letter}: " + " ".join(f"{each}{count}" for each, count in zip(word, counts, strict=True))


def _marked(word: str, letter: str) -> str:
    marks = (f"{each}{word[:place].lower().count(letter) + 1}" if each.lower() == letter else each for place, each in enumerate(word))
    return " ".join(marks)
