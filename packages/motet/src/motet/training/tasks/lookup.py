"""A named value out of a short text: facts about people and things, lists of keys and values.

High effort quotes the place in the text before it answers, medium effort names only who is meant.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from motet.training.exercise import Exercise, thoughts
from motet.training import lexicon
from motet.training.lexicon import city, code, made_up_word, person, real_word, thing, whole_number

Maker = Callable[[Random], str]


@dataclass(frozen=True)
class _Relation:
    """Statements of {s} having {v}, questions for {v}, and what {s} and {v} can be."""

    subject: Maker
    value: Maker
    statements: tuple[str, ...]
    questions: tuple[str, ...]


def _coloured(random: Random) -> str:
    return f"The {random.choice(lexicon.COLOURS)} {thing(random)}"


def _the_thing(random: Random) -> str:
    return f"The {thing(random)}"


def _choice(words: tuple[str, ...]) -> Maker:
    return lambda random: random.choice(words) if random.random() < 0.75 else real_word(random)


def _unit(*units: str, digits: int = 3) -> Maker:
    return lambda random: f"{whole_number(random, digits) + 2} {random.choice(units)}"


_RELATIONS = (
    _Relation(_coloured, _unit("kg", "grams", "pounds"), ("{s} weighs {v}.", "{s} has a weight of {v}."),
              ("How much does {s} weigh?", "What is the weight of {s}?", "What does {s} weigh?", "How heavy is {s}?")),
    _Relation(_coloured, _unit("euros", "dollars", "pounds"), ("{s} costs {v}.", "{s} is sold for {v}.", "The price of {s} is {v}."),
              ("How much does {s} cost?", "What is the price of {s}?", "What does {s} cost?", "How expensive is {s}?")),
    _Relation(_the_thing, _unit("cm", "m", "metres", "km"), ("{s} is {v} long.", "{s} has a length of {v}."),
              ("How long is {s}?", "What is the length of {s}?", "What length does {s} have?")),
    _Relation(_the_thing, _choice(lexicon.COLOURS), ("{s} is {v}.", "{s} was painted {v}.", "The colour of {s} is {v}."),
              ("What colour is {s}?", "What color is {s}?", "What is the colour of {s}?", "Which color does {s} have?")),
    _Relation(_the_thing, person, ("{s} belongs to {v}.", "{v} owns {s}.", "The owner of {s} is {v}."),
              ("Who owns {s}?", "To whom does {s} belong?", "Who does {s} belong to?", "Who is the owner of {s}?")),
    _Relation(_the_thing, city, ("{s} is in {v}.", "{s} was made in {v}.", "{s} stands in {v}."),
              ("Where is {s}?", "Where was {s} made?", "In which city is {s}?")),
    _Relation(person, city, ("{s} lives in {v}.", "{s} moved to {v}.", "{s} is from {v}.", "{s}'s home is in {v}."),
              ("Where does {s} live?", "Where is {s} from?", "In which city does {s} live?", "Which city does {s} live in?")),
    _Relation(person, lambda random: str(random.randint(2, 99)), ("{s} is {v} years old.", "{s} is {v}.", "{s}'s age is {v}."),
              ("How old is {s}?", "What is the age of {s}?", "What is {s}'s age?", "What age is {s}?")),
    _Relation(person, _choice(lexicon.JOBS), ("{s} works as a {v}.", "{s} is a {v}.", "{s}'s job is {v}."),
              ("What does {s} work as?", "What is {s}'s job?", "What is the job of {s}?", "What does {s} do for work?")),
    _Relation(person, _choice(lexicon.FOODS), ("{s} likes {v}.", "{s} loves {v}.", "{s} eats {v} every day.", "{s}'s favourite food is {v}."),
              ("What does {s} like?", "What does {s} eat?", "What is {s}'s favourite food?", "What does {s} love?")),
    _Relation(person, _choice(lexicon.ANIMALS), ("{s} has a {v}.", "{s} owns a {v}.", "{s}'s pet is a {v}."),
              ("Which animal does {s} have?", "What pet does {s} have?", "What is {s}'s pet?", "What does {s} own?")),
    _Relation(person, _choice(lexicon.LANGUAGES), ("{s} speaks {v}.", "{s} is learning {v}.", "{s} studies {v}."),
              ("Which language does {s} speak?", "What does {s} speak?", "What language does {s} learn?", "What does {s} study?")),
    _Relation(person, code, ("{s} has the code {v}.", "{s}'s code is {v}.", "The code of {s} is {v}.", "{s} sits in room {v}."),
              ("What is the code of {s}?", "What is {s}'s code?", "Which code does {s} have?", "In which room does {s} sit?")),
    _Relation(person, lambda random: str(whole_number(random) + 1), ("{s} has {v} points.", "{s} scored {v} points.", "{s}'s score is {v}."),
              ("How many points does {s} have?", "What is the score of {s}?", "How many points did {s} score?", "What is {s}'s score?")),
    _Relation(_the_thing, lambda random: f"{random.randint(0, 23)}:{random.randint(0, 59):02}",
              ("{s} leaves at {v}.", "{s} opens at {v}.", "{s} arrives at {v}."),
              ("When does {s} leave?", "When does {s} open?", "When does {s} arrive?", "At what time does {s} open?")),
    _Relation(_the_thing, _choice(("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")),
              ("{s} is closed on {v}.", "{s} comes on {v}.", "{s} starts on {v}."),
              ("On which day is {s} closed?", "When does {s} come?", "On which day does {s} start?")),
)
_KEYS: dict[str, Maker] = {
    "name": person, "age": lambda random: str(random.randint(2, 99)), "city": city, "colour": _choice(lexicon.COLOURS), "code": code,
    "price": _unit("euros", "dollars"), "owner": person, "weight": _unit("kg", "grams"), "size": _unit("cm", "m"), "job": _choice(lexicon.JOBS),
    "animal": _choice(lexicon.ANIMALS), "phone": lambda random: str(whole_number(random, 6)), "room": lambda random: str(random.randint(1, 999)),
    "language": _choice(lexicon.LANGUAGES), "food": _choice(lexicon.FOODS), "country": lambda random: made_up_word(random, 2).capitalize(),
    "date": lambda random: f"{random.randint(1, 28)} {random.choice(('March', 'May', 'June', 'July', 'August', 'October'))}",
    "email": lambda random: f"{made_up_word(random, 2)}@{real_word(random)}.com", "status": _choice(("open", "closed", "new", "done")),
    "color": _choice(lexicon.COLOURS), "password": lambda random: made_up_word(random, 2) + str(random.randint(1, 99)),
    "year": lambda random: str(random.randint(1800, 2030)), "height": _unit("cm", "m"), "model": code, "total": lambda random: str(whole_number(random)),
}
_KEY_QUESTIONS = (
    "What is the {k}?", "What's the {k}?", "Which {k} is given?", "Give me the {k}.", "Tell me the {k}.", "Find the {k}.", "{k}?",
    "What is the value of {k}?", "Read out the {k}.", "Extract the {k}.", "Look up the {k}.", "What {k} is listed?", "Which is the {k}?",
)
_FRAMES = (
    "{t} {q}", "{t} {q}", "{t}\n{q}", "{t}\n\n{q}", "{q} {t}", "{q}\n{t}", "Text: {t}\nQuestion: {q}", "Here is a text: {t} {q}", "Read this: {t} {q}",
    "{q}\n\n{t}", "Question: {q}\nText: {t}", "Given this text: {t} {q}", "I know this: {t} {q}", "Here are some facts. {t} {q}", "Facts: {t}\n{q}",
    "Answer from the text. {t} {q}", "{t} So, {q}", "Context: {t}\n\nQuestion: {q}", "Look at this: {t} {q}", "Using this text, answer: {q}\n{t}",
    "According to the text, {q} {t}", "Story: {t}\n{q}", "Note: {t} {q}", "{t} My question: {q}", 'Text: "{t}" {q}',
)


def lookup(random: Random) -> Exercise:
    """One question whose answer stands in the text."""
    return _key_values(random) if random.random() < 0.3 else _facts(random)


def _facts(random: Random) -> Exercise:
    facts: list[tuple[str, str, str, _Relation]] = []
    same = random.choice(_RELATIONS) if random.random() < 0.55 else None
    for _ in range(random.choice((1, 2, 2, 3, 3, 4, 5))):
        relation = same or random.choice(_RELATIONS)
        subject, value = relation.subject(random), relation.value(random)
        if any(subject == other or value == other_value for other, other_value, _, _ in facts):
            continue
        facts.append((subject, value, random.choice(relation.statements), relation))
    if len(facts) > 1 and same is None and random.random() < 0.4:
        facts = _about_one(random, len(facts))
    subject, value, statement, relation = random.choice(facts)
    sentences = [_fill(pattern, who, what) for who, what, pattern, _ in facts]
    question = _fill(random.choice(relation.questions), subject, "")
    text = " ".join(sentences)
    place = _fill(statement, subject, value)
    prompt = random.choice(_FRAMES).format(t=text, q=question)
    return Exercise("lookup", f"{text} {subject} {relation.questions[0]}", prompt, value, thoughts(f"The text says: {place}", _short(place)))


def _about_one(random: Random, count: int) -> list[tuple[str, str, str, _Relation]]:
    """Facts about one person, each of another relation."""
    who = person(random)
    chosen = random.sample([each for each in _RELATIONS if each.subject is person], k=min(count, 4))
    return [(who, each.value(random), random.choice(each.statements), each) for each in chosen]


def _fill(pattern: str, subject: str, value: str) -> str:
    text = pattern.replace("{v}", value)
    start = pattern.startswith("{s}")
    named = subject if start or not subject.startswith("The ") else f"the {subject[4:]}"
    return text.replace("{s}", named)


def _short(sentence: str) -> str:
    return sentence.rstrip(".")


def _key_values(random: Random) -> Exercise:
    keys = random.sample(tuple(_KEYS), k=random.randint(2, 5))
    values = {key: _KEYS[key](random) for key in keys}
    if random.random() < 0.3:
        values = {made_up_word(random, 2): value for value in values.values()}
    style = random.choice(("{k}: {v}; ", "{k}: {v}\n", "{k} = {v}, ", "{k}={v} ", "- {k}: {v}\n", "{k}: {v}, ", "{k} is {v}, "))
    title = random.random() < 0.3
    shown = {(key.capitalize() if title else key): value for key, value in values.items()}
    text = "".join(style.format(k=key, v=value) for key, value in shown.items()).rstrip("; ,\n")
    key = random.choice(tuple(values))
    question = random.choice(_KEY_QUESTIONS).format(k=key)
    name = key.capitalize() if title else key
    place = style.format(k=name, v=values[key]).strip("-; ,\n")
    frame = random.choice(_FRAMES if "\n" not in style else ("{t}\n{q}", "{t}\n\n{q}", "{q}\n{t}", "{q}\n\n{t}", "Text:\n{t}\n{q}"))
    prompt = frame.format(t=text if text.endswith(".") else text + random.choice((".", "")) if "\n" not in style else text, q=question)
    return Exercise("lookup", f"{text} {key}", prompt, values[key], thoughts(f"The text says: {place}", place))
