"""Matrices that differ only in scale: X ~ Y where Diag(a) X Diag(b) = Y for positive a and b.

Two matrices are equivalent exactly if their scale-invariant forms agree. With zeros taken as
missing the form always exists, and multiplying rows and columns never makes or loses a zero; so
here zeros are missing, and the question has an answer for every matrix.
"""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse

from projective.cells import Vector, safe_log
from projective.decomposition import Decomposition, decompose
from projective.errors import ProjectiveError

# Factors may be less exact than the residual, by the matrix's condition.
MARGIN = 1e-4


def invariant(matrix: Any, **options: Any) -> Any:
    """The scale-invariant form alone, the same for all equivalent matrices; see `decompose`.

    Raises `ProjectiveError` with the explanation where there is none.
    """
    return decompose(matrix, **options).normalized


def equivalent(first: Any, second: Any, *, tolerance: float = 1e-6) -> bool:
    """Whether two matrices become one by positive factors on rows and columns.

    Their forms' values must agree to the relative `tolerance`, zeros and missing cells exactly.
    """
    return _common(first, second, tolerance) is not None


def rescaling(first: Any, second: Any, *, tolerance: float = 1e-6) -> tuple[Vector, Vector]:
    """The factors a [m] and b [n] with Diag(a) @ first @ Diag(b) = second.

    Raises `ProjectiveError` if the matrices are not equivalent. In each connected part of the
    pattern a and b are determined up to one number that moves from a to b.
    """
    common = _common(first, second, tolerance)
    if common is None:
        raise ProjectiveError(
            "The matrices differ in more than scale; no factors lead from one on."
        )
    one, other = common
    half = (other.log_scale - one.log_scale) / 2
    rows = np.exp(half + other.log_row_factors - one.log_row_factors)
    columns = np.exp(half + other.log_column_factors - one.log_column_factors)
    return rows, columns


def _common(
    first: Any, second: Any, tolerance: float
) -> tuple[Decomposition, Decomposition] | None:
    """Both decompositions if they have one form."""
    if np.shape(first) != np.shape(second):
        return None
    if not 0 < tolerance < 1:
        raise ProjectiveError(f"The tolerance must lie between 0 and 1, unlike {tolerance}.")
    one, other = (
        decompose(matrix, zeros="missing", tolerance=tolerance * MARGIN)
        for matrix in (first, second)
    )
    left, right = (_plain(each.normalized) for each in (one, other))
    same = _sparse_agree if sparse.issparse(left) and sparse.issparse(right) else _dense_agree
    return (one, other) if same(left, right, tolerance) else None


def _plain(form: Any) -> Any:
    """A form without mask, missing cells NaN."""
    if sparse.issparse(form):
        return form.tocsr()
    return np.ma.filled(np.ma.asarray(form), np.nan)


def _sparse_agree(left: Any, right: Any, tolerance: float) -> bool:
    for form in (left, right):
        form.eliminate_zeros()
        form.sort_indices()
    if not np.array_equal(left.indptr, right.indptr):
        return False
    return np.array_equal(left.indices, right.indices) and _close(left.data, right.data, tolerance)


def _dense_agree(left: Any, right: Any, tolerance: float) -> bool:
    left, right = (form.toarray() if sparse.issparse(form) else form for form in (left, right))
    return np.array_equal(left == 0, right == 0) and _close(left, right, tolerance)


def _close(left: Any, right: Any, tolerance: float) -> bool:
    return bool(np.allclose(left, right, rtol=tolerance, atol=0, equal_nan=True))


def cross_ratios(
    matrix: Any,
    rows: ArrayLike,
    other_rows: ArrayLike,
    columns: ArrayLike,
    other_columns: ArrayLike,
) -> NDArray[np.float64]:
    """The relative ratios (a_is / a_it) / (a_js / a_jt), which no change of scale alters.

    i, j, s and t come from `rows`, `other_rows`, `columns` and `other_columns`, whole numbers that
    are broadcast against each other; the result has their common shape. Computed by logarithms:
    nothing overflows on the way. 0 in the denominator gives inf, 0/0 and missing cells NaN.
    """
    i, j, s, t = np.broadcast_arrays(rows, other_rows, columns, other_columns)
    above, below = _at(matrix, i, s), _at(matrix, i, t)
    other_above, other_below = _at(matrix, j, s), _at(matrix, j, t)
    sign = np.sign(above) * np.sign(other_below)
    over = np.sign(below) * np.sign(other_above)
    with np.errstate(invalid="ignore", over="ignore"):
        log = safe_log(np.abs(above)) - safe_log(np.abs(below))
        log += safe_log(np.abs(other_below)) - safe_log(np.abs(other_above))
        return np.asarray(
            np.where(over == 0, np.where(sign == 0, np.nan, sign), sign * over) * np.exp(log)
        )


def _at(matrix: Any, rows: Any, columns: Any) -> NDArray[np.float64]:
    """Values at places, in the shape of the places; missing cells NaN."""
    if sparse.issparse(matrix):
        found = matrix.tocsr()[rows.ravel(), columns.ravel()]
        return np.asarray(found, dtype=np.float64).reshape(rows.shape)
    found = np.ma.filled(np.ma.asarray(np.asanyarray(matrix)[rows, columns], np.float64), np.nan)
    return np.asarray(found, dtype=np.float64)
