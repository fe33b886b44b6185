"""The transformer keeps scikit-learn's contracts and the method's."""

import numpy as np
import pytest
from scipy import sparse
from sklearn.pipeline import make_pipeline
from sklearn.utils.estimator_checks import parametrize_with_checks

import projective
from projective.scaler import ProjectiveScaler


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.SkipTestWarning")
@parametrize_with_checks([ProjectiveScaler()])
def test_scikit_learns_own_checks(estimator, check):
    check(estimator)


@pytest.fixture
def rows():
    rng = np.random.default_rng(0)
    return np.exp(rng.standard_normal((30, 6)) + rng.standard_normal((30, 1)))


def test_training_rows_become_the_form(rows):
    scaler = ProjectiveScaler(tolerance=1e-12)
    np.testing.assert_allclose(
        scaler.fit_transform(rows), projective.invariant(rows, tolerance=1e-12), atol=1e-10
    )
    np.testing.assert_allclose(scaler.row_factors(rows), scaler.row_factors_, rtol=1e-10)


def test_new_rows_get_their_own_factor(rows):
    scaler = ProjectiveScaler().fit(rows[:20])
    new = scaler.transform(rows[20:])
    np.testing.assert_allclose(np.sqrt(np.mean(new**2, axis=1)), 1)
    np.testing.assert_allclose(scaler.transform(1e6 * rows[20:]), new)
    factors = scaler.row_factors(rows[20:])
    np.testing.assert_allclose(scaler.inverse_transform(new, factors), rows[20:])
    np.testing.assert_allclose(scaler.inverse_transform(new) * factors[:, None], rows[20:])


@pytest.mark.parametrize("layout", [sparse.csr_array, sparse.csc_array])
@pytest.mark.parametrize("zeros", ["missing", "observed"])
def test_sparse_rows(rows, layout, zeros):
    rows[rows < 0.5] = 0
    rows[3, 0] = np.nan
    scaler = ProjectiveScaler(zeros=zeros).fit(rows)
    stored = ProjectiveScaler(zeros=zeros).fit(layout(rows))
    np.testing.assert_allclose(stored.column_factors_, scaler.column_factors_, rtol=1e-6)
    found = scaler.transform(layout(rows))
    assert found.format == layout(rows).format
    np.testing.assert_allclose(found.toarray(), scaler.transform(rows))
    restored = scaler.inverse_transform(found, scaler.row_factors(layout(rows)))
    np.testing.assert_allclose(restored.toarray(), rows)


def test_zeros_without_a_form_are_named(rows):
    rows[:, 2] = 0
    with pytest.raises(ValueError, match="column 2"):
        ProjectiveScaler(zeros="observed").fit(rows)
    assert ProjectiveScaler().fit(rows).column_factors_[2] == 1


def test_wrong_number_of_row_factors(rows):
    scaler = ProjectiveScaler().fit(rows)
    with pytest.raises(projective.ProjectiveError, match="30 row factors"):
        scaler.inverse_transform(rows, [1, 2])


def test_in_a_pipeline(rows):
    from sklearn.decomposition import PCA

    pipeline = make_pipeline(ProjectiveScaler(), PCA(2))
    assert pipeline.fit(rows).transform(rows[:3]).shape == (3, 2)
    assert list(pipeline[0].get_feature_names_out()) == [f"x{place}" for place in range(6)]
