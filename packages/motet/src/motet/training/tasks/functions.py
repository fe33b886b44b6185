"""Calling a developer's function with arguments out of the user's sentence, then reporting its result.

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
from motet.training import lexicon
from motet.training.exercise import Call, Exercise, polite, thoughts
from motet.training.lexicon import city, code, made_up_word, person, real_word, whole_number

_VERBS = ("get", "find", "book", "send", "set", "create", "delete", "update", "search", "check", "add", "open", "close", "start", "stop",
          "order", "cancel", "list", "show", "play", "move", "save", "read", "write", "translate", "convert", "count", "call", "buy", "fetch")
_NOUNS = ("weather", "ticket", "hotel", "flight", "email", "message", "alarm", "event", "user", "order", "price", "stock", "song", "file", "note",
          "room", "table", "car", "taxi", "meeting", "reminder", "account", "photo", "movie", "book", "recipe", "news", "map", "route", "train",
          "light", "door", "temperature", "population", "time", "date", "score", "balance", "invoice", "product", "contact", "calendar", "forecast")
_TEXT_PARAMETERS = ("city", "location", "name", "title", "place", "user", "country", "address", "subject", "query", "topic", "product", "item",
                    "destination", "origin", "artist", "company", "symbol", "author", "recipient", "label", "category", "id", "word", "text")
_NUMBER_PARAMETERS = ("count", "amount", "quantity", "days", "hours", "minutes", "limit", "year", "age", "number", "price", "size", "level",
                      "distance", "width", "height", "guests", "seats", "nights", "volume", "duration", "page", "weight", "speed")
_FLAG_PARAMETERS = ("urgent", "verbose", "active", "public", "private", "repeat", "silent", "express", "confirmed", "enabled", "vegetarian")
_ENUMS: dict[str, tuple[str, ...]] = {
    "unit": ("celsius", "fahrenheit"), "size": ("small", "medium", "large"), "format": ("short", "long"), "mode": ("fast", "slow"),
    "color": ("red", "green", "blue"), "priority": ("low", "normal", "high"), "currency": ("EUR", "USD", "GBP"), "order": ("asc", "desc"),
    "class": ("economy", "business", "first"), "day": ("today", "tomorrow"), "kind": ("sms", "email", "call"), "units": ("metric", "imperial"),
}
_DESCRIPTIONS = ("{V} a {n}.", "{V} the {n}.", "{V} {n}s.", "{V} the current {n}", "{V} {n} data.", "{V} a {n} for the user.", "Use this to {v} a {n}.",
                 "{V}s the {n}.", "Function to {v} the {n}.", "{V} {n} by {p}.", "{V} the {n} for a given {p}.", "")
_ASK_ONE = ("What is the {n} in {x}?", "What is the {n} of {x}?", "What is the {n} for {x}?", "What's the {n} in {x}?", "What's the {n} of {x}?",
            "How is the {n} in {x}?", "{V} the {n} for {x}.", "{V} the {n} of {x}.", "{V} the {n} in {x}.", "{V} {n} {x}", "{V} a {n} for {x}.",
            "I need the {n} for {x}.", "I want to {v} a {n} for {x}.", "Tell me the {n} in {x}.", "Can you {v} the {n} for {x}?", "{n} in {x}?",
            "Show me the {n} of {x}.", "Could you {v} a {n} for {x}?", "Give me the {n} in {x}.", "{V} the {n} from {x}.", "{V} a {n} to {x}.",
            "{V} the {n} {x}.", "I would like to know the {n} in {x}.", "Do you know the {n} of {x}?", "{V} the {n} called {x}.", "{V} {x}.")
_ASK_MANY = ("{V} a {n} with {ps}.", "{V} the {n} with {ps}.", "{V} a {n}: {ps}", "{V} a {n}, {ps}.", "Please {v} a {n} with {ps}.", "{V} {n}: {ps}",
             "I want to {v} a {n} with {ps}.", "Can you {v} a {n} with {ps}?", "Could you {v} the {n} with {ps}?", "{V} the {n} for {ps}.",
             "Call {f} with {ps}.", "Use {f} with {ps}.", "Use the function {f} with {ps}.", "Call the function {f}: {ps}", "{f} with {ps}",
             "Run {f} with {ps}.", "I need to {v} a {n}. {ps}.", "{V} a {n}. Use {ps}.", "{V} one {n} where {ps}.", "Let's {v} a {n} with {ps}.",
             "{V} my {n} with {ps}.", "{V} another {n} with {ps}.", "Go and {v} a {n} with {ps}.", "{V} a new {n} with {ps}.", "We should {v} the {n}, {ps}.")
_ASK_NONE = ("{V} the {n}.", "{V} the {n} now.", "Call {f}.", "Use {f}.", "Please {v} the {n}.", "Can you {v} the {n}?", "{V} {n}", "Run {f}.", "What is the {n}?",
             "I want to {v} the {n}.", "{V} my {n}.", "Could you {v} the {n}?", "Time to {v} the {n}.", "Tell me the {n}.", "{V} it: the {n}.")
_PAIRS = ("{k} {v}", "{k} {v}", "{k} {v}", "{k}: {v}", "{k} = {v}", "{k}={v}", "{v} as {k}", "{k} is {v}", "the {k} {v}", "{k} set to {v}", "{v} {k}")
_RESULT_KEYS = ("status", "result", "temperature", "price", "id", "total", "count", "name", "message", "time", "value", "condition", "state", "date",
                "balance", "answer", "code", "distance", "level", "score", "owner", "city", "error", "title", "number", "weight", "rate", "seat")
_STATES = ("ok", "done", "sunny", "cloudy", "rainy", "sent", "booked", "open", "closed", "not found", "on", "off", "ready", "confirmed", "success", "failed")


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


def functions(random: Random) -> Exercise:
    """One request that one of the offered functions answers."""
    offered = [_function(random) for _ in range(random.choice((1, 1, 2, 2, 3)))]
    offered = list({each.description.name: each for each in offered}.values())
    fitting = random.choice(offered)
    others = [each for each in offered if each is fitting or each.noun != fitting.noun]
    used = _used(random, fitting)
    arguments = {each.name: each.value(random) for each in used}
    request = _request(random, fitting, arguments)
    name = fitting.description.name
    result, answer = _result(random)
    listed = ", ".join(f"{key} = {_shown(value)}" for key, value in arguments.items()) or "no arguments"
    return Exercise(
        task="functions",
        key=f"{name} {json.dumps(arguments)}",
        question=polite(random, request),
        answer=answer,
        thoughts=thoughts(f"I need the function {name}.\n{listed}", f"Call {name}."),
        tools=tuple(each.description for each in others),
        call=Call(name, arguments, result),
    )


def offered_functions(random: Random, count: int) -> tuple[ToolDescription, ...]:
    """Functions to stand in a prompt that needs none of them."""
    described = (_function(random).description for _ in range(count))
    return tuple({each.name: each for each in described}.values())


def _function(random: Random) -> _Function:
    verb, noun = _word_of(random, _VERBS), _word_of(random, _NOUNS)
    parameters = {each.name: each for each in (_parameter(random) for _ in range(random.choice((0, 1, 1, 1, 1, 2, 2, 2, 3, 3))))}
    chosen = tuple(parameters.values())
    required = len(chosen) if random.random() < 0.7 else random.randint(min(1, len(chosen)), len(chosen))
    first = chosen[0].name if chosen else noun
    text = random.choice(_DESCRIPTIONS).format(V=verb.capitalize(), v=verb, n=noun, p=first)
    schema = {
        "type": "object",
        "properties": {each.name: each.schema for each in chosen},
        "required": [each.name for each in chosen[:required]],
    }
    no_schema = not chosen and random.random() < 0.7
    name = _joined(random, verb, noun)
    return _Function(verb, noun, ToolDescription(name, text, None if no_schema else schema), chosen, required)


def _word_of(random: Random, words: tuple[str, ...]) -> str:
    style = random.random()
    return random.choice(words) if style < 0.65 else real_word(random) if style < 0.9 else made_up_word(random, 2)


def _joined(random: Random, verb: str, noun: str) -> str:
    style = random.random()
    if style < 0.7:
        return f"{verb}_{noun}"
    if style < 0.9:
        return f"{verb}{noun.capitalize()}"
    middle = random.choice(("current", "my", "new", "the", "all"))
    return f"{verb}_{middle}_{noun}"


def _parameter(random: Random) -> _Parameter:
    kind = random.choices(("string", "integer", "number", "boolean", "enum"), (10, 5, 2, 2, 2))[0]
    if kind == "enum":
        name, values = random.choice(tuple(_ENUMS.items()))
        return _Parameter(name, _described(random, name, {"type": "string", "enum": list(values)}), lambda r: r.choice(values))
    names = {"string": _TEXT_PARAMETERS, "boolean": _FLAG_PARAMETERS}.get(kind, _NUMBER_PARAMETERS)
    name = _word_of(random, names)
    if random.random() < 0.12:
        name = f"{name}_{_word_of(random, _NOUNS)}"
    makers: dict[str, Callable[[Random], Any]] = {
        "string": _text_value, "boolean": lambda r: r.random() < 0.6, "integer": lambda r: whole_number(r),
        "number": lambda r: r.choice((whole_number(r, 3), whole_number(r, 3) + r.randint(1, 9) / 10)),
    }
    return _Parameter(name, _described(random, name, {"type": kind}), makers[kind])


def _described(random: Random, name: str, schema: dict[str, Any]) -> dict[str, Any]:
    if random.random() < 0.55:
        return schema
    text = random.choice(("The {n}", "The {n}.", "{n}", "Name of the {n}", "The {n} to use", "A {n}", "Which {n}", "{n} of the request", "The {n}, e.g. {x}"))
    return schema | {"description": text.format(n=name.replace("_", " "), x=_text_value(random))}


def _text_value(random: Random) -> str:
    return random.choice((city, city, person, code, real_word, lambda r: made_up_word(r).capitalize(), _phrase))(random)


def _phrase(random: Random) -> str:
    return f"{person(random)} {made_up_word(random, 2).capitalize()}"


def _used(random: Random, function: _Function) -> list[_Parameter]:
    optional = [each for each in function.parameters[function.required :] if random.random() < 0.5]
    return [*function.parameters[: function.required], *optional]


def _request(random: Random, function: _Function, arguments: dict[str, Any]) -> str:
    words = {"v": function.verb, "V": function.verb.capitalize(), "n": function.noun, "f": function.description.name}
    if not arguments:
        return random.choice(_ASK_NONE).format(**words)
    values = list(arguments.values())
    if len(values) == 1 and isinstance(values[0], str) and random.random() < 0.75:
        quote = '"' if random.random() < 0.15 else ""
        return random.choice(_ASK_ONE).format(**words, x=f"{quote}{values[0]}{quote}")
    if len(values) == 2 and isinstance(values[0], str) and random.random() < 0.35:
        second, name = _spoken(random, values[1]), list(arguments)[1].replace("_", " ")
        link = random.choice(("in {v}", "with {v} {k}", "for {v} {k}", ", {k} {v}", "with {k} {v}", "and {k} {v}", "({v})"))
        return random.choice(_ASK_ONE).format(**words, x=f"{values[0]} {link.format(v=second, k=name)}".replace(" ,", ","))
    pairs = [(key.replace("_", random.choice(" _")), _spoken(random, value)) for key, value in arguments.items()]
    if random.random() < 0.25:
        random.shuffle(pairs)
    style = random.choice(_PAIRS)
    texts = [style.format(k=key, v=value) for key, value in pairs]
    joined = ", ".join(texts) if random.random() < 0.5 else " and ".join((", ".join(texts[:-1]), texts[-1])) if len(texts) > 1 else texts[0]
    return random.choice(_ASK_MANY).format(**words, ps=joined)


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
        plain = random.choice((lambda r: r.choice(_STATES), lambda r: str(whole_number(r)), _text_value,
                               lambda r: f"{whole_number(r, 2)} {r.choice(('degrees', 'euros', 'minutes', 'items', 'km'))}"))(random)
        return plain, plain
    keys = random.sample(_RESULT_KEYS, k=random.choice((1, 1, 2, 2, 3)))
    if random.random() < 0.15:
        keys[0] = real_word(random)
    values = {key: _result_value(random) for key in keys}
    compact = random.random() < 0.4
    text = json.dumps(values, separators=(",", ":") if compact else (", ", ": "))
    return text, f"The {' and the '.join(f'{key} is {_shown(value)}' for key, value in values.items())}."


def _result_value(random: Random) -> Any:
    makers: tuple[Callable[[Random], Any], ...] = (
        lambda r: whole_number(r), lambda r: whole_number(r), lambda r: whole_number(r, 2) + r.randint(1, 9) / 10, _text_value,
        lambda r: r.choice(_STATES), lambda r: r.choice(_STATES), lambda r: r.random() < 0.5,
    )
    return random.choice(makers)(random)
