"""Rounding that minimises what comes out of a matrix, not what goes into it.

With inputs of second moments H, rounding errors E cost tr(E H Eᵀ). Columns are rounded from left to
right, and what a column's error does to the outputs is made good, as far as the inputs' correlation
allows, by the columns still to come (optimal brain surgery, Hassibi and Stork 1992, in the order
and with the Cholesky factor of GPTQ, Frantar et al. 2022, arXiv 2210.17323). A block's scale is
chosen when its turn comes: both candidates are tried to the end of the block, and the one with the
smaller cost stays.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from motet.checkpoint import CheckpointError
from motet.checkpoint.mxfp4 import (
    BLOCK,
    SCALE_BIAS,
    code_values,
    nearest_codes,
    unclipping_exponents,
)

_DAMPING = 0.05  # of the mean of H's diagonal, added to it


def quantize_calibrated(
    values: NDArray[np.floating[Any]], moments: NDArray[np.floating[Any]]
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Round a matrix [outputs, inputs] to MXFP4 for inputs with these moments [inputs, inputs].

    Returns blocks and scales as `quantize` does. Raises CheckpointError for values that are not
    finite.
    """
    work = np.array(values, dtype=np.float32, order="F")
    if not np.isfinite(work).all():
        raise CheckpointError("cannot quantise to MXFP4: the values contain an infinity or a NaN")
    rows, columns = work.shape
    factor = inverse_factor(moments)
    codes = np.empty((columns, rows), dtype=np.uint8)
    scales = np.empty((rows, columns // BLOCK), dtype=np.uint8)
    for start in range(0, columns, BLOCK):
        part = slice(start, start + BLOCK)
        exponents, codes[part], errors = _block(work[:, part].T, factor[part, part])
        scales[:, start // BLOCK] = exponents + SCALE_BIAS
        work[:, start + BLOCK :] -= errors.T @ factor[part, start + BLOCK :]
    packed = codes[0::2] | (codes[1::2] << 4)
    return np.ascontiguousarray(packed.T).reshape(rows, -1, BLOCK // 2), scales


def inverse_factor(moments: NDArray[np.floating[Any]]) -> NDArray[np.float32]:
    """The upper triangular U with Uᵀ U = (damped moments)⁻¹."""
    damped = np.array(moments, dtype=np.float64)
    diagonal = damped.diagonal().copy()
    damping = _DAMPING * diagonal.mean() or 1.0
    damped[np.diag_indices_from(damped)] = diagonal + damping
    reversed_factor = np.linalg.cholesky(damped[::-1, ::-1])[::-1, ::-1]
    return np.triu(np.linalg.inv(reversed_factor)).astype(np.float32)


def _block(
    values: NDArray[np.float32], factor: NDArray[np.float32]
) -> tuple[NDArray[np.int32], NDArray[np.uint8], NDArray[np.float32]]:
    """32 columns [32, rows]: exponents [rows], codes and scaled errors [32, rows]."""
    rows = values.shape[1]
    wide = unclipping_exponents(np.abs(values).max(axis=0))
    exponents = np.concatenate([wide, np.maximum(wide - 1, -SCALE_BIAS)])
    up, down = np.ldexp(np.float32(1), exponents), np.ldexp(np.float32(1), -exponents)
    work = np.concatenate([values, values], axis=1)
    codes = np.empty(work.shape, dtype=np.uint8)
    errors = np.empty(work.shape, dtype=np.float32)
    for column in range(BLOCK):
        codes[column] = nearest_codes(work[column] * down)
        errors[column] = (work[column] - code_values(codes[column]) * up) / factor[column, column]
        work[column + 1 :] -= factor[column, column + 1 :, np.newaxis] * errors[column]
    costs = np.square(errors).sum(axis=0)
    narrow = costs[rows:] < costs[:rows]
    return (
        np.where(narrow, exponents[rows:], wide),
        np.where(narrow, codes[:, rows:], codes[:, :rows]),
        np.where(narrow, errors[:, rows:], errors[:, :rows]),
    )
