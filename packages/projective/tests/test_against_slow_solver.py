"""A thousand small matrices, degenerate ones among them, beside an independent solver."""

import numpy as np
import pytest
from slow_solver import slow_form, slow_status

import projective

EACH = 250


def generated(seed):
    """A matrix with zeros, missing cells, signs and scales; half of them with weights."""
    rng = np.random.default_rng(seed)
    m, n = rng.integers(1, 7, size=2)
    values = np.exp(rng.normal(size=(m, n))) * rng.choice([-1.0, 1.0], size=(m, n))
    values *= 10.0 ** np.add.outer(rng.integers(-9, 10, m), rng.integers(-9, 10, n))
    values[rng.random((m, n)) < rng.choice([0, 0.2, 0.5])] = 0
    values[rng.random((m, n)) < rng.choice([0, 0, 0.2, 0.4])] = np.nan
    if seed % 2:
        return values, np.ones(m, int), np.ones(n, int)
    return values, rng.integers(1, 4, m), rng.integers(1, 4, n)


@pytest.mark.parametrize("part", range(4))
def test_form_and_status_are_those_of_the_slow_solver(part):
    met = {"exact": 0, "limit": 0, "none": 0}
    for seed in range(part * EACH, (part + 1) * EACH):
        matrix, along, across = generated(seed)
        if not np.nan_to_num(matrix).any():
            continue
        status, vanishing = slow_status(matrix, along, across)
        result = projective.decompose(
            matrix, row_weights=along, column_weights=across, tolerance=1e-13
        )
        assert result.status == status, seed
        met[status] += 1
        if status != "none":
            expected = slow_form(np.where(vanishing, 0, matrix), along, across)
            np.testing.assert_allclose(
                result.normalized, expected.astype(float), rtol=0, atol=1e-10, err_msg=str(seed)
            )
    assert min(met.values()) >= 3, met


@pytest.mark.parametrize("method", ["alternating", "newton"])
def test_other_methods_lead_to_the_same_form(method):
    for seed in range(1000, 1060):
        matrix, along, across = generated(seed)
        if not np.nan_to_num(matrix).any():
            continue
        options = {"row_weights": along, "column_weights": across, "tolerance": 1e-12}
        expected = projective.decompose(matrix, **options)
        if expected.status == "none":
            continue
        found = projective.decompose(matrix, method=method, max_passes=20_000, **options)
        np.testing.assert_allclose(found.normalized, expected.normalized, rtol=0, atol=1e-9)


def test_form_minimises_the_convex_objective():
    """SciPy's minimiser of Σ w² e^(−x−y) + n Σ x + m Σ y stays where the form is."""
    from scipy.optimize import minimize

    matrix = np.random.default_rng(3).standard_t(3, size=(7, 5))
    m, n = matrix.shape

    def objective(logs):
        squares = matrix**2 * np.exp(-np.add.outer(logs[:m], logs[m:]))
        gradient = np.concatenate([n - squares.sum(axis=1), m - squares.sum(axis=0)])
        return squares.sum() + n * logs[:m].sum() + m * logs[m:].sum(), gradient

    found = minimize(objective, np.zeros(m + n), jac=True, method="BFGS", options={"gtol": 1e-9})
    form = matrix * np.exp(-np.add.outer(found.x[:m], found.x[m:]) / 2)
    np.testing.assert_allclose(projective.invariant(matrix), form, rtol=0, atol=1e-7)
