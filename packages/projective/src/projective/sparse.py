"""A sparse matrix as cells, in compressed rows: time and memory go with the stored values.

Blocks of rows are cut once and keep their squares (or, where squares would overflow or vanish, the
logarithms), so that a pass is two sparse products per block while its values are in the cache.
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy import sparse

from projective.cells import (
    Indices,
    Inventory,
    RowStep,
    Vector,
    Workers,
    fits,
    safe_log,
)
from projective.dense import divide
from projective.errors import ProjectiveError
from projective.tally import INFINITE

BLOCK_VALUES = 1 << 15


@dataclass(frozen=True, slots=True)
class _Block:
    """Rows `rows`; its values are `entries` of the whole matrix's."""

    rows: slice
    entries: slice
    squares: Any  # csr_array
    transposed: Any  # csc_array, the same memory


class SparseCells:
    """See `Cells`; `matrix` in compressed rows without duplicates, NaN where missing."""

    def __init__(self, matrix: Any, zeros_missing: bool, threads: int) -> None:
        self.shape = (matrix.shape[0], matrix.shape[1])
        self.threads = threads if matrix.nnz > 4 * BLOCK_VALUES else 1
        self._matrix = matrix
        self.has_single = False
        self._zeros_missing = zeros_missing
        self._magnitudes = np.abs(matrix.data.astype(np.float64))
        self._missing = np.isnan(self._magnitudes)
        self._magnitudes[self._missing] = 0
        if np.isinf(self._magnitudes).any():
            raise ProjectiveError(INFINITE)
        self._hidden: Any = None
        self._range = (0.0, 0.0)
        self._workers = Workers(self.threads)
        self._row_of_entry = np.repeat(np.arange(self.shape[0]), np.diff(matrix.indptr))

    def restrict(self, row_labels: Indices, column_labels: Indices) -> None:
        """From now on see zeros where the labels differ."""
        self._hidden = row_labels[self._row_of_entry] != column_labels[self._matrix.indices]
        self._magnitudes[self._hidden] = 0
        self._cut()

    def release(self) -> None:
        """See `Cells`."""
        self._workers.close()

    def _with(self, data: Any, rows: slice, entries: slice) -> Any:
        """Some rows of the pattern with other values, sharing the memory of the columns."""
        indptr = self._matrix.indptr[rows.start : rows.stop + 1]
        parts = (data[entries], self._matrix.indices[entries], indptr - indptr[0])
        return sparse.csr_array(parts, shape=(rows.stop - rows.start, self.shape[1]))

    def _cut(self) -> None:
        """Cut the rows into blocks of about `BLOCK_VALUES` values."""
        with np.errstate(over="ignore"):  # then a pass does without them
            squares = self._magnitudes**2
        indptr = self._matrix.indptr
        starts = np.arange(BLOCK_VALUES, max(1, self._matrix.nnz), BLOCK_VALUES)
        cuts = np.unique(np.r_[0, np.searchsorted(indptr, starts), self.shape[0]])
        self._blocks = []
        for start, stop in zip(cuts[:-1].tolist(), cuts[1:].tolist(), strict=True):
            rows, entries = slice(start, stop), slice(int(indptr[start]), int(indptr[stop]))
            block = self._with(squares, rows, entries)
            self._blocks.append(_Block(rows, entries, block, block.T))

    def inventory(self, row_weights: Vector, column_weights: Vector) -> Inventory:
        """See `Cells`."""
        support = self._sum(self._magnitudes > 0, np.ones(self.shape[0]), np.ones(self.shape[1]))
        positive = self._magnitudes[self._magnitudes > 0]
        largest = np.zeros(self.shape[1])
        np.maximum.at(largest, self._matrix.indices, self._magnitudes)
        inventory = Inventory(
            log_square_sum=-np.inf,
            row_observed=np.full(self.shape[0], column_weights.sum()),
            column_observed=np.full(self.shape[1], row_weights.sum()),
            row_support=support[0].astype(np.intp),
            column_support=support[1].astype(np.intp),
            log_smallest=0.0,
            log_largest=0.0,
            log_column_largest=safe_log(largest),
            complete=not self._missing.any(),
            positive=False,
        )
        inventory = self._observed(inventory, row_weights, column_weights)
        if not len(positive):
            self._cut()
            return inventory
        top = float(positive.max())
        self._range = (float(np.log(positive.min())), float(np.log(top)))
        by_row, _ = self._sum((self._magnitudes / top) ** 2, row_weights, column_weights)
        self._cut()
        return replace(
            inventory,
            log_square_sum=float(np.log(row_weights @ by_row)) + 2 * float(np.log(top)),
            log_smallest=self._range[0],
            log_largest=self._range[1],
        )

    def _observed(self, found: Inventory, row_weights: Vector, column_weights: Vector) -> Inventory:
        """Correct the weights observed for what is missing."""
        if self._zeros_missing:
            seen = self._sum(self._magnitudes > 0, row_weights, column_weights)
            return replace(
                found,
                row_observed=seen[0],
                column_observed=seen[1],
                complete=False,
                positive=True,
            )
        if found.complete:
            cells = self.shape[0] * self.shape[1]
            return replace(found, positive=int(found.row_support.sum()) == cells)
        unseen = self._sum(self._missing, row_weights, column_weights)
        cells = self.shape[0] * self.shape[1] - int(self._missing.sum())
        return replace(
            found,
            row_observed=found.row_observed - unseen[0],
            column_observed=found.column_observed - unseen[1],
            positive=int(found.row_support.sum()) == cells,
        )

    def _sum(self, data: Any, row_values: Vector, column_values: Vector) -> tuple[Vector, Vector]:
        """Weighted row and column sums of values on the pattern."""
        parts = (data.astype(np.float64), self._matrix.indices, self._matrix.indptr)
        matrix = sparse.csr_array(parts, shape=self.shape)
        return matrix @ column_values, matrix.T @ row_values

    def sweep(self, log_factors: Vector, right: Vector, row_step: RowStep, _: bool) -> Vector:
        """See `Cells`; always in double precision."""
        if not fits(log_factors, *self._range):
            return self._sweep_logarithms(log_factors, right, row_step)
        factors = np.exp(log_factors)
        vector = factors * right

        def work(part: range) -> Vector:
            total = np.zeros(self.shape[1])
            for block in self._blocks[part.start : part.stop]:
                total += block.transposed @ row_step(block.rows, block.squares @ vector, 0.0)
            return total

        return np.multiply(factors, self._workers.sum(work, len(self._blocks)))

    def _sweep_logarithms(self, log_factors: Vector, right: Vector, row_step: RowStep) -> Vector:
        """The same pass where squares would overflow or vanish: each row has its own exponent."""
        logs = 2 * safe_log(self._magnitudes) + log_factors[self._matrix.indices]
        offsets = np.full(self.shape[0], -np.inf)
        np.maximum.at(offsets, self._row_of_entry, logs)
        offsets[np.isneginf(offsets)] = 0
        scaled = np.exp(logs - offsets[self._row_of_entry])

        def work(part: range) -> Vector:
            total = np.zeros(self.shape[1])
            for cut in self._blocks[part.start : part.stop]:
                block = self._with(scaled, cut.rows, cut.entries)
                total += block.T @ row_step(cut.rows, block @ right, offsets[cut.rows])
            return total

        return self._workers.sum(work, len(self._blocks))

    def support_sums(self, row_values: Vector, column_values: Vector) -> tuple[Vector, Vector]:
        """See `Cells`."""
        return self._sum(self._magnitudes > 0, row_values, column_values)

    def edges(self, row_rate: Vector, column_rate: Vector) -> tuple[Indices, Indices]:
        """See `Cells`."""
        entries = np.flatnonzero(self._magnitudes)
        row, column = self._row_of_entry[entries], self._matrix.indices[entries].astype(np.intp)
        rate = np.maximum(row_rate[row], column_rate[column])
        kept = np.random.default_rng(0).random(len(rate)) < rate
        return row[kept], column[kept]

    def normalized(self, log_rows: Vector, log_columns: Vector) -> Any:
        """See `Cells`: compressed rows with the same pattern."""
        log_columns = log_columns[self._matrix.indices]
        values = self._matrix.data.astype(np.float64)
        data = divide(values, log_rows[self._row_of_entry], log_columns, self._range)
        if self._hidden is not None:
            data[self._hidden & ~self._missing] = 0
        kind = self._matrix.dtype
        if kind.kind == "f" and kind.itemsize <= 4:
            data = data.astype(np.float32)
        parts = (data, self._matrix.indices.copy(), self._matrix.indptr.copy())
        return type(self._matrix)(parts, shape=self.shape)
