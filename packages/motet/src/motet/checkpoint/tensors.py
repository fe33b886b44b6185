"""A named tensor: the noun this room trades in.

Data are numpy arrays over a read-only memory map, or arrays about to be written. numpy has no
bfloat16, so BF16 tensors carry their bit patterns as `uint16`; `motet.checkpoint.bf16` converts.
The block-quantised dtypes of ggml carry raw bytes, block after block along each row, while `shape`
stays that of the values; `motet.checkpoint.gguf.blocks` converts. What is too large to be held at
once is a `TensorStream`: the same nouns, with the data coming in runs of rows.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import prod
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

Dtype: TypeAlias = Literal["BF16", "U8", "F32", "F16", "Q8_0", "MXFP4", "MXFP4_PAIRS"]

NUMPY_DTYPES: dict[str, np.dtype[Any]] = {
    "BF16": np.dtype("<u2"),
    "U8": np.dtype("u1"),
    "F32": np.dtype("<f4"),
    "F16": np.dtype("<f2"),
    "Q8_0": np.dtype("u1"),
    "MXFP4": np.dtype("u1"),
    "MXFP4_PAIRS": np.dtype("u1"),
}

FLOATS: tuple[Dtype, ...] = ("F32", "F16", "BF16")

BLOCK_VALUES = 32
"""Values in a block of each of the dtypes in BLOCK_SIZES."""

BLOCK_SIZES = {"Q8_0": 34, "MXFP4": 17, "MXFP4_PAIRS": 17}
"""Bytes of a block. MXFP4_PAIRS is Ollama's first MXFP4: ggml's with the nibbles of OpenAI's."""

PIECE_BYTES = 1 << 20  # of the rows in one piece of a stream


def data_shape(dtype: str, shape: tuple[int, ...]) -> tuple[int, ...]:
    """The shape of the numpy array that holds a tensor: bytes instead of values for blocks."""
    if dtype not in BLOCK_SIZES:
        return shape
    return (*shape[:-1], shape[-1] // BLOCK_VALUES * BLOCK_SIZES[dtype])


@dataclass(frozen=True)
class TensorSpec:
    """What a tensor has to be: its name in the file, its dtype and its shape."""

    name: str
    dtype: Dtype
    shape: tuple[int, ...]

    @property
    def data_shape(self) -> tuple[int, ...]:
        """The shape of its data."""
        return data_shape(self.dtype, self.shape)

    @property
    def nbytes(self) -> int:
        """Size in bytes."""
        return prod(self.data_shape) * NUMPY_DTYPES[self.dtype].itemsize


@dataclass(frozen=True, eq=False)
class Tensor:
    """Named data: a numpy array of `data_shape(dtype, shape)` and of NUMPY_DTYPES[dtype]."""

    name: str
    dtype: Dtype
    shape: tuple[int, ...]
    data: NDArray[Any]

    @property
    def nbytes(self) -> int:
        """Size in bytes."""
        return self.data.nbytes

    def pieces(self) -> Iterator[NDArray[Any]]:
        """The data in runs of rows, as a stream has them."""
        return (self.data[rows] for rows in row_runs(self.data.shape, self.data.itemsize))


@dataclass(frozen=True, eq=False)
class TensorStream:
    """Named data that are never held as a whole.

    `pieces()` yields consecutive runs of rows of the first dimension, cut as `row_runs` does, and
    may be called again to begin anew.
    """

    name: str
    dtype: Dtype
    shape: tuple[int, ...]
    pieces: Callable[[], Iterator[NDArray[Any]]]


def row_runs(shape: tuple[int, ...], itemsize: int) -> Iterator[slice]:
    """Cut the first dimension of an array into runs of about PIECE_BYTES.

    From three dimensions on (experts) a run is one index, so that tensors that belong together are
    cut alike.
    """
    row_bytes = max(1, prod(shape[1:]) * itemsize)
    step = 1 if len(shape) > 2 else max(1, PIECE_BYTES // row_bytes)
    return (slice(start, min(start + step, shape[0])) for start in range(0, shape[0], step))
