"""The weights of a model as float32, whatever it is stored as: what rounding starts from.

Matrices are [outputs, inputs] here in every layout; an expert's is read alone, since a layer's
experts together are larger than what may be held. What has been read of a mapped file is given
back to the system at once, so that a model of any size passes through little memory.
"""

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from motet.checkpoint import Checkpoint, CheckpointError, Tensor, dequantize, from_bf16
from motet.checkpoint.gguf.blocks import (
    dequantize_mxfp4,
    dequantize_q8_0,
    unpack_mxfp4_pairs,
)
from motet.checkpoint.keys import shown

Floats = NDArray[np.float32]


class Weights(Protocol):
    """Where a computation gets its weights, by the names of the Hugging Face layout."""

    def whole(self, name: str) -> Floats:
        """A vector, a matrix [outputs, inputs] or the biases of a layer's experts."""
        ...

    def rows(self, name: str, rows: slice | NDArray[np.integer[Any]]) -> Floats:
        """Some rows of a matrix, of which the whole may be too large."""
        ...

    def expert(self, name: str, index: int) -> Floats:
        """The matrix [outputs, inputs] of one expert."""
        ...


class StoredWeights:
    """The weights of a checkpoint: floats of any width, MXFP4, Q8_0, safetensors or GGUF.

    Raises CheckpointError where a file has become shorter.
    """

    def __init__(self, checkpoint: Checkpoint) -> None:
        self.checkpoint = checkpoint

    def whole(self, name: str) -> Floats:
        """A vector, a matrix [outputs, inputs] or the biases of a layer's experts."""
        return self.rows(name, slice(None))

    def rows(self, name: str, rows: slice | NDArray[np.integer[Any]]) -> Floats:
        """Some rows of it."""
        tensors = self.checkpoint.tensors
        if name not in tensors and name.endswith("gate_up_proj_bias"):
            return _interleaved([self._rows(tensors[each], rows) for each in _halves(name)], axis=1)
        return self._rows(tensors[name], rows)

    def expert(self, name: str, index: int) -> Floats:
        """The matrix [outputs, inputs] of one expert."""
        tensors = self.checkpoint.tensors
        if f"{name}_blocks" in tensors:
            self.checkpoint.require_whole()
            parts = (tensors[f"{name}_{part}"].data[index] for part in ("blocks", "scales"))
            values = dequantize(*parts)
            self.checkpoint.release()
            return values
        if name not in tensors:
            halves = [self._rows(tensors[each], index) for each in _halves(name)]
            return _interleaved(halves, axis=0)
        values = self._rows(tensors[name], index)
        if self.checkpoint.layout == "gguf":
            return values
        return np.ascontiguousarray(values.T)

    def _rows(self, tensor: Tensor, rows: slice | int | NDArray[np.integer[Any]]) -> Floats:
        self.checkpoint.require_whole()
        values = decoded(tensor.dtype, tensor.data[rows])
        self.checkpoint.release()
        return values


def decoded(dtype: str, data: NDArray[Any]) -> Floats:
    """Data of a tensor as float32, exactly. Raises CheckpointError for bytes without a meaning."""
    match dtype:
        case "BF16":
            return from_bf16(data)
        case "F16" | "F32":
            return data.astype(np.float32)
        case "Q8_0":
            return dequantize_q8_0(np.ascontiguousarray(data))
        case "MXFP4":
            return dequantize_mxfp4(np.ascontiguousarray(data))
        case "MXFP4_PAIRS":
            return dequantize(*unpack_mxfp4_pairs(np.ascontiguousarray(data)))
    raise CheckpointError(f"values of the type {shown(dtype)} cannot be read as numbers")


def _halves(name: str) -> tuple[str, str]:
    return name.replace("gate_up_proj", "gate_proj"), name.replace("gate_up_proj", "up_proj")


def _interleaved(halves: list[Floats], axis: int) -> Floats:
    gate, up = halves
    shape = list(gate.shape)
    shape[axis] *= 2
    return np.stack([gate, up], axis=axis + 1).reshape(shape)
