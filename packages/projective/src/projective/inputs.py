"""From what people have to cells: arrays, masked arrays, sparse matrices, tables, `.npy` files.

A pass goes along rows, so what lies in memory by columns is looked at transposed instead of being
copied.
"""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy import sparse

from projective.cells import Cells, Vector, available_threads
from projective.dense import DenseCells
from projective.errors import ProjectiveError
from projective.sparse import SparseCells


@dataclass(frozen=True, slots=True)
class Opened:
    """A matrix as cells, transposed if it lies by columns."""

    cells: Cells
    transposed: bool
    shape: tuple[int, int]


def open_cells(matrix: Any, *, zeros_missing: bool, threads: int | None) -> Opened:
    """Check a matrix and see it as cells; nothing of its size is copied if it need not be."""
    threads = available_threads() if threads is None else threads
    if threads < 1:
        raise ProjectiveError("The number of threads must be at least 1.")
    if isinstance(matrix, str | os.PathLike):
        matrix = open_npy(Path(matrix))
    if sparse.issparse(matrix):
        return _open_sparse(matrix, zeros_missing, threads)
    values = matrix if isinstance(matrix, np.ndarray) else np.asanyarray(matrix)
    _check(values.shape, values.dtype)
    mask = None
    if isinstance(values, np.ma.MaskedArray):
        mask = None if values.mask is np.ma.nomask else np.asarray(values.mask)
        values = values.data
    values = np.asarray(values)
    transposed = not values.flags.c_contiguous and abs(values.strides[0]) < abs(values.strides[1])
    if transposed:
        values, mask = values.T, None if mask is None else mask.T
    cells = DenseCells(values, mask, zeros_missing, threads)
    return Opened(cells, transposed, (cells.shape[::-1] if transposed else cells.shape))


def _open_sparse(matrix: Any, zeros_missing: bool, threads: int) -> Opened:
    _check(matrix.shape, matrix.dtype)
    transposed = matrix.format == "csc"
    shape = (int(matrix.shape[0]), int(matrix.shape[1]))
    rows = matrix.T if transposed else matrix.tocsr()
    if not rows.has_canonical_format:
        rows = rows.copy()
        rows.sum_duplicates()
    return Opened(SparseCells(rows, zeros_missing, threads), transposed, shape)


def open_npy(path: Path) -> Any:
    """A `.npy` file's array, mapped and not read."""
    try:
        return np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError) as error:
        raise ProjectiveError(f"{path} cannot be read as a .npy file: {error}") from error


def _check(shape: tuple[int, ...], dtype: Any) -> None:
    if len(shape) != 2:
        raise ProjectiveError(f"A matrix with rows and columns is wanted, not {len(shape)} axes.")
    if 0 in shape:
        raise ProjectiveError(f"The matrix is empty: {shape[0]} rows, {shape[1]} columns.")
    if dtype.kind not in "biuf":
        raise ProjectiveError(f"Real numbers are wanted, not {dtype}; convert the matrix first.")


def checked_weights(weights: Any, length: int, noun: str) -> Vector:
    """Positive weights of rows or columns, 1 for all if there are none."""
    if weights is None:
        return np.ones(length)
    vector = np.asarray(weights, dtype=np.float64)
    if vector.shape != (length,):
        raise ProjectiveError(f"{length} {noun} weights are wanted, not {vector.shape}.")
    if not np.all((vector > 0) & np.isfinite(vector)):
        raise ProjectiveError(f"Every {noun} weight must be positive and finite; drop the others.")
    return vector
