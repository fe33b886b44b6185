"""An independent, slow and simple solver: the oracle of the tests.

Existence is decided by trying every set of rows; the form by alternating steps in the longest
floats there are. Nothing of the package is used.
"""

from itertools import combinations

import numpy as np


def slow_form(matrix, row_weights, column_weights, limit=200_000):
    """The form of a small matrix (NaN missing) in extended precision; a form must exist."""
    values = np.asarray(matrix, dtype=np.longdouble)
    seen = ~np.isnan(values)
    squares = np.where(seen, values, 0) ** 2
    u, v = (np.asarray(weights, np.longdouble) for weights in (row_weights, column_weights))
    x, y = np.ones(len(u), np.longdouble), np.ones(len(v), np.longdouble)
    row_observed, column_observed = seen @ v, u @ seen
    for _ in range(limit):
        x = _inverse(squares @ (v * y), row_observed)
        means = _inverse((u * x) @ squares, column_observed)
        if np.abs(means / y - 1).max() < 1e-17:
            break
        y = means
    else:
        raise AssertionError("the slow solver has not converged")
    return values * np.sqrt(np.outer(x, y))


def _inverse(sums, observed):
    live = sums > 0
    return np.where(live, observed / np.where(live, sums, 1), 1)


def slow_status(matrix, row_weights, column_weights):
    """The status, and which non-zeros vanish, by every set of rows (whole-number weights)."""
    values = np.asarray(matrix, dtype=float)
    seen, nonzero = ~np.isnan(values), np.nan_to_num(values) != 0
    u, v = (np.asarray(weights, dtype=int) for weights in (row_weights, column_weights))
    supply, demand = u * (seen @ v), v * (u @ seen)
    vanishing = np.zeros(values.shape, bool)
    if np.any(~nonzero.any(axis=0) & (demand > 0)):
        return "none", vanishing
    for size in range(1, len(u) + 1):
        for chosen in combinations(range(len(u)), size):
            rows = np.isin(np.arange(len(u)), chosen)
            reached = nonzero[rows].any(axis=0)
            if supply[rows].sum() > demand[reached].sum():
                return "none", vanishing
            if supply[rows].sum() == demand[reached].sum():
                vanishing |= nonzero & ~rows[:, None] & reached
    return ("limit" if vanishing.any() else "exact"), vanishing
