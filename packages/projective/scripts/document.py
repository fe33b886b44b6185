"""The numbers and pictures of docs/projective.md, from data sets that come with scikit-learn.

    python packages/projective/scripts/document.py

prints the tables and draws the pictures into docs/.
"""

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from sklearn.datasets import load_breast_cancer, load_digits, load_iris, load_linnerud, load_wine
from sklearn.decomposition import PCA
from sklearn.model_selection import StratifiedKFold, cross_val_score
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import projective
from projective import plots
from projective.scaler import ProjectiveScaler
from projective.zscore import zscore

DOCS = Path(__file__).parents[3] / "docs"
SPREADS = (0.0, 0.25, 0.5, 1.0)


def compare() -> None:
    """What both transformations keep of four tables."""
    print("| data | kept by | signs | zeros | cross ratios | their magnitude changes by |")
    print("|---|---|--:|--:|--:|--:|")
    for name, load in (
        ("wine", load_wine),
        ("breast cancer", load_breast_cancer),
        ("iris", load_iris),
        ("linnerud", load_linnerud),
    ):
        found = projective.compare_with_zscore(load().data)
        for title, kept in (
            ("z-transformation", found.kept_by_zscore),
            ("projective", found.kept_by_projective),
        ):
            zeros = f"{kept.zeros:.0%}" if (load().data == 0).any() else "none there"
            change = f"{np.exp(kept.ratio_change):.3g} ×"
            line = (name, title, f"{kept.signs:.0%}", zeros, f"{kept.ratios:.1%}", change)
            print("| " + " | ".join(line) + " |")


def dilute(rows: Any, spread: float) -> Any:
    """Every row multiplied by a factor of its own, log-normal with this spread."""
    factors = np.exp(spread * np.random.default_rng(0).standard_normal((len(rows), 1)))
    return rows * factors


def classify() -> None:
    """Right answers of 5 nearest neighbours when each wine's size is no information."""
    data = load_wine()
    folds = StratifiedKFold(10, shuffle=True, random_state=0)
    print("\n| spread of the rows' factors | z-transformation | projective |")
    print("|--:|--:|--:|")
    for spread in SPREADS:
        scores = [
            cross_val_score(
                make_pipeline(scaler, KNeighborsClassifier(5)),
                dilute(data.data, spread),
                data.target,
                cv=folds,
            ).mean()
            for scaler in (StandardScaler(), ProjectiveScaler())
        ]
        print(f"| {spread} | " + " | ".join(f"{score:.1%}" for score in scores) + " |")


def draw_maps() -> None:
    """First two principal components, wines as measured and with factors of their own."""
    data = load_wine()
    figure = Figure(figsize=(9, 7), layout="constrained")
    axes = figure.subplots(2, 2)
    for row, spread in enumerate((0.0, 0.5)):
        rows = dilute(data.data, spread)
        forms = {"z-transformation": zscore(rows), "projective": projective.invariant(rows)}
        for column, (title, form) in enumerate(forms.items()):
            places = PCA(2, svd_solver="full").fit_transform(form)
            picture = axes[row, column]
            for kind in range(3):
                picture.plot(*places[data.target == kind].T, "o", markersize=4, alpha=0.7)
            what = "as measured" if spread == 0 else "each wine times a factor of its own"
            picture.set_title(f"{title}, {what}")
            picture.set_xticks([])
            picture.set_yticks([])
    figure.savefig(DOCS / "projective-wine-maps.png", dpi=80)


def main() -> None:
    """Everything."""
    compare()
    classify()
    draw_maps()
    wine = load_wine()
    found = projective.decompose(wine.data)
    print(f"\nwine: {found!r}, {found.convergence.passes} passes")
    figure = plots.heat_maps(wine.data, found)
    figure.savefig(DOCS / "projective-wine-heat.png", dpi=80)
    names = [name.split("/")[0].replace("_", " ") for name in wine.feature_names]
    figure = plots.factors(found, column_names=names)
    figure.savefig(DOCS / "projective-wine-factors.png", dpi=80)
    digits = load_digits().data
    print(f"digits: {projective.decompose(digits).explanation}")
    print(f"digits, zeros missing: {projective.decompose(digits, zeros='missing')!r}")


if __name__ == "__main__":
    main()
