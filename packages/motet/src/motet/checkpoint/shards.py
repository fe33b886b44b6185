"""Safetensors files to be written: what each will hold, and writing tensors into their places."""

import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from motet.checkpoint.errors import CheckpointError
from motet.checkpoint.keys import shown
from motet.checkpoint.reserved import ReservedFile
from motet.checkpoint.tensors import NUMPY_DTYPES, Tensor, TensorSpec, TensorStream

_ALIGNMENT = 64  # a cache line: vector loads from a mapped matrix should not straddle two


def plan_shards(specs: Iterable[TensorSpec], shard_bytes: int) -> dict[str, list[TensorSpec]]:
    """Deal tensors out to files of at most `shard_bytes`, or of one tensor if that is larger."""
    shards: list[list[TensorSpec]] = [[]]
    room = shard_bytes
    for spec in specs:
        if spec.nbytes > room and shards[-1]:
            shards.append([])
            room = shard_bytes
        shards[-1].append(spec)
        room -= spec.nbytes
    if len(shards) == 1:
        return {"model.safetensors": shards[0]}
    count = len(shards)
    return {
        f"model-{number:05}-of-{count:05}.safetensors": shard
        for number, shard in enumerate(shards, start=1)
    }


class ShardWriter:
    """One file: its header is written and its space reserved at once, its tensors as they come.

    Raises OSError as the system does, and CheckpointError for a tensor that is not as announced.
    """

    def __init__(self, path: Path, specs: Iterable[TensorSpec]) -> None:
        # Tensors of an odd size go last, so that all the large ones are aligned.
        ordered = sorted(specs, key=lambda spec: spec.nbytes % _ALIGNMENT != 0)
        header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
        position = 0
        for spec in ordered:
            header[spec.name] = {
                "dtype": spec.dtype,
                "shape": list(spec.shape),
                "data_offsets": [position, position + spec.nbytes],
            }
            position += spec.nbytes
        text = json.dumps(header, separators=(",", ":")).encode()
        text += b" " * (-(8 + len(text)) % _ALIGNMENT)
        prefix = len(text).to_bytes(8, "little") + text
        self._starts = {
            spec.name: len(prefix) + header[spec.name]["data_offsets"][0] for spec in ordered
        }
        self._specs = {spec.name: spec for spec in ordered}
        self._file = ReservedFile(path, len(prefix) + position)
        try:
            self._file.write(0, memoryview(prefix))
        except OSError:
            self.close()
            raise

    def write(self, tensor: Tensor | TensorStream, written: Callable[[int], object]) -> None:
        """Put one of the announced tensors into its place; `written` is told of its bytes."""
        spec = self._specs[tensor.name]
        if isinstance(tensor, Tensor):
            check_array(tensor, spec)
        position = self._starts[tensor.name]
        for data in checked_pieces(tensor, spec):
            self._file.write(position, data)
            position += len(data)
            written(len(data))

    def flush(self) -> None:
        """Return once everything written is on the disk."""
        self._file.flush()

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()


def check_array(tensor: Tensor, spec: TensorSpec) -> None:
    """Raise CheckpointError for a tensor whose data are not what the spec says."""
    given = (tensor.dtype, tensor.shape, tensor.data.shape, tensor.data.dtype)
    if given != (spec.dtype, spec.shape, spec.data_shape, NUMPY_DTYPES[spec.dtype]):
        raise CheckpointError(
            f"tensor {shown(tensor.name)} is {tensor.dtype} {list(tensor.shape)}"
            f" (as {tensor.data.dtype} {list(tensor.data.shape)}), the config demands"
            f" {spec.dtype} {list(spec.shape)}"
        )


def checked_pieces(tensor: Tensor | TensorStream, spec: TensorSpec) -> Iterator[memoryview]:
    """The bytes of a tensor, piece by piece. Raises CheckpointError where one does not fit."""
    if (tensor.dtype, tensor.shape) != (spec.dtype, spec.shape):
        raise CheckpointError(
            f"tensor {shown(tensor.name)} is {tensor.dtype} {list(tensor.shape)},"
            f" the config demands {spec.dtype} {list(spec.shape)}"
        )
    rows = 0
    for piece in tensor.pieces():
        rows += len(piece)
        fits = piece.shape[1:] == spec.data_shape[1:] and rows <= spec.shape[0]
        if not fits or piece.dtype != NUMPY_DTYPES[spec.dtype]:
            raise CheckpointError(
                f"tensor {shown(tensor.name)}: a piece is {piece.dtype} {list(piece.shape)} and"
                f" ends at row {rows}, the config demands {spec.dtype} {list(spec.shape)}"
            )
        yield np.ascontiguousarray(piece).data.cast("B")
    if rows != spec.shape[0]:
        raise CheckpointError(
            f"tensor {shown(tensor.name)} ended after {rows} of {spec.shape[0]} rows"
        )
