"""One GGUF file, seen through a read-only memory map.

GGUF is the format of llama.cpp and its relatives (ggml's docs/gguf.md): a magic number, a version,
metadata by key, then each tensor's name, dimensions, ggml type and offset, then the data, aligned.
Opening reads all but the data. A damaged file is an error here and not a crash in native code
later. Dimensions are given here as everywhere in this room, rows first; the file has them reversed.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from motet.checkpoint.errors import CheckpointError, system_errors
from motet.checkpoint.gguf.cursor import Cursor, MalformedError
from motet.checkpoint.keys import shown
from motet.checkpoint.mapping import MappedFile

MAGIC = b"GGUF"
DEFAULT_ALIGNMENT = 32

_VERSIONS = (2, 3)
_MOST_TENSORS = 100_000
_MOST_KEYS = 100_000
_MOST_DIMENSIONS = 4  # ggml's own limit


class GgmlType(NamedTuple):
    """A ggml type: so many values of a row in a block of so many bytes."""

    name: str
    values: int
    size: int


GGML_TYPES = {
    0: GgmlType("F32", 1, 4),
    1: GgmlType("F16", 1, 2),
    2: GgmlType("Q4_0", 32, 18),
    3: GgmlType("Q4_1", 32, 20),
    4: GgmlType("MXFP4_PAIRS", 32, 17),  # Ollama's; ggml's own type 4 was gone before GGUF came
    6: GgmlType("Q5_0", 32, 22),
    7: GgmlType("Q5_1", 32, 24),
    8: GgmlType("Q8_0", 32, 34),
    10: GgmlType("Q2_K", 256, 84),
    11: GgmlType("Q3_K", 256, 110),
    12: GgmlType("Q4_K", 256, 144),
    13: GgmlType("Q5_K", 256, 176),
    14: GgmlType("Q6_K", 256, 210),
    15: GgmlType("Q8_K", 256, 292),
    16: GgmlType("IQ2_XXS", 256, 66),
    17: GgmlType("IQ2_XS", 256, 74),
    18: GgmlType("IQ3_XXS", 256, 98),
    19: GgmlType("IQ1_S", 256, 50),
    20: GgmlType("IQ4_NL", 32, 18),
    21: GgmlType("IQ3_S", 256, 110),
    22: GgmlType("IQ2_S", 256, 82),
    23: GgmlType("IQ4_XS", 256, 136),
    24: GgmlType("I8", 1, 1),
    25: GgmlType("I16", 1, 2),
    26: GgmlType("I32", 1, 4),
    27: GgmlType("I64", 1, 8),
    28: GgmlType("F64", 1, 8),
    29: GgmlType("IQ1_M", 256, 56),
    30: GgmlType("BF16", 1, 2),
    34: GgmlType("TQ1_0", 256, 54),
    35: GgmlType("TQ2_0", 256, 66),
    39: GgmlType("MXFP4", 32, 17),
}


@dataclass(frozen=True)
class GgufTensor:
    """What a file says about one of its tensors. `start` and `end` count from the file's start."""

    name: str
    type: GgmlType
    shape: tuple[int, ...]
    start: int
    end: int

    @property
    def row_bytes(self) -> int:
        """Bytes of a row of the last dimension."""
        return self.shape[-1] // self.type.values * self.type.size


class GgufFile:
    """An open file: `metadata` by key, `tensors` by name, their bytes on demand.

    Metadata are numbers, booleans, strings, lists of strings and arrays of numbers. Raises
    CheckpointError.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        with system_errors("read", path):
            self.size = path.stat().st_size
            if not self.size:
                raise self._problem("it is empty: download it again")
            self.mapped = MappedFile(path)
        try:
            cursor = Cursor(self.mapped.bytes)
            tensor_count, key_count = _counts(cursor)
            self.metadata: Mapping[str, Any] = _metadata(cursor, key_count)
            described = [_description(cursor) for _ in range(tensor_count)]
            self.alignment = _alignment(self.metadata)
            data_start = -(-cursor.position // self.alignment) * self.alignment
            self.tensors: Mapping[str, GgufTensor] = self._placed(described, data_start)
        except MalformedError as error:
            raise self._problem(str(error)) from error

    def data(self, name: str) -> NDArray[np.uint8]:
        """A read-only view of one tensor's bytes: [rows, bytes of a row], rows of all dimensions
        but the last."""
        tensor = self.tensors[name]
        rows = prod(tensor.shape[:-1])
        return self.mapped.bytes[tensor.start : tensor.end].reshape(rows, tensor.row_bytes)

    def _placed(
        self, described: list[tuple[GgufTensor, int]], data_start: int
    ) -> dict[str, GgufTensor]:
        """The tensors at their places, which lie within the file and apart from each other."""
        tensors: dict[str, GgufTensor] = {}
        position = data_start
        for tensor, offset in sorted(described, key=lambda pair: (pair[1], pair[0].end)):
            name = shown(tensor.name)
            start = data_start + offset
            end = start + tensor.end
            if tensor.name in tensors:
                raise MalformedError(f"tensor {name} occurs twice: it is damaged")
            if offset % self.alignment:
                raise MalformedError(
                    f"tensor {name} starts at byte {start}, which is not aligned to"
                    f" {self.alignment} bytes: it is damaged"
                )
            if start < position:
                raise MalformedError(
                    f"tensor {name} overlaps the one before it: it starts at byte {start} instead"
                    f" of {position}; it is damaged, download it again"
                )
            if end > self.size:
                raise MalformedError(
                    f"it is cut short: tensor {name} ends at byte {shown(end)}, the file at byte"
                    f" {self.size}; download it again"
                )
            tensors[tensor.name] = GgufTensor(tensor.name, tensor.type, tensor.shape, start, end)
            position = end
        return {tensor.name: tensors[tensor.name] for tensor, _ in described}

    def _problem(self, text: str) -> CheckpointError:
        return CheckpointError(f"{self.path}: {text}")


def _counts(cursor: Cursor) -> tuple[int, int]:
    """How many tensors and keys the file announces."""
    magic = bytes(cursor.take(len(MAGIC), "the magic number"))
    if magic != MAGIC:
        raise MalformedError(f"it begins with {shown(magic)}: this is not a GGUF file")
    version = cursor.unsigned("the version", 4)
    if version not in _VERSIONS:
        order = ", of a big-endian computer" if version in (2 << 24, 3 << 24) else ""
        raise MalformedError(
            f"it has the version {version}{order}: Motet reads the versions 2 and 3 as written on"
            " little-endian computers"
        )
    tensors = cursor.unsigned("the number of tensors")
    keys = cursor.unsigned("the number of keys")
    if tensors > _MOST_TENSORS or keys > _MOST_KEYS:
        raise MalformedError(
            f"it announces {tensors} tensors and {keys} keys: it is damaged, download it again"
        )
    return tensors, keys


def _metadata(cursor: Cursor, count: int) -> dict[str, Any]:
    metadata: dict[str, Any] = {}
    for number in range(count):
        key = cursor.name(f"the name of key {number}")
        if key in metadata:
            raise MalformedError(f"the key {shown(key)} occurs twice: it is damaged")
        metadata[key] = cursor.value(f"the key {shown(key)}")
    return metadata


def _description(cursor: Cursor) -> tuple[GgufTensor, int]:
    """A tensor that lies from 0 to its size, and the offset its data will be found at."""
    name = cursor.name("a tensor's name")
    what = f"tensor {shown(name)}"
    dimensions = cursor.unsigned(what, 4)
    if not 1 <= dimensions <= _MOST_DIMENSIONS:
        raise MalformedError(f"{what} has {dimensions} dimensions: it is damaged")
    shape = tuple(cursor.unsigned(what) for _ in range(dimensions))[::-1]
    number = cursor.unsigned(what, 4)
    offset = cursor.unsigned(what)
    if number not in GGML_TYPES:
        raise MalformedError(f"{what} has the unknown ggml type {number}: it is damaged or newer")
    kind = GGML_TYPES[number]
    if shape[-1] % kind.values or 0 in shape:
        raise MalformedError(
            f"{what} of type {kind.name} has the impossible shape {shown(list(shape))}"
        )
    return GgufTensor(name, kind, shape, 0, prod(shape) // kind.values * kind.size), offset


def _alignment(metadata: Mapping[str, Any]) -> int:
    value = metadata.get("general.alignment", DEFAULT_ALIGNMENT)
    if not isinstance(value, int) or not 8 <= value <= 1 << 20 or value & (value - 1):
        raise MalformedError(f"general.alignment is {shown(value)}: it has to be a power of two")
    return value
