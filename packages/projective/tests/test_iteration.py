"""How many passes the methods take."""

import numpy as np
import pytest

import projective


def cycle(length, product):
    """Two non-zeros in each row and column, all 1 but for one: slow for alternating steps."""
    matrix = np.eye(length) + np.roll(np.eye(length), 1, axis=1)
    matrix[0, 0] = product
    return matrix


def passes(matrix, method, tolerance=1e-6):
    found = projective.decompose(matrix, method=method, tolerance=tolerance, max_passes=10_000)
    return found.convergence.passes


def test_the_slow_cycle():
    slow = cycle(12, 2.7e-8)
    assert passes(slow, "alternating") > 500
    assert passes(slow, "anderson") < 60
    assert passes(slow, "newton") < 60


@pytest.mark.parametrize("seed", range(5))
def test_extrapolation_needs_no_more_passes_than_alternating_steps(seed):
    matrix = np.random.default_rng(seed).standard_t(2, size=(60, 40))
    assert passes(matrix, "anderson") <= passes(matrix, "alternating")


def test_scaling_rows_and_columns_costs_next_to_nothing():
    rng = np.random.default_rng(1)
    matrix = rng.standard_normal((60, 40))
    scaled = matrix * np.exp(10 * rng.standard_normal((60, 1)) + 10 * rng.standard_normal(40))
    assert passes(scaled, "anderson") <= passes(matrix, "anderson") + 3


def test_alternating_steps_converge_at_the_rate_of_the_second_singular_value():
    """The linear rate is σ₂(W∘W / √(mn))²."""
    matrix = np.random.default_rng(2).standard_t(2, size=(40, 30))
    found = projective.decompose(matrix, method="alternating", tolerance=1e-9, max_passes=10_000)
    residuals = found.convergence.residuals
    form = found.normalized
    rate = np.linalg.svd(form**2 / np.sqrt(form.size), compute_uv=False)[1] ** 2
    np.testing.assert_allclose(residuals[-1] / residuals[-2], rate, rtol=1e-2)


def test_two_parts_hardly_connected():
    """A plateau: for alternating steps the way out is as long as the connection is weak."""
    matrix = np.array([[1.0, 1e-10], [1, 0], [0, 1], [0, 1]])
    weights = {"row_weights": [3, 2, 1, 1], "column_weights": [1, 2]}
    found = projective.decompose(matrix, tolerance=1e-10, **weights)
    assert found.convergence.converged
