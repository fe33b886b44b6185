"""Reading JSON that came from outside: every complaint names the path of the field it is about.

`Fields` is one JSON object being read. Each field is taken by name and type, and `done` refuses
the names nobody took, so that a misspelt field is an error and not a silent default.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

from motet.harmony.errors import HarmonyError

T = TypeVar("T")

MAXIMUM_DEPTH = 64
"""Levels a JSON schema may nest; deeper ones only come from someone who means harm."""

_NAMES: dict[type, str] = {
    str: "a string",
    bool: "true or false",
    list: "a list",
    dict: "an object",
}


class Fields:
    """One JSON object at `path`, whose fields are taken one after the other."""

    def __init__(self, value: object, path: str) -> None:
        if not isinstance(value, dict):
            raise HarmonyError(f"{path} must be an object.")
        self.path = path
        self._value = value
        self._taken: set[str] = set()

    def has(self, name: str) -> bool:
        """Whether the field is there, be it null."""
        return name in self._value

    def value(self, name: str) -> object:
        """The field as it is, without taking it."""
        return self._value.get(name)

    def take(self, name: str, kind: type[T]) -> T:
        """A field that must be there."""
        if name not in self._value:
            raise HarmonyError(f"{self.path}.{name} is missing.")
        value = self.optional(name, kind)
        if value is None:
            raise HarmonyError(f"{self.path}.{name} must be {_NAMES[kind]}, not null.")
        return value

    def optional(self, name: str, kind: type[T]) -> T | None:
        """A field that may be missing or null."""
        self._taken.add(name)
        value = self._value.get(name)
        if value is not None and not isinstance(value, kind):
            raise HarmonyError(f"{self.path}.{name} must be {_NAMES[kind]}.")
        return value

    def text_or(self, name: str, default: str | None) -> str | None:
        """A string: `default` where it is missing, None where it is null."""
        return self.optional(name, str) if self.has(name) else default

    def objects(self, name: str, read: Callable[[Fields], T]) -> tuple[T, ...]:
        """A list of objects, each read by `read`; missing and null mean none."""
        values = self.optional(name, list) or []
        return tuple(
            read_all(value, f"{self.path}.{name}[{index}]", read)
            for index, value in enumerate(values)
        )

    def named_objects(self, name: str, read: Callable[[Fields], T]) -> Iterator[tuple[str, T]]:
        """An object of objects, each read by `read`, with its key."""
        for key, value in (self.optional(name, dict) or {}).items():
            yield key, read_all(value, f"{self.path}.{name}.{key}", read)

    def done(self) -> None:
        """Raise HarmonyError for a field that was never taken."""
        unknown = [str(name) for name in self._value if name not in self._taken]
        if unknown:
            raise HarmonyError(f"{self.path}.{unknown[0]} is not a known field.")


def read_all(value: object, path: str, read: Callable[[Fields], T]) -> T:
    """Read one object with `read` and make sure that no field of it was left over.

    A HarmonyError that `read` meets in building the value is given the path it lacks.
    """
    fields = Fields(value, path)
    try:
        result = read(fields)
    except HarmonyError as error:
        if str(error).startswith(path):
            raise
        raise HarmonyError(f"{path}: {error}") from error
    fields.done()
    return result


def schema_at(path: str, schema: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """A JSON schema as given, refused where it nests deeper than MAXIMUM_DEPTH."""
    if schema is None:
        return None
    level: list[Any] = [schema]
    for _ in range(MAXIMUM_DEPTH):
        level = [
            child
            for value in level
            for child in (value.values() if isinstance(value, Mapping) else value)
            if isinstance(child, Mapping | list)
        ]
        if not level:
            return dict(schema)
    raise HarmonyError(f"{path} nests deeper than {MAXIMUM_DEPTH} levels.")
