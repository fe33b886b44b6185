"""A dense matrix as cells: an array in memory or a file mapped into it, with or without a mask.

A pass reads each block of rows once, squares it into a buffer that stays in the cache, and takes
both its row sums and its share of the column sums from there (two products with a vector). The
buffers' size and the number of threads are all the memory it needs, whatever the matrix's size.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from projective.cells import (
    Indices,
    Inventory,
    Matrix,
    RowStep,
    Vector,
    Workers,
    fits,
    row_blocks,
    safe_log,
)
from projective.tally import RowTally, Tally, combine

# What a thread squares at once. Less fits a nearer cache, but many small calls cost more.
SWEEP_BYTES = 1 << 22
# What it looks at in other ways, which take several such buffers.
BLOCK_BYTES = 1 << 20
# Below this a second thread costs more than it brings.
SMALL_BYTES = 1 << 21


class DenseCells:
    """See `Cells`; `values` [m, n] of any real type, `mask` [m, n] true where missing."""

    def __init__(
        self, values: Matrix, mask: NDArray[np.bool_] | None, zeros_missing: bool, threads: int
    ) -> None:
        self.shape = (values.shape[0], values.shape[1])
        self.threads = threads if values.nbytes > SMALL_BYTES else 1
        self.has_single = values.dtype.kind == "f" and values.dtype.itemsize <= 4
        self._values = values
        self._mask = mask
        self._zeros_missing = zeros_missing
        self._labels: tuple[Indices, Indices] | None = None
        self._incomplete = False
        self._range = (0.0, 0.0)
        self._workers = Workers(self.threads)
        self._blocks = self._cut(BLOCK_BYTES)

    def restrict(self, row_labels: Indices, column_labels: Indices) -> None:
        """From now on see zeros where the labels differ."""
        self._labels = (row_labels, column_labels)

    def _cut(self, size: int, dtype: Any = np.float64) -> list[slice]:
        """Blocks of rows that fill a buffer of `size` bytes as a type."""
        row_bytes = np.dtype(dtype).itemsize * self.shape[1]
        return row_blocks(self.shape[0], max(1, size // row_bytes))

    def _room(self) -> Matrix:
        """Room for one block; every thread has its own for the length of a pass."""
        return np.empty((self._blocks[0].stop, self.shape[1]))

    def release(self) -> None:
        """See `Cells`."""
        self._workers.close()

    def _hide(self, rows: slice, block: Matrix) -> None:
        """Put 0 where cells are missing or forbidden; what is hidden adds nothing to a sum."""
        if self._mask is not None:
            block[self._mask[rows]] = 0
        if self._incomplete:
            np.fmax(block, 0, out=block)
        if self._labels is not None:
            row_labels, column_labels = self._labels
            block[row_labels[rows, None] != column_labels] = 0

    def _squares(self, rows: slice, room: Matrix) -> Matrix:
        """The squares of a block, hidden cells 0."""
        source = self._values[rows]
        block = room[: len(source)]
        if source.dtype == block.dtype:
            np.multiply(source, source, out=block)
        else:  # casting first is faster than a product that casts
            block[...] = source
            np.multiply(block, block, out=block)
        self._hide(rows, block)
        return block

    def _absolute(self, rows: slice, room: Matrix) -> Matrix:
        """The absolute values of a block, in double precision."""
        source = self._values[rows]
        block = room[: len(source)]
        if source.dtype == block.dtype:
            return np.asarray(np.abs(source, out=block))
        block[...] = source
        return np.asarray(np.abs(block, out=block))

    def _magnitudes(self, rows: slice, room: Matrix) -> Matrix:
        """The absolute values of a block, hidden cells 0."""
        block = self._absolute(rows, room)
        self._hide(rows, block)
        return block

    def inventory(self, row_weights: Vector, column_weights: Vector) -> Inventory:
        """See `Cells`."""
        by_row = RowTally(self.shape[0])

        def work(part: range) -> Tally:
            tally, room = Tally(column_weights), self._room()
            for rows in self._blocks[part.start : part.stop]:
                tally.add(self._magnitudes_or_nan(rows, room), row_weights[rows], rows, by_row)
            return tally

        found = combine(self._workers.share(work, len(self._blocks)), by_row)
        self._incomplete = not found.complete and self._mask is None
        self._range = (found.log_smallest, found.log_largest)
        return found

    def _magnitudes_or_nan(self, rows: slice, room: Matrix) -> Matrix:
        """The absolute values of a block, missing cells NaN."""
        block = self._absolute(rows, room)
        if self._mask is not None:
            block[self._mask[rows]] = np.nan
        if self._zeros_missing:
            block[block == 0] = np.nan
        return block

    def sweep(self, log_factors: Vector, right: Vector, row_step: RowStep, single: bool) -> Vector:
        """See `Cells`."""
        if not fits(log_factors, *self._range):
            return self._sweep_logarithms(log_factors, right, row_step)
        single = single and self.has_single and fits(log_factors, *self._range, single=True)
        dtype = np.dtype(np.float32 if single else np.float64)
        factors = np.exp(log_factors)
        vector = (factors * right).astype(dtype)
        blocks = self._cut(SWEEP_BYTES, dtype)

        def work(part: range) -> Vector:
            total = np.zeros(self.shape[1])
            room = np.empty((blocks[0].stop, self.shape[1]), dtype)
            for rows in blocks[part.start : part.stop]:
                block = self._squares(rows, room)
                sums = (block @ vector).astype(np.float64, copy=False)
                total += row_step(rows, sums, 0.0).astype(dtype, copy=False) @ block
            return total

        return np.multiply(factors, self._workers.sum(work, len(blocks)))

    def _sweep_logarithms(self, log_factors: Vector, right: Vector, row_step: RowStep) -> Vector:
        """The same pass where squares would overflow or vanish: each row has its own exponent."""

        def work(part: range) -> Vector:
            total, room = np.zeros(self.shape[1]), self._room()
            for rows in self._blocks[part.start : part.stop]:
                block = safe_log(self._magnitudes(rows, room))
                block *= 2
                block += log_factors
                offsets = block.max(axis=1)
                offsets[np.isneginf(offsets)] = 0
                block -= offsets[:, None]
                np.exp(block, out=block)
                total += row_step(rows, block @ right, offsets) @ block
            return total

        return self._workers.sum(work, len(self._blocks))

    def support_sums(self, row_values: Vector, column_values: Vector) -> tuple[Vector, Vector]:
        """See `Cells`."""
        by_row = np.empty(self.shape[0])

        def work(part: range) -> Vector:
            total, room = np.zeros(self.shape[1]), self._room()
            for rows in self._blocks[part.start : part.stop]:
                nonzero = (self._magnitudes(rows, room) > 0).astype(np.float64)
                by_row[rows] = nonzero @ column_values
                total += row_values[rows] @ nonzero
            return total

        return by_row, self._workers.sum(work, len(self._blocks))

    def edges(self, row_rate: Vector, column_rate: Vector) -> tuple[Indices, Indices]:
        """See `Cells`."""
        generator = np.random.default_rng(0)
        rows_found, columns_found, room = [], [], self._room()
        for rows in self._blocks:
            row, column = np.nonzero(self._magnitudes(rows, room))
            row += rows.start
            rate = np.maximum(row_rate[row], column_rate[column])
            kept = generator.random(len(rate)) < rate
            rows_found.append(row[kept])
            columns_found.append(column[kept])
        return np.concatenate(rows_found), np.concatenate(columns_found)

    def normalized(self, log_rows: Vector, log_columns: Vector) -> Matrix:
        """See `Cells`; in the type of the values, double precision for whole numbers."""
        result = np.empty(self.shape, self.normalized_type)
        self.write_normalized(log_rows, log_columns, result)
        if self._mask is not None:
            return np.ma.MaskedArray(result, self._mask.copy())
        return result

    @property
    def normalized_type(self) -> Any:
        """The type of the form's values."""
        return np.float32 if self.has_single else np.float64

    def write_normalized(self, log_rows: Vector, log_columns: Vector, result: Matrix) -> None:
        """Put the form into an array, block by block."""
        for rows in self._blocks:
            result[rows] = self.normalized_rows(rows, log_rows, log_columns)

    def normalized_rows(self, rows: slice, log_rows: Vector, log_columns: Vector) -> Matrix:
        """Some rows of `normalized`, in double precision."""
        block = self._values[rows].astype(np.float64)
        block = divide(block, log_rows[rows, None], log_columns, self._range)
        if self._labels is not None:
            row_labels, column_labels = self._labels
            hidden = row_labels[rows, None] != column_labels
            block[hidden & ~np.isnan(block)] = 0
        return block


def divide(
    values: Matrix, log_rows: Vector, log_columns: Vector, log_range: tuple[float, float]
) -> Matrix:
    """Values divided by two factors given as logarithms, by logarithms where need be."""
    if fits(log_rows, *log_range) and fits(log_columns, *log_range):
        return np.asarray(values * np.exp(-log_rows) * np.exp(-log_columns))
    return np.asarray(np.sign(values) * np.exp(safe_log(np.abs(values)) - log_rows - log_columns))
