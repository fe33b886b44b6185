"""Row and column totals as the 32-bit integers that SciPy's maximum flow wants.

Counts, and weights that are multiples of a common unit, stay exact. Other weights are rounded to
one part in 2^30 of the total, with both sides kept equal in sum.
"""

import numpy as np
from numpy.typing import NDArray

from projective.cells import Vector

LARGEST = 2**30
UNITS = (*range(1, 65), 100, 1000, 10**4, 10**5, 10**6)
ROUNDING = 1e-12

Integers = NDArray[np.int64]


def integer_capacities(rows: Vector, columns: Vector) -> tuple[Integers, Integers]:
    """Integers in the proportions of two vectors of equal sum."""
    values = np.concatenate([rows, columns])
    smallest = values[values > 0].min()
    for unit in (*UNITS, *(unit / smallest for unit in UNITS)):
        scaled = values * unit
        whole = np.rint(scaled)
        if whole.max() > 2**52 or np.any(np.abs(scaled - whole) > ROUNDING * scaled):
            continue
        exact: Integers = whole.astype(np.int64)
        exact //= int(np.gcd.reduce(exact))
        if exact.max() <= LARGEST and exact[: len(rows)].sum() == exact[len(rows) :].sum():
            return exact[: len(rows)], exact[len(rows) :]
    return _rounded(rows), _rounded(columns)


def _rounded(values: Vector) -> Integers:
    """Integers of sum `LARGEST`: rounded down, and what is left given to the largest remainders."""
    scaled = values * (LARGEST / values.sum())
    whole: Integers = np.floor(scaled).astype(np.int64)
    left = LARGEST - int(whole.sum())
    order = np.argsort(whole - scaled, kind="stable")
    whole[order[:left]] += 1
    return whole
