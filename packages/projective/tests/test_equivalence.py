"""Equivalence up to scale, the factors between equivalent matrices, and relative ratios."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse

import projective


@st.composite
def scaled_pairs(draw):
    """A matrix with zeros, and the same with rows and columns multiplied."""
    rng = np.random.default_rng(draw(st.integers(0, 10**6)))
    m, n = rng.integers(1, 8, 2)
    matrix = rng.standard_normal((m, n)) * (rng.random((m, n)) < 0.7)
    matrix[0, 0] = 1
    rows, columns = np.exp(5 * rng.standard_normal(m)), np.exp(5 * rng.standard_normal(n))
    return matrix, rows, columns


@given(scaled_pairs())
def test_scaled_matrices_are_equivalent_and_the_factors_are_found(pair):
    matrix, rows, columns = pair
    scaled = rows[:, None] * matrix * columns
    assert projective.equivalent(matrix, scaled)
    a, b = projective.rescaling(matrix, scaled)
    assert (a > 0).all()
    assert (b > 0).all()
    np.testing.assert_allclose(a[:, None] * matrix * b, scaled, rtol=1e-6)


@given(scaled_pairs(), st.data())
def test_any_other_change_is_seen(pair, data):
    matrix, rows, columns = pair
    scaled = rows[:, None] * matrix * columns
    i, j = (data.draw(st.integers(0, length - 1)) for length in matrix.shape)
    scaled[i, j] = -scaled[i, j] if scaled[i, j] else 1
    assert not projective.equivalent(matrix, scaled)
    with pytest.raises(projective.ProjectiveError, match="more than scale"):
        projective.rescaling(matrix, scaled)


def test_matrices_without_a_form_can_be_compared():
    blocks = sparse.block_diag([np.ones((2, 3)), np.ones((3, 2))]).toarray()
    assert projective.decompose(blocks).status == "none"
    assert projective.equivalent(blocks, np.diag([1, 2, 3, 4, 5]) @ blocks)
    assert not projective.equivalent(blocks, blocks + np.eye(5))


def test_a_cross_ratio_decides():
    assert projective.equivalent([[1, 2], [3, 4]], [[10, 2], [30, 4]])
    assert not projective.equivalent([[1, 2], [3, 4]], [[1, 2], [3, 5]])
    assert not projective.equivalent([[1, 2], [3, 4]], [[1, 2, 3], [3, 4, 5]])


def test_sparse_missing_and_dense_together():
    matrix = np.array([[1, np.nan, 0], [2, 3, 4], [0, 5, 6]])
    scaled = matrix * np.array([2, 3, 4])
    assert projective.equivalent(sparse.csr_array(matrix), sparse.csc_array(scaled))
    assert projective.equivalent(sparse.csr_array(matrix), scaled)
    assert not projective.equivalent(matrix, np.nan_to_num(scaled, nan=1.0))
    assert not projective.equivalent(sparse.csr_array(matrix), sparse.csr_array(scaled.T))


def test_cross_ratios_are_ratios_of_ratios():
    rng = np.random.default_rng(0)
    matrix = rng.standard_normal((5, 4))
    rows, columns = np.arange(1, 5)[:, None], np.arange(1, 4)
    found = projective.cross_ratios(matrix, 0, rows, 0, columns)
    for i in range(4):
        for t in range(3):
            expected = (matrix[0, 0] / matrix[0, t + 1]) / (matrix[i + 1, 0] / matrix[i + 1, t + 1])
            np.testing.assert_allclose(found[i, t], expected)
    stored = projective.cross_ratios(sparse.csr_array(matrix), 0, rows, 0, columns)
    np.testing.assert_allclose(stored, found)


def test_cross_ratios_of_zeros_missing_and_huge_values():
    matrix = np.array([[1e300, 1e-300], [1e-300, -1e-300], [0, 1], [np.nan, 2]])
    np.testing.assert_allclose(projective.cross_ratios(matrix * 1, 0, 1, 0, 1), -np.inf)
    assert projective.cross_ratios(matrix, 2, 0, 0, 1) == 0
    assert projective.cross_ratios(matrix, 0, 2, 0, 1) == np.inf
    assert np.isnan(projective.cross_ratios(matrix, 2, 2, 0, 0))
    assert np.isnan(projective.cross_ratios(matrix, 0, 3, 0, 1))
    masked = np.ma.masked_invalid(matrix)
    assert np.isnan(projective.cross_ratios(masked, 0, 3, 0, 1))


def test_zscores_lose_what_the_form_keeps():
    rng = np.random.default_rng(1)
    matrix = np.exp(rng.standard_normal((40, 1)) + rng.standard_normal((40, 6)) / 2)
    matrix[rng.random(matrix.shape) < 0.1] = 0
    found = projective.compare_with_zscore(matrix)
    kept, lost = found.kept_by_projective, found.kept_by_zscore
    assert kept.signs == kept.zeros == kept.ratios == 1
    assert kept.rank == found.rank
    assert kept.ratio_change < 1e-9
    assert lost.signs < 0.9
    assert lost.zeros == 0
    assert lost.ratios < 0.01
    assert lost.ratio_change > 0.1
    np.testing.assert_allclose(found.zscore.mean(axis=0), 0, atol=1e-12)
