"""The definitions and properties that the paper states, each as a test of its name."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

import projective

MAGNITUDES = st.floats(0.1, 10)
VALUES = st.tuples(MAGNITUDES, st.sampled_from([-1.0, 1.0])).map(lambda pair: pair[0] * pair[1])
MATRICES = arrays(np.float64, array_shapes(min_dims=2, max_dims=2, max_side=7), elements=VALUES)
SCALES = arrays(np.float64, 7, elements=st.floats(1e-6, 1e6))
TIGHT = {"tolerance": 1e-12}


def root_mean_squares(form):
    return [np.sqrt(np.mean(np.square(form), axis=axis)) for axis in (0, 1)]


@given(MATRICES)
def test_rows_and_columns_of_the_form_have_root_mean_square_one(matrix):
    for found in root_mean_squares(projective.invariant(matrix, **TIGHT)):
        np.testing.assert_allclose(found, 1, atol=1e-11)


@given(MATRICES)
def test_scale_is_the_root_mean_square(matrix):
    m, n = matrix.shape
    scale = np.linalg.norm(matrix) / np.sqrt(m * n)
    np.testing.assert_allclose(projective.decompose(matrix).scale, scale)


@given(MATRICES)
def test_reconstruction(matrix):
    found = projective.decompose(matrix)
    model = found.scale * np.outer(found.row_factors, found.column_factors)
    np.testing.assert_allclose(model * found.normalized, matrix, rtol=1e-12)


@given(MATRICES)
def test_factors_are_positive_and_of_equal_root_mean_square(matrix):
    found = projective.decompose(matrix)
    assert (found.row_factors > 0).all()
    assert (found.column_factors > 0).all()
    along, across = (np.mean(np.square(f)) for f in (found.row_factors, found.column_factors))
    np.testing.assert_allclose(along, across, rtol=1e-10)


@given(MATRICES, SCALES, SCALES)
def test_invariance_under_positive_diagonal_matrices(matrix, rows, columns):
    m, n = matrix.shape
    scaled = np.diag(rows[:m]) @ matrix @ np.diag(columns[:n])
    np.testing.assert_allclose(
        projective.invariant(scaled, **TIGHT),
        projective.invariant(matrix, **TIGHT),
        rtol=0,
        atol=1e-8,
    )


@given(MATRICES)
def test_signs_pass_through(matrix):
    form = projective.invariant(matrix)
    np.testing.assert_array_equal(np.sign(form), np.sign(matrix))
    np.testing.assert_allclose(projective.invariant(np.abs(matrix)), np.abs(form), rtol=1e-12)


@given(MATRICES)
def test_idempotent(matrix):
    form = projective.invariant(matrix, **TIGHT)
    again = projective.decompose(form, **TIGHT)
    np.testing.assert_allclose(again.normalized, form, rtol=0, atol=1e-9)
    np.testing.assert_allclose(again.scale, 1, atol=1e-11)


@given(MATRICES)
def test_transpose_equivariant(matrix):
    found = projective.decompose(matrix, **TIGHT)
    turned = projective.decompose(np.ascontiguousarray(matrix.T), **TIGHT)
    np.testing.assert_allclose(turned.normalized.T, found.normalized, rtol=0, atol=1e-8)
    np.testing.assert_allclose(turned.row_factors, found.column_factors, rtol=1e-7)


@given(SCALES, SCALES)
def test_positive_rank_one_becomes_all_ones(rows, columns):
    np.testing.assert_allclose(projective.invariant(np.outer(rows, columns)), 1, atol=1e-7)


@given(MATRICES, st.data())
def test_cross_ratios_are_kept(matrix, data):
    m, n = matrix.shape
    i, j = (data.draw(st.integers(0, m - 1)) for _ in range(2))
    s, t = (data.draw(st.integers(0, n - 1)) for _ in range(2))
    form = projective.invariant(matrix)
    np.testing.assert_allclose(
        form[i, s] * form[j, t] * matrix[i, t] * matrix[j, s],
        matrix[i, s] * matrix[j, t] * form[i, t] * form[j, s],
        rtol=1e-11,
    )


def test_rank_is_kept():
    rng = np.random.default_rng(0)
    for rank in range(1, 6):
        matrix = rng.standard_normal((9, rank)) @ rng.standard_normal((rank, 7))
        assert np.linalg.matrix_rank(projective.invariant(matrix)) == rank


def test_eight_corners_of_a_cube():
    """Side 10, lowest corner (4, 3, 2); to 1e-12 the published steps take 29 passes."""
    corners = np.array([[x, y, z] for x in (4, 14) for y in (3, 13) for z in (2, 12)], float)
    found = projective.decompose(corners, method="alternating", tolerance=1e-12)
    assert abs(found.convergence.passes - 29) <= 1
    for each in root_mean_squares(found.normalized):
        np.testing.assert_allclose(each, 1, atol=1e-11)
    quick = projective.decompose(corners, tolerance=1e-12)
    np.testing.assert_allclose(quick.normalized, found.normalized, rtol=0, atol=1e-11)


def test_an_alternating_zscore_destroys_cross_ratios():
    matrix = np.exp(np.random.default_rng(5).standard_normal((12, 8)))
    scored = matrix
    for _ in range(200):
        scored = (scored - scored.mean(axis=0)) / scored.std(axis=0)
        scored = ((scored.T - scored.mean(axis=1)) / scored.std(axis=1)).T
    places = (0, 1, 0, 1)
    kept = projective.cross_ratios(projective.invariant(matrix), *places)
    np.testing.assert_allclose(kept, projective.cross_ratios(matrix, *places))
    assert abs(projective.cross_ratios(scored, *places) / kept - 1) > 0.1


def test_a_row_of_weight_two_is_two_rows():
    rng = np.random.default_rng(1)
    matrix = rng.standard_normal((6, 5))
    repeats = np.array([1, 2, 1, 3, 1, 1])
    weighted = projective.decompose(matrix, row_weights=repeats, **TIGHT)
    repeated = projective.decompose(np.repeat(matrix, repeats, axis=0), **TIGHT)
    expected = np.repeat(weighted.normalized, repeats, axis=0)
    np.testing.assert_allclose(repeated.normalized, expected, atol=1e-10)
    np.testing.assert_allclose(repeated.column_factors, weighted.column_factors, rtol=1e-10)
    np.testing.assert_allclose(repeated.scale, weighted.scale)


def test_missing_cells_count_in_no_mean():
    rng = np.random.default_rng(2)
    matrix = rng.standard_normal((9, 7))
    matrix[rng.random(matrix.shape) < 0.3] = np.nan
    form = projective.invariant(matrix, **TIGHT)
    np.testing.assert_array_equal(np.isnan(form), np.isnan(matrix))
    for axis in (0, 1):
        np.testing.assert_allclose(np.nanmean(form**2, axis=axis), 1, atol=1e-11)
