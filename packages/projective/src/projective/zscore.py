"""What standardisation loses and projective decomposition keeps, counted on a matrix.

The z-transformation subtracts each column's mean and divides by its standard deviation. It moves
the zero, and with it signs, zeros and all ratios; it treats columns alone. Projective decomposition
only multiplies, on both axes.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from projective.decomposition import decompose
from projective.equivalence import cross_ratios
from projective.errors import ProjectiveError

# A relative ratio counts as kept if it has changed by less than this share.
KEPT = 1e-6


@dataclass(frozen=True, slots=True)
class Kept:
    """What of a dense matrix is still there after a transformation."""

    signs: float  # share of non-zeros whose sign stayed
    zeros: float  # share of zeros that stayed (1 if there are none)
    ratios: float  # share of sampled cross ratios that stayed
    ratio_change: float  # median |log| of the factor by which their magnitudes changed
    rank: int


@dataclass(frozen=True, slots=True)
class Comparison:
    """Both transformations of one matrix, and what each has kept."""

    zscore: NDArray[np.float64]
    normalized: NDArray[np.float64]
    rank: int
    kept_by_zscore: Kept
    kept_by_projective: Kept


def zscore(matrix: Any) -> NDArray[np.float64]:
    """Each column minus its mean, divided by its standard deviation; a constant column is 0."""
    values = np.asarray(matrix, dtype=np.float64)
    centred = values - values.mean(axis=0)
    deviation = centred.std(axis=0)
    return np.asarray(centred / np.where(deviation > 0, deviation, 1))


def compare_with_zscore(matrix: Any, *, samples: int = 10_000, seed: int = 0) -> Comparison:
    """Set the scale-invariant form of a dense, complete matrix beside its z-scores.

    Cross ratios are compared at `samples` random places without zeros.
    """
    values = np.asarray(matrix, dtype=np.float64)
    if values.ndim != 2 or not np.isfinite(values).all():
        raise ProjectiveError("The comparison wants a dense matrix without missing values.")
    standardised = zscore(values)
    form = np.asarray(decompose(values, tolerance=1e-10).normalized)
    rng = np.random.default_rng(seed)
    places = [rng.integers(values.shape[axis], size=samples) for axis in (0, 0, 1, 1)]
    return Comparison(
        zscore=standardised,
        normalized=form,
        rank=int(np.linalg.matrix_rank(values)),
        kept_by_zscore=_kept(values, standardised, places),
        kept_by_projective=_kept(values, form, places),
    )


def _kept(before: NDArray[np.float64], after: NDArray[np.float64], places: list[Any]) -> Kept:
    nonzero = before != 0
    ratios, changed = cross_ratios(before, *places), cross_ratios(after, *places)
    usable = np.isfinite(ratios) & (ratios != 0) & (places[0] != places[1])
    usable &= places[2] != places[3]
    with np.errstate(divide="ignore", invalid="ignore"):
        factor = changed[usable] / ratios[usable]
        change = np.abs(np.log(np.abs(factor)))
    return Kept(
        signs=_share(np.sign(after[nonzero]) == np.sign(before[nonzero])),
        zeros=_share(after[~nonzero] == 0),
        ratios=_share(np.abs(factor - 1) < KEPT),
        ratio_change=float(np.nanmedian(change)) if change.size else 0.0,
        rank=int(np.linalg.matrix_rank(after)),
    )


def _share(hits: NDArray[np.bool_]) -> float:
    return float(hits.mean()) if hits.size else 1.0
