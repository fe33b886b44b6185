"""A named tensor: the noun this room trades in.

Data are numpy arrays over a read-only memory map, or arrays about to be written. numpy has no
bfloat16, so BF16 tensors carry their bit patterns as `uint16`; `motet.checkpoint.bf16` converts.
"""

from dataclasses import dataclass
from math import prod
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

Dtype: TypeAlias = Literal["BF16", "U8", "F32", "F16"]

NUMPY_DTYPES: dict[str, np.dtype[Any]] = {
    "BF16": np.dtype("<u2"),
    "U8": np.dtype("u1"),
    "F32": np.dtype("<f4"),
    "F16": np.dtype("<f2"),
}


@dataclass(frozen=True)
class TensorSpec:
    """What a tensor has to be: its name in the file, its dtype and its shape."""

    name: str
    dtype: Dtype
    shape: tuple[int, ...]

    @property
    def nbytes(self) -> int:
        """Size in bytes."""
        return prod(self.shape) * NUMPY_DTYPES[self.dtype].itemsize


@dataclass(frozen=True, eq=False)
class Tensor:
    """Named data. `data` has `shape` and the numpy dtype of `dtype` (BF16 as uint16 patterns)."""

    name: str
    dtype: Dtype
    shape: tuple[int, ...]
    data: NDArray[Any]

    @property
    def nbytes(self) -> int:
        """Size in bytes."""
        return self.data.nbytes
