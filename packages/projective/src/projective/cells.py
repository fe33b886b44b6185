"""What the rest of the package knows of a matrix: a few questions, whatever it is stored as.

A matrix is read in blocks of rows, each small enough for the processor's cache, by several threads
at once (NumPy lets go of Python's lock within a block). `DenseCells` and `SparseCells` answer the
questions; everything else works on vectors. Squares are formed on the fly, so that nothing of the
matrix's size is ever kept. Where squares could overflow or vanish, a pass works on logarithms.

Missing cells are neither zeros nor values: they count in no mean. Rows and columns carry labels
where some non-zeros must vanish: only cells whose labels agree are seen.
"""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float64]
Indices = NDArray[np.intp]
Matrix = NDArray[Any]
Part = TypeVar("Part")

# (rows, sums, offsets) -> multipliers: a block's row sums are sums * exp(offsets); what comes back
# multiplies the block's rows, without their exp(offsets), before they are added up by column.
RowStep = Callable[[slice, Vector, Vector | float], Vector]

# Between these a square, and a square times a squared factor, stays within a double.
SAFE_LOG_VALUE = 160.0
SAFE_LOG_FACTOR = 320.0
# The same for single precision.
SINGLE_LOG_VALUE = 18.0
SINGLE_LOG_FACTOR = 40.0


@dataclass(frozen=True, slots=True)
class Inventory:
    """What one look at a matrix of m rows and n columns finds, missing cells left out."""

    log_square_sum: float  # logarithm of the weighted sum of squares; -inf for a zero matrix
    row_observed: Vector  # [m] the weight of the columns observed in each row
    column_observed: Vector  # [n]
    row_support: Indices  # [m] number of non-zeros
    column_support: Indices  # [n]
    log_smallest: float  # logarithm of the smallest non-zero magnitude
    log_largest: float
    log_column_largest: Vector  # [n] -inf for a zero column
    complete: bool  # no cell is missing
    positive: bool  # no observed cell is zero


class Cells(Protocol):
    """A matrix of m rows and n columns, seen through the questions that a decomposition asks."""

    shape: tuple[int, int]
    has_single: bool  # whether a pass may be in single precision

    def inventory(self, row_weights: Vector, column_weights: Vector) -> Inventory:
        """Look at every cell once; NaN is missing, an infinite value is an error."""

    def sweep(
        self, log_factors: Vector, right: Vector, row_step: RowStep, single: bool, /
    ) -> Vector:
        """One pass: with S_ij = a_ij² exp(log_factors_j), give S @ right to `row_step`, block by
        block, and return the column sums [n] of S with its rows multiplied by the answer. `single`
        allows single precision.
        """

    def support_sums(self, row_values: Vector, column_values: Vector) -> tuple[Vector, Vector]:
        """For each row the sum of `column_values` where it is not zero, and for each column."""

    def edges(self, row_rate: Vector, column_rate: Vector) -> tuple[Indices, Indices]:
        """Rows and columns of non-zeros, each kept with the larger of its two probabilities."""

    def restrict(self, row_labels: Indices, column_labels: Indices) -> None:
        """From now on see zeros where the labels differ."""

    def release(self) -> None:
        """Let the threads go: no more passes will come."""

    def normalized(self, log_rows: Vector, log_columns: Vector) -> Any:
        """The matrix with rows and columns divided by the exponentials of the logarithms."""


def available_threads() -> int:
    """Processors that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def fits(log_factors: Vector, smallest: float, largest: float, *, single: bool = False) -> bool:
    """Whether squares of such values, times such factors, can be formed without logarithms."""
    value = SINGLE_LOG_VALUE if single else SAFE_LOG_VALUE
    factor = SINGLE_LOG_FACTOR if single else SAFE_LOG_FACTOR
    widest = float(np.abs(log_factors).max(initial=0.0))
    return -value < smallest and largest < value and widest < factor


class Workers:
    """Shares consecutive rows among threads and collects the parts in order."""

    def __init__(self, threads: int) -> None:
        self._threads = threads
        self._pool = ThreadPoolExecutor(threads) if threads > 1 else None

    def close(self) -> None:
        """Let the threads go; what is shared later is done by the caller alone."""
        if self._pool is not None:
            self._pool.shutdown()
            self._pool = None

    def share(self, work: Callable[[range], Part], items: int) -> list[Part]:
        """`work` on the ranges into which `items` are cut, in the order of the ranges."""
        if self._pool is None or items < 2 * self._threads:
            return [work(range(items))]
        cuts = [items * part // self._threads for part in range(self._threads + 1)]
        return list(self._pool.map(work, map(range, cuts[:-1], cuts[1:])))

    def sum(self, work: Callable[[range], Vector], items: int) -> Vector:
        """The sum of the parts."""
        total: Vector = np.sum(self.share(work, items), axis=0)
        return total


def row_blocks(rows: int, size: int) -> list[slice]:
    """Slices of at most `size` rows that cover `rows`."""
    return [slice(start, min(start + size, rows)) for start in range(0, rows, size)]


def safe_log(values: Any) -> Vector:
    """Logarithms in double precision, -inf where a value is 0."""
    with np.errstate(divide="ignore"):
        return np.asarray(np.log(values), dtype=np.float64)
