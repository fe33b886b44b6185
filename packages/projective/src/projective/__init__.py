"""Projective decomposition: the scale-invariant form of a matrix, and its scale.

`decompose` is the method; `equivalent`, `rescaling`, `invariant` and `cross_ratios` say what its
form means; `compare_with_zscore` sets it beside standardisation. `projective.scaler` and
`projective.plots` need their extras and are imported by name.
"""

from projective.decomposition import Convergence, Decomposition, decompose
from projective.errors import ProjectiveError, ProjectiveWarning
from projective.structure import Status, Structure

__all__ = [
    "Convergence",
    "Decomposition",
    "ProjectiveError",
    "ProjectiveWarning",
    "Status",
    "Structure",
    "decompose",
]
