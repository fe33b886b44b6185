"""A named value out of a short text: facts about people and things, lists of keys and values.

High effort says what is asked about and quotes the place in the text before it answers; medium
effort writes only the quotation.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from motet.training.exercise import Exercise, thoughts
from motet.training.lexicon import city, code, made_up_word, person, real_word, thing, whole_number
from motet.training.phrases import phrase_book, phrases

Maker = Callable[[Random], str]


def _coloured_thing(random: Random) -> str:
    return f"The {random.choice(phrases('lexicon', 'colours'))} {thing(random)}"


def _the_thing(random: Random) -> str:
    return f"The {thing(random)}"


def _one_of(kind: str) -> Maker:
    words = phrases("lexicon", kind)
    return lambda random: random.choice(words) if random.random() < 0.75 else real_word(random)


def _amount(*units: str, digits: int = 3) -> Maker:
    return lambda random: f"{whole_number(random, digits) + 2} {random.choice(units)}"


def _number(low: int, high: int) -> Maker:
    return lambda random: str(random.randint(low, high))


def _hour(random: Random) -> str:
    return f"{random.randint(0, 23)}:{random.randint(0, 59):02}"


def _date(random: Random) -> str:
    return f"{random.randint(1, 28)} {random.choice(phrases('lexicon', 'months'))}"


def _country(random: Random) -> str:
    return made_up_word(random, 2).capitalize()


def _email(random: Random) -> str:
    return f"{made_up_word(random, 2)}@{real_word(random)}.com"


def _password(random: Random) -> str:
    return made_up_word(random, 2) + str(random.randint(1, 99))


_SIDES: dict[str, tuple[Maker, Maker]] = {
    "weight": (_coloured_thing, _amount("kg", "grams", "pounds")),
    "price": (_coloured_thing, _amount("euros", "dollars", "pounds")),
    "length": (_the_thing, _amount("cm", "m", "metres", "km")),
    "colour": (_the_thing, _one_of("colours")),
    "owner": (_the_thing, person),
    "place": (_the_thing, city),
    "home": (person, city),
    "age": (person, _number(2, 99)),
    "job": (person, _one_of("jobs")),
    "food": (person, _one_of("foods")),
    "pet": (person, _one_of("animals")),
    "language": (person, _one_of("languages")),
    "code": (person, code),
    "points": (person, lambda random: str(whole_number(random) + 1)),
    "hour": (_the_thing, _hour),
    "day": (_the_thing, _one_of("days")),
}
"""For each relation of the phrase book, what has the value and what the value is."""

KEYS: dict[str, Maker] = {
    "name": person,
    "age": _number(2, 99),
    "city": city,
    "colour": _one_of("colours"),
    "code": code,
    "price": _amount("euros", "dollars"),
    "owner": person,
    "weight": _amount("kg", "grams"),
    "size": _amount("cm", "m"),
    "job": _one_of("jobs"),
    "animal": _one_of("animals"),
    "phone": lambda random: str(whole_number(random, 6)),
    "room": _number(1, 999),
    "food": _one_of("foods"),
    "country": _country,
    "birthday": _date,
    "email": _email,
    "status": _one_of("statuses"),
    "color": _one_of("colours"),
    "password": _password,
    "year": _number(1800, 2030),
    "height": _amount("cm", "m"),
    "model": code,
    "total": lambda random: str(whole_number(random)),
}
"""Keys of a list with makers of their values."""

_LAYOUTS = (
    "{k}: {v}; ",
    "{k}: {v}\n",
    "{k} = {v}, ",
    "{k}={v} ",
    "- {k}: {v}\n",
    "{k}: {v}, ",
    "{k} is {v}, ",
)
_LINE_FRAMES = ("{t}\n{q}", "{t}\n\n{q}", "{q}\n{t}", "{q}\n\n{t}", "Text:\n{t}\n{q}")


@dataclass(frozen=True)
class _Fact:
    """That `subject` has `value`, as `statement` says it; `relation` knows questions for it."""

    subject: str
    value: str
    statement: str
    relation: str


def lookup(random: Random) -> Exercise:
    """One question whose answer stands in the text."""
    return _key_values(random) if random.random() < 0.3 else _facts(random)


def _facts(random: Random) -> Exercise:
    same = random.choice(tuple(_SIDES)) if random.random() < 0.55 else None
    facts: list[_Fact] = []
    for _ in range(random.choice((1, 2, 2, 2, 3, 3, 4))):
        relation = same or random.choice(tuple(_SIDES))
        subject, value = (make(random) for make in _SIDES[relation])
        if all(subject != other.subject and value != other.value for other in facts):
            facts.append(_Fact(subject, value, random.choice(_statements(relation)), relation))
    if len(facts) > 1 and same is None and random.random() < 0.4:
        facts = _about_one_person(random, len(facts))
    asked = random.choice(facts)
    question = _filled(random.choice(_questions(asked.relation)), asked.subject, "")
    text = " ".join(_filled(fact.statement, fact.subject, fact.value) for fact in facts)
    place = _filled(asked.statement, asked.subject, asked.value)
    return Exercise(
        task="lookup",
        key=f"{text} {asked.subject} {_questions(asked.relation)[0]}",
        question=random.choice(phrases("lookup", "frames")).format(t=text, q=question),
        answer=asked.value,
        thoughts=thoughts(
            high=f"About {_filled('x {s}', asked.subject, '')[2:]}. The text says: {place}",
            medium=place.rstrip("."),
        ),
    )


def _statements(relation: str) -> list[str]:
    statements: list[str] = phrase_book("lookup")["relations"][relation]["statements"]
    return statements


def _questions(relation: str) -> list[str]:
    questions: list[str] = phrase_book("lookup")["relations"][relation]["questions"]
    return questions


def _about_one_person(random: Random, count: int) -> list[_Fact]:
    """Facts about one person, each of another relation."""
    who = person(random)
    personal = [relation for relation, (subject, _) in _SIDES.items() if subject is person]
    facts = []
    for relation in random.sample(personal, k=min(count, 4)):
        value = _SIDES[relation][1](random)
        facts.append(_Fact(who, value, random.choice(_statements(relation)), relation))
    return facts


def _filled(wording: str, subject: str, value: str) -> str:
    """The sentence about `subject`, whose article is small unless it begins the sentence."""
    inside = not wording.startswith("{s}") and subject.startswith("The ")
    named = f"the {subject[4:]}" if inside else subject
    return wording.replace("{v}", value).replace("{s}", named)


def _key_values(random: Random) -> Exercise:
    values = {key: KEYS[key](random) for key in _sampled_keys(random)}
    if random.random() < 0.3:
        values = {made_up_word(random, 2): value for value in values.values()}
    layout = random.choice(_LAYOUTS)
    if random.random() < 0.3:
        shown = {key: key.capitalize() for key in values}
    else:
        shown = {key: key for key in values}
    lines = [layout.format(k=shown[key], v=value) for key, value in values.items()]
    text = "".join(lines).rstrip("; ,\n")
    key = random.choice(tuple(values))
    question = random.choice(phrases("lookup", "key_questions")).format(k=key)
    place = layout.format(k=shown[key], v=values[key]).strip("-; ,\n")
    return Exercise(
        task="lookup",
        key=f"{text} {key}",
        question=_framed(random, text, question, is_list="\n" in layout),
        answer=values[key],
        thoughts=thoughts(high=f"About {key}. The text says: {place}", medium=place),
    )


def _sampled_keys(random: Random) -> list[str]:
    return random.sample(tuple(KEYS), k=random.randint(2, 5))


def _framed(random: Random, text: str, question: str, is_list: bool) -> str:
    frame = random.choice(_LINE_FRAMES if is_list else phrases("lookup", "frames"))
    if not is_list and not text.endswith("."):
        text += random.choice((".", ""))
    return frame.format(t=text, q=question)
