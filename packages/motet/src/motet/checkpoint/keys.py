"""Reading typed values out of a JSON object, with errors that name the key and the value."""

from collections.abc import Mapping
from math import isfinite
from typing import Any

from motet.checkpoint.errors import CheckpointError

REQUIRED = object()


class Keys:
    """The keys of one JSON object. `where` is a prefix for nested objects, such as `rope.`."""

    def __init__(self, values: Mapping[str, Any], where: str = "") -> None:
        self._values = values
        self._where = where

    def has(self, name: str) -> bool:
        """Whether the key is there and not null."""
        return self._values.get(name) is not None

    def value(self, *names: str, default: Any = REQUIRED) -> Any:
        """The value under any of these names for one thing; all that are given must agree."""
        found = {name: self._values[name] for name in names if self.has(name)}
        if not found:
            if default is REQUIRED:
                raise CheckpointError(f"the key {self._where}{names[0]} is missing")
            return default
        first, *others = found.items()
        for name, value in others:
            if value != first[1]:
                raise CheckpointError(
                    f"the keys {self._where}{first[0]} = {shown(first[1])} and"
                    f" {self._where}{name} = {shown(value)} contradict each other"
                )
        return first[1]

    def number(self, *names: str, default: Any = REQUIRED) -> float:
        """A finite number; an integer will do."""
        value = self.value(*names, default=default)
        if isinstance(value, bool) or not isinstance(value, int | float) or not _is_finite(value):
            raise self._wrong(names[0], value, "a number")
        return float(value)

    def integer(self, *names: str, default: Any = REQUIRED) -> int:
        """A whole number; 128.0 will do."""
        value = self.value(*names, default=default)
        if isinstance(value, float) and value.is_integer():
            return int(value)
        if isinstance(value, bool) or not isinstance(value, int):
            raise self._wrong(names[0], value, "a whole number")
        return value

    def strings(self, name: str) -> tuple[str, ...]:
        """A list of strings."""
        value = self.value(name)
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise self._wrong(name, value, "a list of strings")
        return tuple(value)

    def nested(self, name: str) -> "Keys":
        """An object within this one."""
        value = self.value(name)
        if not isinstance(value, Mapping):
            raise self._wrong(name, value, "an object")
        return Keys(value, f"{self._where}{name}.")

    def flattened(self, name: str) -> "Keys":
        """This object with the keys of a nested one beside its own, as `name.key`."""
        inner = {f"{name}.{key}": value for key, value in self._values[name].items()}
        return Keys({**self._values, **inner}, self._where)

    def expect(self, name: str, wanted: Any, *, default: Any = REQUIRED) -> None:
        """Refuse any other value than the one this model family is defined by."""
        value = self.value(name, default=default)
        if value != wanted or isinstance(value, bool) != isinstance(wanted, bool):
            raise self._wrong(name, value, shown(wanted))

    def only(self, known: frozenset[str]) -> None:
        """Refuse keys nobody knows the meaning of."""
        unknown = sorted(name for name in self._values if self.has(name) and name not in known)
        if unknown:
            name = unknown[0]
            raise CheckpointError(
                f"the key {self._where}{shown(name)[1:-1]} = {shown(self._values[name])}"
                " is not one of a gpt-oss model"
            )

    def _wrong(self, name: str, value: Any, wanted: str) -> CheckpointError:
        return CheckpointError(f"{self._where}{name} is {shown(value)}, it has to be {wanted}")


def shown(value: Any) -> str:
    """A value from outside, made fit for one line of a message: ASCII and not too long."""
    text = ascii(value)
    return text if len(text) <= 100 else f"{text[:97]}..."


def _is_finite(value: float) -> bool:
    try:
        return isfinite(value)
    except OverflowError:
        return False
