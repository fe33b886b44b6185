"""One safetensors file, seen through a read-only memory map.

A file is an 8-byte little-endian length, that many bytes of JSON naming every tensor's dtype,
shape and byte range, then the data. Opening reads the JSON and nothing else; data are paged in
when touched. The safetensors library knows no numpy bfloat16, hence this reader of our own; it
trusts nothing, so that a damaged file is an error here and not a crash in native code later.
"""

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from motet.checkpoint.errors import CheckpointError, system_errors
from motet.checkpoint.keys import shown
from motet.checkpoint.mapping import MappedFile
from motet.checkpoint.tensors import NUMPY_DTYPES

_PREFIX = 8
_LONGEST_HEADER = 100_000_000  # the format's own limit
_MOST_DIMENSIONS = 32

# Only the sizes matter here: whether a dtype is the right one is for the caller to say.
_DTYPE_BITS = {
    "BOOL": 8,
    "U8": 8,
    "I8": 8,
    "F8_E5M2": 8,
    "F8_E4M3": 8,
    "F8_E8M0": 8,
    "I16": 16,
    "U16": 16,
    "F16": 16,
    "BF16": 16,
    "I32": 32,
    "U32": 32,
    "F32": 32,
    "I64": 64,
    "U64": 64,
    "F64": 64,
}


@dataclass(frozen=True)
class StoredTensor:
    """What a file says about one of its tensors. `start` and `end` count from the file's start."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    start: int
    end: int


class SafetensorsFile:
    """An open file: `tensors` by name, and their data on demand. Raises CheckpointError."""

    def __init__(self, path: Path) -> None:
        self.path = path
        with system_errors("read", path):
            header, data_start = self._read_header()
            self.mapped = MappedFile(path)
            self.size = self.mapped.bytes.size
        self.tensors: Mapping[str, StoredTensor] = {
            name: self._stored_tensor(name, entry, data_start)
            for name, entry in header.items()
            if name != "__metadata__"
        }
        self._check_coverage(data_start)

    def data(self, name: str) -> NDArray[Any]:
        """A read-only view of one tensor; its dtype has to be one of NUMPY_DTYPES."""
        stored = self.tensors[name]
        dtype = NUMPY_DTYPES[stored.dtype]
        if stored.start % dtype.itemsize:
            raise self._problem(
                f"tensor {shown(name)} starts at byte {stored.start}, which is no multiple of its"
                f" {dtype.itemsize}-byte values: save it again with the safetensors library"
            )
        return self.mapped.bytes[stored.start : stored.end].view(dtype).reshape(stored.shape)

    def _read_header(self) -> tuple[dict[str, Any], int]:
        with self.path.open("rb") as file:
            prefix = file.read(_PREFIX)
            length = int.from_bytes(prefix, "little")
            if len(prefix) == _PREFIX and 0 < length <= _LONGEST_HEADER:
                text = file.read(length)
                if len(text) == length:
                    return self._parse_header(text), _PREFIX + length
                raise self._problem(
                    f"its header needs {length} bytes and the file ends after {len(text)} of them:"
                    " it is cut short or not a safetensors file, download it again"
                )
        if len(prefix) < _PREFIX:
            raise self._problem(f"it has only {len(prefix)} bytes: download it again")
        raise self._problem(
            f"its first 8 bytes announce a header of {length} bytes:"
            " this is not a safetensors file, or it is damaged"
        )

    def _parse_header(self, text: bytes) -> dict[str, Any]:
        try:
            header = json.loads(text.decode(), object_pairs_hook=_without_duplicates)
        except (ValueError, RecursionError) as error:
            raise self._problem(
                f"its header is not valid JSON ({shown(str(error))[1:-1]}):"
                " this is not a safetensors file, or it is damaged"
            ) from error
        if not isinstance(header, dict):
            raise self._problem("its header is not a JSON object: it is damaged")
        return header

    def _stored_tensor(self, name: str, entry: Any, data_start: int) -> StoredTensor:
        match entry:
            case {"dtype": str(dtype), "shape": [*shape], "data_offsets": [start, end]} if (
                all(_is_size(number) for number in (*shape, start, end))
                and len(shape) <= _MOST_DIMENSIONS
            ):
                pass
            case _:
                raise self._problem(
                    f"the header's entry for tensor {shown(name)} is malformed: {shown(entry)}"
                )
        if dtype not in _DTYPE_BITS:
            raise self._problem(f"tensor {shown(name)} has the unknown dtype {shown(dtype)}")
        needed = prod(shape) * _DTYPE_BITS[dtype] // 8
        if end - start != needed:
            raise self._problem(
                f"tensor {shown(name)} of dtype {dtype} and shape {shown(shape)} needs"
                f" {shown(needed)} bytes, the header gives it {shown(end - start)}"
            )
        if data_start + end > self.size:
            raise self._problem(
                f"it is cut short: tensor {shown(name)} ends at byte {shown(data_start + end)},"
                f" the file at byte {self.size}; download it again"
            )
        return StoredTensor(name, dtype, tuple(shape), data_start + start, data_start + end)

    def _check_coverage(self, data_start: int) -> None:
        """The format wants the tensors to fill the file without a gap or an overlap."""
        position = data_start
        for stored in sorted(self.tensors.values(), key=lambda stored: (stored.start, stored.end)):
            if stored.start != position:
                kind = "overlaps the one before it" if stored.start < position else "follows a gap"
                raise self._problem(
                    f"tensor {shown(stored.name)} {kind}: it starts at byte {stored.start}"
                    f" instead of {position}; the file is damaged, download it again"
                )
            position = stored.end
        if position != self.size:
            raise self._problem(
                f"its tensors end at byte {position}, the file at byte {self.size}:"
                " it is damaged, download it again"
            )

    def _problem(self, text: str) -> CheckpointError:
        return CheckpointError(f"{self.path}: {text}")


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) < len(pairs):
        [(twice, _)] = Counter(name for name, _ in pairs).most_common(1)
        raise ValueError(f"the key {twice!r} occurs twice")
    return values


def _is_size(number: Any) -> bool:
    return isinstance(number, int) and not isinstance(number, bool) and 0 <= number < 2**63
