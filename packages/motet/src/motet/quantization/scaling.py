"""Dual scaling: what makes blocks uneven is taken out of a matrix before it is rounded.

A block of MXFP4 has one scale for 32 neighbouring inputs, so that a column much larger than its
neighbours costs them their precision. Projective decomposition (Robinson, arXiv 1901.01336) says
how large each column is once the rows' own sizes are taken out: W = s Diag(r) N Diag(c). Columns
are divided by c^a / u^b, where u is the size of the inputs, with the powers a and b that cost least
on a sample of rows; a = b = 0, nothing at all, is among them. The cost is that of the outputs, for
inputs that are not correlated. Rows have a scale in every block, but a power of two: what is left
is where a row lies within an octave, its phase, and that is chosen in the same way.
"""

import warnings
from collections.abc import Callable, Iterable, Sequence
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from motet.checkpoint import dequantize, quantize
from motet.errors import MotetError
from motet.quantization.weights import Floats

PHASES = np.exp2(np.arange(8) / 8, dtype=np.float32)
"""The factors of a row that are tried: an octave in eight steps."""

_POWERS = (0.0, 0.25, 0.5, 0.75, 1.0)
_INPUT_POWERS = (0.0, 0.25, 0.5)
_SAMPLE_ROWS = 256  # of each matrix, on which powers are tried
_TOLERANCE = 1e-2  # of the decomposition's root mean squares
_WIDEST = 64.0  # a factor is at most this, and at least its inverse


class ScalingError(MotetError):
    """Dual scaling cannot be done here; one sentence says why."""


def column_factors(matrices: Iterable[Floats]) -> Floats:
    """The column factors [inputs] that matrices [outputs, inputs] share, of geometric mean 1.

    That is the geometric mean of each one's own: a layer's matrices are too many to be held
    together. Raises ScalingError if the package projective is not there.
    """
    decompose = require_projective()
    logs = [_log_column_factors(decompose, matrix) for matrix in matrices]
    return _geometric(np.exp(np.mean(logs, axis=0)))


def chosen_factors(matrices: Sequence[Floats], sizes: Floats, inputs: Floats) -> Floats:
    """The factors [inputs] to divide the columns by, from their `sizes` and those of the inputs.

    `matrices`: what shares the factors, or a sample of its rows.
    """
    floor = max(float(inputs.max()), 1e-30) / _WIDEST
    seen = np.maximum(inputs, floor)
    samples = [matrix[:: max(1, len(matrix) // _SAMPLE_ROWS)] for matrix in matrices]
    trials = [
        _geometric(sizes**power / seen**input_power)
        for power, input_power in product(_POWERS, _INPUT_POWERS)
    ]
    costs = [sum(rounding_cost(each, trial, seen) for each in samples) for trial in trials]
    return trials[int(np.argmin(costs))]


def rounding_cost(matrix: Floats, factors: Floats, inputs: Floats) -> float:
    """The squared error of the outputs, summed over rows, when columns are divided first."""
    rounded = dequantize(*quantize(matrix / factors)) * factors
    return float(np.square((rounded - matrix) * inputs).sum(dtype=np.float64))


def row_costs(matrix: Floats) -> Floats:
    """The squared error of each row [outputs] as a share of its square."""
    error = np.square(dequantize(*quantize(matrix)) - matrix).sum(axis=1)
    squares = np.square(matrix).sum(axis=1)
    shares: Floats = np.divide(error, squares, out=np.zeros_like(error), where=squares > 0)
    return shares


def chosen_phases(costs: Callable[[float], Floats]) -> Floats:
    """For each row the phase with the least of `costs(phase)` [rows]."""
    best = np.argmin([costs(float(phase)) for phase in PHASES], axis=0)
    phases: Floats = PHASES[best]
    return phases


def require_projective() -> Any:
    """The function `projective.decompose`. Raises ScalingError if the package is not there."""
    try:
        from projective import decompose
    except ImportError as error:
        raise ScalingError(
            "dual scaling needs the package projective: install it from this repository with"
            " `pip install ./packages/projective`"
        ) from error
    return decompose


def _log_column_factors(decompose: Any, matrix: Floats) -> NDArray[np.float64]:
    """Logarithms [inputs] of projective column factors; what is zero throughout has factor 1."""
    if not matrix.any():
        return np.zeros(matrix.shape[1])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # powers are tried, so that a few digits will do
        found = decompose(matrix, zeros="missing", tolerance=_TOLERANCE, max_passes=50)
    return np.asarray(found.log_column_factors)


def _geometric(factors: NDArray[np.floating[Any]]) -> Floats:
    """The same ratios, within limits and with the geometric mean 1."""
    logs = np.log(factors)
    limit = np.log(_WIDEST)
    result: Floats = np.exp(np.clip(logs - logs.mean(), -limit, limit)).astype(np.float32)
    return result
