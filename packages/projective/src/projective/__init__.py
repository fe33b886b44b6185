"""Projective decomposition: the scale-invariant form of a matrix, and its scale.

`decompose` is the method; `equivalent`, `rescaling`, `invariant` and `cross_ratios` say what its
form means; `compare_with_zscore` sets it beside standardisation. `projective.scaler` and
`projective.plots` need their extras and are imported by name.
"""

from projective.decomposition import Convergence, Decomposition, decompose
from projective.equivalence import cross_ratios, equivalent, invariant, rescaling
from projective.errors import ProjectiveError, ProjectiveWarning
from projective.structure import Status, Structure
from projective.zscore import Comparison, Kept, compare_with_zscore

__all__ = [
    "Comparison",
    "Convergence",
    "Decomposition",
    "Kept",
    "ProjectiveError",
    "ProjectiveWarning",
    "Status",
    "Structure",
    "compare_with_zscore",
    "cross_ratios",
    "decompose",
    "equivalent",
    "invariant",
    "rescaling",
]
