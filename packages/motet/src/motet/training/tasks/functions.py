"""Calling a developer's function with arguments out of the user's sentence, reporting its result.

Names, parameters, descriptions, types and values vary without end: words are drawn from lists, from
the vocabulary's common words and from made-up ones. One to three functions are offered; one fits.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Any

from motet.harmony import ToolDescription
from motet.training.exercise import Call, Exercise, polite, thoughts
from motet.training.lexicon import city, code, made_up_word, person, real_word, whole_number
from motet.training.phrases import phrase_book, phrases

_PARAMETER_COUNTS = (0, 1, 1, 1, 1, 1, 2, 2, 2, 3)
_KINDS = {"string": 10, "integer": 5, "number": 2, "boolean": 2, "enum": 2}
_PARAMETER_DESCRIPTIONS = (
    "The {n}",
    "The {n}.",
    "{n}",
    "Name of the {n}",
    "The {n} to use",
    "A {n}",
    "Which {n}",
    "{n} of the request",
    "The {n}, e.g. {x}",
)
_SECOND_ARGUMENTS = (
    "in {v}",
    "with {v} {k}",
    "for {v} {k}",
    ", {k} {v}",
    "with {k} {v}",
    "and {k} {v}",
    "({v})",
)


@dataclass(frozen=True)
class _Parameter:
    """A parameter's name, JSON schema and a maker of values."""

    name: str
    schema: dict[str, Any]
    value: Callable[[Random], Any]


@dataclass(frozen=True)
class _Function:
    """A described function with the words its name is made of."""

    verb: str
    noun: str
    description: ToolDescription
    parameters: tuple[_Parameter, ...]
    required: int

    @property
    def words(self) -> dict[str, str]:
        """What wordings call the function."""
        name = self.description.name
        return {"v": self.verb, "V": self.verb.capitalize(), "n": self.noun, "f": name}


@dataclass(frozen=True)
class FunctionSet:
    """Functions that can be told apart by any of their words."""

    functions: tuple[_Function, ...]

    @property
    def descriptions(self) -> tuple[ToolDescription, ...]:
        """What a developer message says of them."""
        return tuple(each.description for each in self.functions)


def function_set(random: Random) -> FunctionSet:
    """One to three functions, at least one of them with parameters."""
    functions: list[_Function] = []
    wanted = random.choice((1, 1, 1, 2, 2, 3))
    while len(functions) < wanted or not any(each.parameters for each in functions):
        new = _function(random)
        if all(new.verb != old.verb and new.noun != old.noun for old in functions):
            functions.append(new)
    return FunctionSet(tuple(functions))


def functions(random: Random) -> Exercise:
    """One request that one of some functions answers."""
    return request(random, function_set(random))


def request(random: Random, offered: FunctionSet) -> Exercise:
    """One request that one of the offered functions answers."""
    fitting = random.choice(offered.functions)
    arguments = {each.name: each.value(random) for each in _used(random, fitting)}
    question = _request(random, fitting, arguments)
    name = fitting.description.name
    result, answer = _result(random)
    listed = ", ".join(f"{key} = {_shown(value)}" for key, value in arguments.items())
    return Exercise(
        task="functions",
        key=f"{name} {json.dumps(arguments)}",
        question=polite(random, question),
        answer=answer,
        thoughts=thoughts(
            high=f"I need the function {name}.\n{listed or 'no arguments'}", medium=f"Call {name}."
        ),
        tools=offered.descriptions,
        call=Call(name, arguments, result),
    )


def _function(random: Random) -> _Function:
    verb, noun = _word_of(random, "verbs"), _word_of(random, "nouns")
    drawn = [_parameter(random) for _ in range(random.choice(_PARAMETER_COUNTS))]
    parameters = tuple({each.name: each for each in drawn}.values())
    required = len(parameters)
    if random.random() >= 0.7:
        required = random.randint(min(1, required), required)
    first = parameters[0].name if parameters else noun
    wording = random.choice(phrases("functions", "descriptions"))
    text = wording.format(V=verb.capitalize(), v=verb, n=noun, p=first)
    schema = {
        "type": "object",
        "properties": {each.name: each.schema for each in parameters},
        "required": [each.name for each in parameters[:required]],
    }
    without_schema = not parameters and random.random() < 0.7
    description = ToolDescription(
        _joined(random, verb, noun), text, None if without_schema else schema
    )
    return _Function(verb, noun, description, parameters, required)


def _word_of(random: Random, kind: str) -> str:
    style = random.random()
    if style < 0.8:
        return random.choice(phrases("functions", kind))
    return real_word(random) if style < 0.95 else made_up_word(random, 2)


def _joined(random: Random, verb: str, noun: str) -> str:
    style = random.random()
    if style < 0.7:
        return f"{verb}_{noun}"
    if style < 0.9:
        return f"{verb}{noun.capitalize()}"
    middle = random.choice(("current", "my", "new", "the", "all"))
    return f"{verb}_{middle}_{noun}"


def _parameter(random: Random) -> _Parameter:
    kind = random.choices(tuple(_KINDS), tuple(_KINDS.values()))[0]
    if kind == "enum":
        name, values = random.choice(tuple(phrase_book("functions")["enums"].items()))
        schema = {"type": "string", "enum": values}
        return _Parameter(name, _described(random, name, schema), lambda each: each.choice(values))
    words = {"string": "text_parameters", "boolean": "flag_parameters"}
    name = _word_of(random, words.get(kind, "number_parameters"))
    if random.random() < 0.12:
        name = f"{name}_{_word_of(random, 'nouns')}"
    return _Parameter(name, _described(random, name, {"type": kind}), _VALUES[kind])


def _described(random: Random, name: str, schema: dict[str, Any]) -> dict[str, Any]:
    if random.random() < 0.55:
        return schema
    wording = random.choice(_PARAMETER_DESCRIPTIONS)
    return schema | {"description": wording.format(n=name.replace("_", " "), x=_text_value(random))}


def _text_value(random: Random) -> str:
    makers = (city, city, person, code, real_word, _title, _full_name)
    return random.choice(makers)(random)


def _title(random: Random) -> str:
    return made_up_word(random).capitalize()


def _full_name(random: Random) -> str:
    return f"{person(random)} {made_up_word(random, 2).capitalize()}"


def _number_value(random: Random) -> float:
    return random.choice(
        (whole_number(random, 3), whole_number(random, 3) + random.randint(1, 9) / 10)
    )


_VALUES: dict[str, Callable[[Random], Any]] = {
    "string": _text_value,
    "boolean": lambda random: random.random() < 0.6,
    "integer": whole_number,
    "number": _number_value,
}


def _used(random: Random, function: _Function) -> list[_Parameter]:
    optional = [each for each in function.parameters[function.required :] if random.random() < 0.5]
    return [*function.parameters[: function.required], *optional]


def _request(random: Random, function: _Function, arguments: dict[str, Any]) -> str:
    words, values = function.words, list(arguments.values())
    if not values:
        return random.choice(phrases("functions", "ask_none")).format(**words)
    if len(values) == 1 and isinstance(values[0], str) and random.random() < 0.75:
        quote = '"' if random.random() < 0.15 else ""
        wording = random.choice(phrases("functions", "ask_one"))
        return wording.format(**words, x=f"{quote}{values[0]}{quote}")
    if len(values) == 2 and isinstance(values[0], str) and random.random() < 0.35:
        second, name = _spoken(random, values[1]), list(arguments)[1].replace("_", " ")
        link = random.choice(_SECOND_ARGUMENTS).format(v=second, k=name)
        named = f"{values[0]} {link}".replace(" ,", ",")
        return random.choice(phrases("functions", "ask_one")).format(**words, x=named)
    listed = _listed(random, arguments)
    return random.choice(phrases("functions", "ask_many")).format(**words, ps=listed)


def _listed(random: Random, arguments: dict[str, Any]) -> str:
    pairs = [
        (key.replace("_", random.choice(" _")), _spoken(random, value))
        for key, value in arguments.items()
    ]
    if random.random() < 0.15:
        random.shuffle(pairs)
    style = random.choice(phrases("functions", "pairs"))
    texts = [style.format(k=key, v=value) for key, value in pairs]
    if random.random() < 0.5 or len(texts) == 1:
        return ", ".join(texts)
    return f"{', '.join(texts[:-1])} and {texts[-1]}"


def _spoken(random: Random, value: Any) -> str:
    if isinstance(value, bool):
        return random.choice((("no", "false", "off"), ("yes", "true", "on"))[value])
    if isinstance(value, str) and random.random() < 0.2:
        return f'"{value}"'
    return str(value)


def _shown(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _result(random: Random) -> tuple[str, str]:
    """What the function gives back, as JSON or plain text, and the answer that reports it."""
    if random.random() < 0.3:
        plain = random.choice((_state, lambda each: str(whole_number(each)), _text_value, _amount))
        text = plain(random)
        return text, text
    keys = random.sample(phrases("functions", "result_keys"), k=random.choice((1, 1, 2, 2, 3)))
    if random.random() < 0.15:
        keys[0] = real_word(random)
    values = {key: _result_value(random) for key in keys}
    separators = (",", ":") if random.random() < 0.4 else (", ", ": ")
    reported = (f"{key} is {_shown(value)}" for key, value in values.items())
    return json.dumps(values, separators=separators), f"The {' and the '.join(reported)}."


def _state(random: Random) -> str:
    return random.choice(phrases("functions", "states"))


def _amount(random: Random) -> str:
    units = ("degrees", "euros", "minutes", "items", "km")
    return f"{whole_number(random, 2)} {random.choice(units)}"


def _result_value(random: Random) -> Any:
    makers: tuple[Callable[[Random], Any], ...] = (
        whole_number,
        whole_number,
        lambda each: whole_number(each, 2) + each.randint(1, 9) / 10,
        _text_value,
        _state,
        _state,
        lambda each: each.random() < 0.5,
    )
    return random.choice(makers)(random)
