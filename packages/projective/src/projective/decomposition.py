"""Projective decomposition: A = s · Diag(r) · W · Diag(c).

s is the root mean square of A; every row and every column of W, the scale-invariant form, has root
mean square 1; r and c are positive (Max Robinson, arXiv 1901.01336). `decompose` settles first from
the pattern of non-zeros whether W exists and then balances rows and columns by one of the
iterations. Factors are kept as logarithms, since their range may exceed a double's.
"""

import os
import warnings
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np

from projective.atomic import replacing
from projective.balance import Balance, Point
from projective.cells import Indices, Vector, safe_log
from projective.dense import DenseCells
from projective.errors import ProjectiveError, ProjectiveWarning
from projective.inputs import Opened, checked_weights, open_cells
from projective.iteration import METHODS
from projective.structure import Status, Structure, analyse

DEFAULT_TOLERANCE = 1e-8
DEFAULT_MAX_PASSES = 1000

Method = Literal["anderson", "alternating", "newton"]
Zeros = Literal["observed", "missing"]


@dataclass(frozen=True, slots=True)
class Convergence:
    """How the iteration went.

    A pass reads the whole matrix once. The residual is the largest |root mean square − 1| of a row
    or column; after each pass the rows (the columns, if the matrix lies by columns) are exact.
    """

    method: str
    passes: int
    residuals: tuple[float, ...]
    residual: float
    converged: bool


class Decomposition:
    """A matrix's scale and its scale-invariant form; see the module.

    Where `status` is "limit", W is the limit: the form of the matrix without the non-zeros that
    vanish, and the factors belong to it. Where it is "none", asking for factors or W raises the
    explanation. Within each connected part of the pattern r and c have the same root mean square;
    a row or column without non-zeros has factor 1.
    """

    def __init__(
        self,
        opened: Opened,
        structure: Structure,
        log_scale: float,
        logs: tuple[Vector, Vector] | None,
        convergence: Convergence | None,
    ) -> None:
        self.shape = opened.shape
        self.structure = structure
        self.log_scale = log_scale
        self._opened = opened
        self._logs = logs
        self._convergence = convergence

    @property
    def status(self) -> Status:
        """Whether the form exists: exact, limit or none."""
        return self.structure.status

    @property
    def explanation(self) -> str:
        """The status in one sentence, with the rows and columns at fault."""
        return self.structure.explanation

    def _required(self) -> tuple[Vector, Vector]:
        if self._logs is None:
            raise ProjectiveError(self.explanation)
        return self._logs

    @property
    def convergence(self) -> Convergence:
        """The record of the iteration."""
        self._required()
        assert self._convergence is not None
        return self._convergence

    @property
    def scale(self) -> float:
        """The root mean square s of the matrix (weighted, of observed cells)."""
        return float(np.exp(self.log_scale))

    @property
    def log_row_factors(self) -> Vector:
        """[m] logarithms of the row factors."""
        return self._required()[0]

    @property
    def log_column_factors(self) -> Vector:
        """[n] logarithms of the column factors."""
        return self._required()[1]

    @property
    def row_factors(self) -> Vector:
        """[m] the row factors r."""
        return np.exp(self.log_row_factors)

    @property
    def column_factors(self) -> Vector:
        """[n] the column factors c."""
        return np.exp(self.log_column_factors)

    def _oriented(self) -> tuple[Vector, Vector]:
        """Logarithms by which the cells' rows and columns are divided."""
        rows, columns = self._required()
        if self._opened.transposed:
            rows, columns = columns, rows
        return rows + self.log_scale, columns

    @cached_property
    def normalized(self) -> Any:
        """The scale-invariant form W [m, n], dense or sparse as the matrix is; made when asked."""
        result = self._opened.cells.normalized(*self._oriented())
        return result.T if self._opened.transposed else result

    def save_normalized(self, path: str | os.PathLike[str]) -> None:
        """Write W as a `.npy` file block by block, so that it need not fit into memory."""
        cells = self._opened.cells
        if not isinstance(cells, DenseCells):
            raise ProjectiveError("W is sparse; write `normalized` with scipy.sparse.save_npz.")
        logs, by_columns = self._oriented(), self._opened.transposed
        with replacing(Path(path)) as partial:
            form = np.lib.format.open_memmap(
                partial, "w+", cells.normalized_type, self.shape, fortran_order=by_columns
            )
            cells.write_normalized(*logs, form.T if by_columns else form)
            form.flush()

    def __repr__(self) -> str:
        m, n = self.shape
        return f"<Decomposition of {m} × {n}: {self.status}, scale {self.scale:.6g}>"


def decompose(
    matrix: Any,
    *,
    row_weights: Any = None,
    column_weights: Any = None,
    zeros: Zeros = "observed",
    tolerance: float = DEFAULT_TOLERANCE,
    max_passes: int = DEFAULT_MAX_PASSES,
    method: Method = "anderson",
    threads: int | None = None,
) -> Decomposition:
    """Decompose a matrix of real numbers into scale and scale-invariant form.

    `matrix` [m, n] is an array, a masked array, a sparse matrix, a table of numbers, or the path of
    a `.npy` file, which is mapped and not read. NaN and masked cells are missing: they count in no
    mean. With `zeros="missing"` so are zeros, and then a form always exists. A row of weight 2
    counts as two rows; weights are positive. The iteration ends when every row's and column's root
    mean square is within `tolerance` of 1, or after `max_passes` with a `ProjectiveWarning`.
    `threads` is as many as the processors unless given.

    Raises `ProjectiveError` for input that is no such matrix; a matrix without a form is returned
    with status "none".
    """
    _check_options(zeros, tolerance, max_passes, method)
    opened = open_cells(matrix, zeros_missing=zeros == "missing", threads=threads)
    along = checked_weights(row_weights, opened.shape[0], "row")
    across = checked_weights(column_weights, opened.shape[1], "column")
    if opened.transposed:
        along, across = across, along
    cells = opened.cells
    found = cells.inventory(along, across)
    observed = float(along @ found.row_observed)
    if np.isneginf(found.log_square_sum):
        raise ProjectiveError("The matrix has no non-zero value, so it has no scale.")
    log_scale = (found.log_square_sum - np.log(observed)) / 2
    structure = analyse(cells, found, along, across)
    logs = record = None
    if structure.status is not Status.NONE:
        if structure.status is Status.LIMIT:
            assert structure.row_labels is not None
            assert structure.column_labels is not None
            cells.restrict(structure.row_labels, structure.column_labels)
        balance = Balance(cells, found, along, across, tolerance)
        point = METHODS[method](balance, tolerance, max_passes)
        record = _record(method, balance, point, tolerance)
        used = along * (found.row_support > 0), across * (found.column_support > 0)
        logs = _gauged(point, log_scale, structure, *used)
    cells.release()
    if opened.transposed:
        structure = structure.transposed()
        logs = logs and logs[::-1]
    return Decomposition(opened, structure, float(log_scale), logs, record)


def _check_options(zeros: str, tolerance: float, max_passes: int, method: str) -> None:
    if zeros not in ("observed", "missing"):
        raise ProjectiveError(f'Zeros are "observed" or "missing", not {zeros!r}.')
    if method not in METHODS:
        raise ProjectiveError(f"The method is one of {', '.join(METHODS)}, not {method!r}.")
    if not 0 < tolerance < 1:
        raise ProjectiveError(f"The tolerance must lie between 0 and 1, unlike {tolerance}.")
    if max_passes < 1:
        raise ProjectiveError("At least one pass is needed.")


def _record(method: str, balance: Balance, point: Point, tolerance: float) -> Convergence:
    converged = point.residual <= tolerance
    if not converged:
        warnings.warn(
            f"After {balance.passes} passes a root mean square is still {point.residual:.1e} away "
            "from 1; allow more passes or a larger tolerance.",
            ProjectiveWarning,
            stacklevel=3,
        )
    residuals = tuple(balance.residuals)
    return Convergence(method, balance.passes, residuals, point.residual, converged)


def _gauged(
    point: Point, log_scale: float, structure: Structure, along: Vector, across: Vector
) -> tuple[Vector, Vector]:
    """Logarithms of r and c, their root mean squares made equal in each connected part.

    Rows and columns without a non-zero have weight 0 here and get factor 1.
    """
    rows = (point.log_rows - log_scale) / 2
    columns = (-point.eta - log_scale) / 2
    row_labels, column_labels = structure.row_labels, structure.column_labels
    if row_labels is None or column_labels is None:
        row_labels = np.zeros(len(rows), np.intp)
        column_labels = np.zeros(len(columns), np.intp)
    parts = int(max(row_labels.max(), column_labels.max())) + 1
    of_rows = _log_mean_squares(rows, along, row_labels, parts)
    of_columns = _log_mean_squares(columns, across, column_labels, parts)
    empty = np.isneginf(of_rows) | np.isneginf(of_columns)
    shift = (np.where(empty, 0, of_rows) - np.where(empty, 0, of_columns)) / 4
    rows = np.where(along > 0, rows - shift[row_labels], 0)
    columns = np.where(across > 0, columns + shift[column_labels], 0)
    return rows, columns


def _log_mean_squares(logs: Vector, weights: Vector, labels: Indices, parts: int) -> Vector:
    """For each part the logarithm of the weighted mean of exp(2 logs); -inf for an empty part."""
    used = weights > 0
    logs, weights, labels = logs[used], weights[used], labels[used]
    top = np.full(parts, -np.inf)
    np.maximum.at(top, labels, logs)
    top[np.isneginf(top)] = 0
    sums = np.bincount(labels, weights * np.exp(2 * (logs - top[labels])), minlength=parts)
    whole = np.bincount(labels, weights, minlength=parts)
    return np.asarray(safe_log(sums / np.where(whole > 0, whole, 1)) + 2 * top)
