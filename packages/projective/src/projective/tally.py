"""The first look at a dense matrix: counts, extremes and the sum of squares, block by block.

Each thread keeps a `Tally` of its columns; what concerns rows goes into arrays that all share,
since no two threads have a row in common. The sum of squares is kept as a logarithm, each block
scaled by its largest value, so that neither 1e-300 nor 1e300 is lost.
"""

import numpy as np

from projective.cells import Indices, Inventory, Matrix, Vector, safe_log
from projective.errors import ProjectiveError

# The square of this, times any number of cells and weights, is still a double.
SAFE = 1e140
INFINITE = "The matrix holds an infinite value; replace it, or mark it as missing with NaN."


class RowTally:
    """What is known of each row."""

    def __init__(self, rows: int) -> None:
        self.observed: Vector = np.empty(rows)
        self.support: Indices = np.empty(rows, np.intp)


class Tally:
    """What one thread's blocks hold."""

    def __init__(self, column_weights: Vector) -> None:
        columns = len(column_weights)
        self._weights = column_weights
        self.observed: Vector = np.zeros(columns)
        self.support: Indices = np.zeros(columns, np.intp)
        self.largest: Vector = np.zeros(columns)
        self.smallest = np.inf
        self.log_square_sum = -np.inf
        self.complete = True
        self.positive = True

    def add(self, block: Matrix, row_weights: Vector, rows: slice, by_row: RowTally) -> None:
        """Count a block of magnitudes, missing cells NaN; the block is used up."""
        cells = block.size
        largest = block.max(axis=0, initial=0.0)
        if np.isnan(largest).any():
            observed = ~np.isnan(block)
            np.fmax(block, 0, out=block)
            largest = block.max(axis=0, initial=0.0)
            by_row.observed[rows] = observed @ self._weights
            self.observed += row_weights @ observed
            cells = int(np.count_nonzero(observed))
            self.complete = False
        else:
            by_row.observed[rows] = self._weights.sum()
            self.observed += row_weights.sum()
        if np.isinf(largest).any():
            raise ProjectiveError(INFINITE)
        np.maximum(self.largest, largest, out=self.largest)
        self._count_support(block, rows, by_row)
        self.positive &= int(by_row.support[rows].sum()) == cells
        self._add_squares(block, row_weights, float(largest.max(initial=0.0)))

    def _count_support(self, block: Matrix, rows: slice, by_row: RowTally) -> None:
        smallest = block.min()
        if smallest > 0:
            by_row.support[rows] = block.shape[1]
            self.support += len(block)
        else:
            nonzero = block > 0
            by_row.support[rows] = np.count_nonzero(nonzero, axis=1)
            self.support += np.count_nonzero(nonzero, axis=0)
            smallest = block.min(initial=np.inf, where=nonzero)
        self.smallest = min(self.smallest, float(smallest))

    def _add_squares(self, block: Matrix, row_weights: Vector, largest: float) -> None:
        if largest == 0:
            return
        unit = 1.0 if 1 / SAFE < largest < SAFE else largest
        if unit != 1:
            np.divide(block, unit, out=block)
        np.multiply(block, block, out=block)
        log_sum = np.log(row_weights @ (block @ self._weights)) + 2 * np.log(unit)
        self.log_square_sum = float(np.logaddexp(self.log_square_sum, log_sum))


def combine(tallies: list[Tally], by_row: RowTally) -> Inventory:
    """The inventory of the whole matrix."""
    largest = np.maximum.reduce([tally.largest for tally in tallies])
    smallest = min(tally.smallest for tally in tallies)
    return Inventory(
        log_square_sum=float(np.logaddexp.reduce([tally.log_square_sum for tally in tallies])),
        row_observed=by_row.observed,
        column_observed=np.sum([tally.observed for tally in tallies], axis=0),
        row_support=by_row.support,
        column_support=np.sum([tally.support for tally in tallies], axis=0),
        log_smallest=float(np.log(smallest)) if np.isfinite(smallest) else 0.0,
        log_largest=float(np.log(largest.max())) if largest.any() else 0.0,
        log_column_largest=safe_log(largest),
        complete=all(tally.complete for tally in tallies),
        positive=all(tally.positive for tally in tallies),
    )
