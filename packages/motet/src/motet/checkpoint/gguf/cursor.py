"""Walking through the head of a GGUF file, trusting nothing.

Every number is bounded before anything of that size is made: strings and arrays by the bytes that
are left, lists of strings by a count no vocabulary comes near. Arrays of numbers are views of the
file. Arrays in arrays, which ggml does not read either, are refused.
"""

import struct
from typing import Any

import numpy as np
from numpy.typing import NDArray

from motet.checkpoint.keys import shown

_MOST_STRINGS = 4_000_000  # o200k has 200,000 tokens and 446,000 merges
_LONGEST_NAME = 65_535

_BOOL, _STRING, _ARRAY = 7, 8, 9
_SCALARS = {
    0: "<u1",
    1: "<i1",
    2: "<u2",
    3: "<i2",
    4: "<u4",
    5: "<i4",
    6: "<f4",
    _BOOL: "u1",
    10: "<u8",
    11: "<i8",
    12: "<f8",
}
_LENGTH = struct.Struct("<Q")


class MalformedError(Exception):
    """The bytes are no GGUF; the message says what is wrong with them."""


class Cursor:
    """A position in the bytes of a file. Raises MalformedError."""

    def __init__(self, data: NDArray[np.uint8]) -> None:
        self._data = data
        self._view = data.data
        self.position = 0

    def take(self, count: int, what: str) -> memoryview:
        """The next bytes."""
        left = len(self._view) - self.position
        if count > left:
            raise MalformedError(
                f"{what} needs {shown(count)} bytes where {left} are left: it is cut short or"
                " damaged, download it again"
            )
        start, self.position = self.position, self.position + count
        return self._view[start : self.position]

    def unsigned(self, what: str, size: int = 8) -> int:
        """A little-endian integer without a sign."""
        return int.from_bytes(self.take(size, what), "little")

    def name(self, what: str) -> str:
        """A short string."""
        length = self.unsigned(what)
        if length > _LONGEST_NAME:
            raise MalformedError(f"{what} is {length} bytes long: it is damaged, download it again")
        return _decoded(self.take(length, what), what)

    def value(self, what: str) -> Any:
        """A value after its type: a number, a string, a list of strings, an array of numbers."""
        kind = self.unsigned(what, 4)
        if kind == _ARRAY:
            return self._array(what)
        if kind == _STRING:
            return _decoded(self.take(self.unsigned(what), what), what)
        scalar = self._numbers(kind, 1, what)[0]
        return bool(scalar) if kind == _BOOL else scalar.item()

    def _array(self, what: str) -> list[str] | NDArray[Any]:
        kind, count = self.unsigned(what, 4), self.unsigned(what)
        if kind != _STRING:
            numbers = self._numbers(kind, count, what)
            return numbers.view(np.bool_) if kind == _BOOL else numbers
        if count > _MOST_STRINGS:
            raise MalformedError(
                f"{what} announces {count} strings: it is damaged, download it again"
            )
        return self._strings(count, what)

    def _strings(self, count: int, what: str) -> list[str]:
        """Many strings, without the calls that would make each of them slow."""
        view, position, strings = self._view, self.position, []
        try:
            for _ in range(count):
                (length,) = _LENGTH.unpack_from(view, position)
                position += _LENGTH.size + length
                text = view[position - length : position]
                if len(text) != length:
                    raise struct.error
                strings.append(str(text, "utf-8"))
        except (struct.error, OverflowError) as error:
            raise MalformedError(
                f"{what} announces {count} strings and breaks off after {len(strings)}: it is cut"
                " short or damaged, download it again"
            ) from error
        except UnicodeDecodeError as error:
            raise MalformedError(f"{what} has a string that is not UTF-8: it is damaged") from error
        self.position = position
        return strings

    def _numbers(self, kind: int, count: int, what: str) -> NDArray[Any]:
        if kind not in _SCALARS:
            raise MalformedError(
                f"{what} has the unknown type {kind}: it is damaged or of a newer version of GGUF"
            )
        dtype = np.dtype(_SCALARS[kind])
        start = self.position
        self.take(count * dtype.itemsize, what)
        numbers = self._data[start : self.position].view(dtype)
        if kind == _BOOL and numbers.size and numbers.max() > 1:
            raise MalformedError(f"{what} has a boolean that is neither 0 nor 1: it is damaged")
        return numbers


def _decoded(text: memoryview, what: str) -> str:
    try:
        return str(text, "utf-8")
    except UnicodeDecodeError as error:
        raise MalformedError(f"{what} is not UTF-8: it is damaged, download it again") from error
