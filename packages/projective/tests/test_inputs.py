"""Whatever a matrix is stored as, its decomposition is the same; what is no matrix is refused."""

import pickle
import threading
import tracemalloc

import numpy as np
import pandas as pd
import pytest
from scipy import sparse

import projective
from projective import dense
from projective.errors import ProjectiveWarning

TIGHT = {"tolerance": 1e-12}


@pytest.fixture
def matrix():
    rng = np.random.default_rng(0)
    return rng.standard_normal((40, 30)) * (rng.random((40, 30)) < 0.6)


def assert_same(found, expected):
    form, wanted = (
        each.normalized.toarray() if sparse.issparse(each.normalized) else each.normalized
        for each in (found, expected)
    )
    np.testing.assert_allclose(form, wanted, rtol=0, atol=1e-10)
    np.testing.assert_allclose(found.row_factors, expected.row_factors, rtol=1e-9)
    np.testing.assert_allclose(found.column_factors, expected.column_factors, rtol=1e-9)
    np.testing.assert_allclose(found.scale, expected.scale, rtol=1e-12)


@pytest.mark.parametrize("kind", ["csr", "csc", "coo", "lil", "dok"])
@pytest.mark.parametrize("zeros", ["observed", "missing"])
def test_sparse_as_dense(matrix, kind, zeros):
    expected = projective.decompose(matrix, zeros=zeros, **TIGHT)
    stored = sparse.coo_array(matrix).asformat(kind)
    found = projective.decompose(stored, zeros=zeros, **TIGHT)
    assert_same(found, expected)
    assert found.normalized.nnz == stored.nnz


def test_sparse_matrices_with_duplicates_and_missing_values(matrix):
    dense_one = matrix.copy()
    dense_one[2, 3] = np.nan
    stored = sparse.csr_array(dense_one)
    halves = sparse.csr_array(
        (np.repeat(stored.data / 2, 2), np.repeat(stored.indices, 2), stored.indptr * 2),
        shape=stored.shape,
    )
    assert_same(projective.decompose(halves, **TIGHT), projective.decompose(dense_one, **TIGHT))


def test_the_limit_of_a_sparse_matrix():
    triangle = np.array([[1, 1, np.nan], [0, 1, np.nan], [np.nan, np.nan, 1]])
    expected = projective.decompose(triangle)
    assert expected.status == "limit"
    assert_same(projective.decompose(sparse.csr_array(triangle)), expected)


def test_masks_and_nan_are_the_same(matrix):
    hidden = np.random.default_rng(1).random(matrix.shape) < 0.2
    expected = projective.decompose(np.where(hidden, np.nan, matrix), **TIGHT)
    for layout in (np.ascontiguousarray, np.asfortranarray):
        masked = np.ma.MaskedArray(layout(matrix), layout(hidden))
        found = projective.decompose(masked, **TIGHT)
        np.testing.assert_array_equal(found.normalized.mask, hidden)
        np.testing.assert_allclose(
            found.normalized.filled(np.nan), expected.normalized, rtol=0, atol=1e-10
        )


def test_a_wholly_missing_row_has_factor_one(matrix):
    matrix[5] = np.nan
    found = projective.decompose(matrix, **TIGHT)
    assert found.row_factors[5] == 1
    assert np.isnan(found.normalized[5]).all()
    rest = projective.decompose(np.delete(matrix, 5, axis=0), **TIGHT)
    np.testing.assert_allclose(np.delete(found.normalized, 5, axis=0), rest.normalized, atol=1e-10)


def test_views_by_columns_are_not_copied(matrix):
    expected = projective.decompose(matrix, **TIGHT)
    found = projective.decompose(np.asfortranarray(matrix), **TIGHT)
    assert_same(found, expected)
    assert found.normalized.flags.f_contiguous
    wide = np.zeros((80, 60))
    wide[::2, ::2] = matrix
    assert_same(projective.decompose(wide[::2, ::2], **TIGHT), expected)


def test_tables_lists_and_whole_numbers():
    counts = np.random.default_rng(2).integers(1, 9, (6, 4))
    expected = projective.decompose(counts.astype(float), **TIGHT)
    for other in (counts, counts.astype(np.uint8), counts.tolist(), pd.DataFrame(counts)):
        assert_same(projective.decompose(other, **TIGHT), expected)


def test_single_precision_in_and_out():
    matrix = np.random.default_rng(3).standard_normal((300, 200)).astype(np.float32)
    expected = projective.decompose(matrix.astype(float), **TIGHT)
    found = projective.decompose(matrix, **TIGHT)
    assert found.normalized.dtype == np.float32
    np.testing.assert_allclose(found.normalized, expected.normalized, rtol=1e-6)
    np.testing.assert_allclose(found.row_factors, expected.row_factors, rtol=1e-11)


def test_single_precision_does_not_have_the_last_word():
    """Even where it would call a rank-one matrix done at once."""
    rng = np.random.default_rng(8)
    matrix = np.outer(rng.random(300) + 0.5, rng.random(200) + 0.5).astype(np.float32)
    expected = projective.decompose(matrix.astype(float), tolerance=1e-3)
    found = projective.decompose(matrix, tolerance=1e-3)
    np.testing.assert_allclose(found.row_factors, expected.row_factors, rtol=1e-12)


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("missing", [False, True])
def test_threads_and_blocks_change_nothing(matrix, monkeypatch, threads, missing):
    if missing:
        matrix[matrix > 1] = np.nan
    expected = projective.decompose(matrix, **TIGHT)
    monkeypatch.setattr(dense, "BLOCK_BYTES", 1000)
    monkeypatch.setattr(dense, "SWEEP_BYTES", 1000)
    monkeypatch.setattr(dense, "SMALL_BYTES", 0)
    assert_same(projective.decompose(matrix, threads=threads, **TIGHT), expected)


def test_a_mapped_file_needs_little_memory(tmp_path):
    path, form_path = tmp_path / "large.npy", tmp_path / "form.npy"
    shape = (6_000, 6_000)
    mapped = np.lib.format.open_memmap(path, "w+", np.float32, shape)
    generator = np.random.default_rng(4)
    for start in range(0, shape[0], 1000):
        mapped[start : start + 1000] = generator.standard_normal((1000, shape[1]), np.float32)
    mapped.flush()
    del mapped
    tracemalloc.start()
    found = projective.decompose(path, threads=1, tolerance=1e-3)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < dense.SWEEP_BYTES + 3 * dense.BLOCK_BYTES  # squares of a block, and vectors
    found.save_normalized(form_path)
    form = np.load(form_path, mmap_mode="r")
    np.testing.assert_allclose(np.sqrt(np.mean(form[:50] ** 2, axis=1)), 1, atol=1e-4)


def test_saved_forms_are_the_form(matrix, tmp_path):
    for layout in (np.ascontiguousarray, np.asfortranarray):
        found = projective.decompose(layout(matrix))
        found.save_normalized(tmp_path / "form.npy")
        np.testing.assert_array_equal(np.load(tmp_path / "form.npy"), found.normalized)
    assert [path.name for path in tmp_path.iterdir()] == ["form.npy"]


@pytest.mark.parametrize("largest", [1e150, 1e300])
def test_values_whose_squares_overflow_or_vanish(largest):
    rng = np.random.default_rng(5)
    expected = rng.standard_normal((12, 9))
    exponents = rng.uniform(-1, 1, (12, 1)) + rng.uniform(-1, 1, 9)
    scales = largest ** (exponents / np.abs(exponents).max())
    expected = projective.invariant(expected, **TIGHT)
    found = projective.decompose(expected * scales, tolerance=1e-11)
    np.testing.assert_allclose(found.normalized, expected, rtol=0, atol=1e-8)
    stored = projective.decompose(sparse.csr_array(expected * scales), tolerance=1e-11)
    np.testing.assert_allclose(stored.normalized.toarray(), expected, rtol=0, atol=1e-8)


def test_factors_beyond_a_double_are_there_as_logarithms():
    steps = np.diag(np.full(3, 1e200)) + np.diag(np.full(2, 1e-200), 1)
    found = projective.decompose(steps, zeros="missing")
    np.testing.assert_allclose(found.normalized, (steps > 0), atol=1e-6)
    spread = found.log_row_factors
    assert spread.max() - spread.min() > np.log(1e300) * 2


@pytest.mark.parametrize(
    ("bad", "sentence"),
    [
        (np.ones(3), "rows and columns"),
        (np.ones((0, 3)), "empty"),
        (np.ones((2, 2), complex), "Real numbers"),
        (np.array([["a", "b"]]), "Real numbers"),
        (np.array([[1, np.inf]]), "infinite"),
        (sparse.csr_array([[1, -np.inf]]), "infinite"),
        (np.zeros((2, 3)), "no non-zero"),
        (np.full((2, 3), np.nan), "no non-zero"),
        ("no such file.npy", "cannot be read"),
    ],
)
def test_what_is_no_matrix_is_refused_in_one_sentence(bad, sentence):
    with pytest.raises(projective.ProjectiveError, match=sentence):
        projective.decompose(bad)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"row_weights": [1, 2, 3]}, "2 row weights"),
        ({"column_weights": [1, 0]}, "positive"),
        ({"tolerance": 0}, "tolerance"),
        ({"max_passes": 0}, "pass"),
        ({"method": "magic"}, "method"),
        ({"zeros": "maybe"}, "Zeros"),
        ({"threads": 0}, "threads"),
    ],
)
def test_options_that_mean_nothing_are_refused(options, sentence):
    with pytest.raises(projective.ProjectiveError, match=sentence):
        projective.decompose(np.eye(2), **options)


def test_a_cut_iteration_is_said():
    matrix = np.random.default_rng(6).standard_cauchy((50, 50))
    with pytest.warns(ProjectiveWarning, match="After 3 passes"):
        found = projective.decompose(matrix, max_passes=3)
    assert not found.convergence.converged
    assert len(found.convergence.residuals) == found.convergence.passes == 3


@pytest.mark.parametrize("layout", [np.asarray, sparse.csr_array])
def test_results_can_be_pickled_and_hold_no_threads(layout):
    matrix = layout(np.random.default_rng(7).standard_normal((700, 600)))
    before = threading.active_count()
    found = projective.decompose(matrix, threads=3)
    assert threading.active_count() == before
    assert_same(pickle.loads(pickle.dumps(found)), projective.decompose(matrix, threads=3))
