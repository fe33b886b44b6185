"""Pictures hold what they should."""

import numpy as np
from scipy import sparse

import projective
from projective import plots


def test_heat_maps_show_both_matrices():
    matrix = np.random.default_rng(0).standard_normal((9, 7))
    matrix[1, 2] = np.nan
    found = projective.decompose(matrix)
    before, after = plots.heat_maps(matrix, found).axes[:2]
    np.testing.assert_array_equal(before.images[0].get_array().filled(np.nan), matrix)
    np.testing.assert_array_equal(after.images[0].get_array().filled(np.nan), found.normalized)


def test_large_sparse_matrices_are_thinned():
    matrix = sparse.eye_array(2000, format="csr")
    before = plots.heat_maps(matrix, projective.decompose(matrix)).axes[0]
    assert before.images[0].get_array().shape == (plots.MOST_DRAWN, plots.MOST_DRAWN)


def test_factors_are_drawn_and_named():
    found = projective.decompose(np.exp(np.random.default_rng(1).standard_normal((5, 3))))
    rows, columns = plots.factors(found, column_names=["a", "b", "c"]).axes
    np.testing.assert_array_equal(rows.lines[0].get_ydata(), found.row_factors)
    assert [label.get_text() for label in columns.get_xticklabels()] == ["a", "b", "c"]
    assert columns.get_yscale() == "log"
