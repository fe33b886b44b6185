"""Pictures of a decomposition (extra `plots`): the matrix before and after, and its factors.

Each function draws into a new Matplotlib figure and returns it; nothing is shown or saved.
"""

from typing import Any

import numpy as np
from matplotlib.figure import Figure
from scipy import sparse

from projective.decomposition import Decomposition

# More rows or columns than this are thinned evenly before they are drawn.
MOST_DRAWN = 600


def heat_maps(matrix: Any, decomposition: Decomposition) -> Figure:
    """The matrix and its scale-invariant form side by side; missing cells stay blank.

    Colours are linear and symmetric about 0 if there are negative values; their ends are the 1st
    and 99th percentile, so that a few large values do not hide the rest.
    """
    figure = Figure(figsize=(10, 4.2), layout="constrained")
    before, after = figure.subplots(1, 2)
    _heat_map(before, _drawable(matrix), "as measured")
    _heat_map(after, _drawable(decomposition.normalized), "scale-invariant form")
    return figure


def factors(
    decomposition: Decomposition,
    row_names: list[str] | None = None,
    column_names: list[str] | None = None,
) -> Figure:
    """Row and column factors on logarithmic axes, named if there are names."""
    figure = Figure(figsize=(10, 4.2), layout="constrained")
    for axes, values, names, title in zip(
        figure.subplots(1, 2),
        (decomposition.row_factors, decomposition.column_factors),
        (row_names, column_names),
        ("row factors", "column factors"),
        strict=True,
    ):
        axes.plot(values, "o", markersize=3 if len(values) > 50 else 6)
        axes.set_yscale("log")
        axes.set_title(title)
        axes.grid(visible=True, alpha=0.3)
        if names is not None:
            axes.set_xticks(range(len(names)), names, rotation=60, ha="right", fontsize=8)
    return figure


def _drawable(matrix: Any) -> Any:
    """At most `MOST_DRAWN` rows and columns as a masked array."""
    if sparse.issparse(matrix):
        matrix = matrix.tocsr()
    elif not isinstance(matrix, np.ndarray):
        matrix = np.asarray(matrix)
    rows, columns = (
        np.unique(np.linspace(0, length - 1, min(length, MOST_DRAWN)).astype(int))
        for length in matrix.shape
    )
    drawn = matrix[rows][:, columns]
    return np.ma.masked_invalid(drawn.toarray() if sparse.issparse(drawn) else drawn)


def _heat_map(axes: Any, values: Any, title: str) -> None:
    low, high = np.percentile(values.compressed(), [1, 99])
    if low < 0:
        high = max(-low, high)
        low = -high
    colours = "RdBu_r" if low < 0 else "viridis"
    image = axes.imshow(
        values, aspect="auto", interpolation="nearest", cmap=colours, vmin=low, vmax=high
    )
    axes.set_title(title)
    axes.set_xlabel("columns")
    axes.set_ylabel("rows")
    axes.figure.colorbar(image, ax=axes)
