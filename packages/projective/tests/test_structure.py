"""When the form exists, when it is a limit, when there is none, and what is said about it."""

import numpy as np
import pytest
from scipy import sparse

import projective
from projective import structure


def test_limit_of_a_triangle():
    """[[1, 1], [0, 1]]: the corner vanishes and the identity's form remains."""
    found = projective.decompose(np.array([[1.0, 1], [0, 1]]))
    assert found.status == "limit"
    np.testing.assert_allclose(found.normalized, np.sqrt(2) * np.eye(2))
    assert found.structure.rows_at_fault == (0,)
    assert found.structure.columns_at_fault == (1,)
    assert "row 0 and column 1" in found.explanation


def test_the_limit_is_where_the_iteration_of_the_whole_tends():
    squares = np.array([[1.0, 1], [0, 1]])
    for _ in range(10_000):
        squares = 2 * squares / squares.sum(axis=1, keepdims=True)
        squares = 2 * squares / squares.sum(axis=0)
    found = projective.decompose(np.array([[1.0, 1], [0, 1]]))
    np.testing.assert_allclose(found.normalized**2, squares, atol=1e-3)


def test_none_for_blocks_that_do_not_fit():
    blocks = sparse.block_diag([np.ones((2, 3)), np.ones((3, 2))]).toarray()
    found = projective.decompose(blocks)
    assert found.status == "none"
    assert found.structure.rows_at_fault == (2, 3, 4)
    assert found.structure.columns_at_fault == (3, 4)
    with pytest.raises(projective.ProjectiveError, match="rows 2, 3 and 4"):
        _ = found.normalized


@pytest.mark.parametrize("turned", [False, True])
def test_none_for_zero_rows_and_columns(turned):
    matrix = np.ones((4, 5))
    matrix[2] = 0
    found = projective.decompose(matrix.T if turned else matrix)
    assert found.status == "none"
    assert f"only zeros in {'column' if turned else 'row'} 2;" in found.explanation
    with pytest.raises(projective.ProjectiveError, match="take zeros as missing"):
        _ = found.row_factors


def test_none_for_a_row_with_too_few_nonzeros():
    matrix = np.ones((4, 12))
    matrix[1, 2:] = 0
    found = projective.decompose(matrix)
    assert found.status == "none"
    assert found.structure.rows_at_fault == (1,)


@pytest.mark.parametrize("layout", [np.ascontiguousarray, np.asfortranarray, sparse.csr_array])
def test_zeros_as_missing_always_have_a_form(layout):
    matrix = np.random.default_rng(0).poisson(0.3, (30, 20)).astype(float)
    matrix[3] = matrix[:, 4] = 0
    assert projective.decompose(layout(matrix)).status == "none"
    found = projective.decompose(layout(matrix), zeros="missing", tolerance=1e-11)
    assert found.status == "exact"
    assert found.row_factors[3] == found.column_factors[4] == 1
    form = found.normalized
    form = form.toarray() if sparse.issparse(form) else form
    np.testing.assert_array_equal(form == 0, matrix == 0)
    for axis in (0, 1):
        counts = (matrix != 0).sum(axis=axis)
        np.testing.assert_allclose((form**2).sum(axis=axis), counts, atol=1e-8)


def test_factors_are_gauged_in_each_connected_part():
    rng = np.random.default_rng(1)
    parts = [rng.standard_normal((3, 3)), rng.standard_normal((2, 2)) * 1e6]
    found = projective.decompose(sparse.block_diag(parts).toarray())
    assert found.status == "exact"
    for part in (slice(0, 3), slice(3, 5)):
        rows, columns = found.row_factors[part], found.column_factors[part]
        np.testing.assert_allclose(np.mean(rows**2), np.mean(columns**2), rtol=1e-12)


def test_parts_of_very_different_size_are_gauged_too():
    found = projective.decompose(np.diag([1e200, 1.0, 1e-200]))
    np.testing.assert_allclose(found.log_row_factors, found.log_column_factors, rtol=1e-12)


def pattern(rng, m, n, density):
    matrix = (rng.random((m, n)) < density) * rng.standard_normal((m, n))
    places = np.arange(max(m, n))
    matrix[places % m, places % n] = 1
    if m == n:
        matrix[m // 2 :, : m // 2] *= np.eye(m)[m // 2 :, : m // 2]
    return matrix


def test_a_sample_of_the_pattern_decides_as_the_whole_does(monkeypatch):
    rng = np.random.default_rng(2)
    shapes = [rng.integers(20, 60, 2) for _ in range(40)] + [(side, side) for side in range(20, 40)]
    matrices = [pattern(rng, *shape, rng.uniform(0.02, 0.3)) for shape in shapes]
    sampled = [projective.decompose(matrix).structure for matrix in matrices]
    monkeypatch.setattr(structure, "FIRST_SAMPLE", 10**6)
    monkeypatch.setattr(structure, "_by_reach", lambda *_: None)
    whole = [projective.decompose(matrix).structure for matrix in matrices]
    assert [each.status for each in sampled] == [each.status for each in whole]
    assert {each.status for each in whole} == {"exact", "limit", "none"}
    for one, other in zip(sampled, whole, strict=True):
        if one.status == "limit":
            assert one.rows_at_fault == other.rows_at_fault
            assert one.columns_at_fault == other.columns_at_fault


def test_weights_that_are_no_whole_numbers_decide_exactly():
    triangle = np.array([[1.0, 1], [0, 1]])
    for weights in ([0.3, 0.7], [0.1, 1.1], [1 / 3, 2 / 3]):
        found = projective.decompose(triangle, row_weights=weights, column_weights=weights)
        assert found.status == "limit"


def test_large_totals_do_not_overflow():
    m, n = 47_000, 46_999  # 2.2e9 in all, capacities that share no divisor
    rows = np.repeat(np.arange(m), 12)
    columns = (rows + np.tile(np.random.default_rng(3).integers(0, n, 12), m)) % n
    matrix = sparse.csr_array((np.ones(len(rows)), (rows, columns)), shape=(m, n))
    assert projective.decompose(matrix, tolerance=0.5).status == "exact"
