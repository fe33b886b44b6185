"""Rounding to MXFP4: the released convention, the search, and the calibrated solver."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from motet.checkpoint import CheckpointError, dequantize, quantize
from motet.quantization.calibrated import inverse_factor, quantize_calibrated


def blocks_of(seed: int, count: int = 200) -> np.ndarray:
    """Normal, heavy-tailed, sparse and tiny blocks."""
    random = np.random.default_rng(seed)
    normal = random.standard_normal((count, 32))
    kinds = [normal, normal**5, normal * (random.random((count, 32)) < 0.1), normal * 2.0**-130]
    return np.concatenate(kinds).astype(np.float32)


def errors_of(values: np.ndarray, packed: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    return np.square(dequantize(*packed).astype(float) - values).sum(axis=1)


def test_plain_takes_the_scale_of_the_specification() -> None:
    values = blocks_of(0)[:600]  # without subnormal scales
    values = values[values.any(axis=1)]
    _, scales = quantize(values, search=False)
    peaks = np.abs(values).max(axis=1).astype(float)
    assert np.array_equal(scales[:, 0], np.floor(np.log2(peaks)) - 2 + 127)


@given(st.integers(0, 10_000))
@settings(max_examples=30, deadline=None)
def test_the_search_is_never_worse_in_any_block(seed: int) -> None:
    values = blocks_of(seed, 50)
    plain, search = (errors_of(values, quantize(values, search=each)) for each in (False, True))
    assert (search <= plain * (1 + 1e-6)).all()
    assert search.sum() < plain.sum()


@pytest.mark.parametrize("search", [False, True])
def test_values_of_the_format_stay_the_same(search: bool) -> None:
    """Every block of codes: the same values; the same bytes if it has a 4 or a 6."""
    random = np.random.default_rng(1)
    blocks = random.integers(0, 256, (5000, 1, 16), dtype=np.uint8)
    scales = random.integers(3, 250, (5000, 1), dtype=np.uint8)
    blocks[:100] &= 0x33  # small codes only
    blocks[100:200] = 0
    values = dequantize(blocks, scales)
    again = quantize(values, search=search)
    assert np.array_equal(dequantize(*again).view(np.uint32), values.view(np.uint32))
    large = (((blocks & 6) == 6) | ((blocks & 0x60) == 0x60)).any(axis=(1, 2))
    assert np.array_equal(again[0][large], blocks[large])
    assert np.array_equal(again[1][large], scales[large])
    assert not large[:200].any()
    assert large[200:].mean() > 0.99


def test_the_factor_inverts_the_moments() -> None:
    inputs = np.random.default_rng(2).standard_normal((100, 64)) * np.arange(1, 65)
    moments = inputs.T @ inputs / 100
    upper = inverse_factor(moments).astype(float)
    damped = moments + 0.05 * moments.diagonal().mean() * np.eye(64)
    np.testing.assert_allclose(upper.T @ upper @ damped, np.eye(64), atol=1e-4)
    assert np.array_equal(upper, np.triu(upper))


def test_calibration_lowers_the_error_of_the_outputs() -> None:
    random = np.random.default_rng(3)
    values = random.standard_normal((96, 128)).astype(np.float32)
    inputs = random.standard_normal((2000, 128)) @ random.standard_normal((128, 128))
    moments = inputs.T @ inputs / 2000

    def cost(packed: tuple[np.ndarray, np.ndarray]) -> float:
        error = dequantize(*packed) - values
        return float(np.trace(error @ moments @ error.T))

    calibrated = quantize_calibrated(values, moments)
    assert [part.shape for part in calibrated] == [part.shape for part in quantize(values)]
    assert cost(calibrated) < 0.7 * cost(quantize(values))


def test_uncorrelated_inputs_are_the_search() -> None:
    values = blocks_of(4, 20)[:40].reshape(20, 64)
    ours, theirs = quantize_calibrated(values, np.eye(64)), quantize(values)
    assert np.array_equal(dequantize(*ours), dequantize(*theirs))


def test_inputs_that_never_come() -> None:
    values = blocks_of(5, 8)[:16].reshape(8, 64)
    packed = quantize_calibrated(values, np.zeros((64, 64)))
    assert np.array_equal(dequantize(*packed), dequantize(*quantize(values)))


def test_what_is_not_finite_is_refused() -> None:
    values = np.full((1, 32), np.nan, dtype=np.float32)
    with pytest.raises(CheckpointError, match="infinity or a NaN"):
        quantize_calibrated(values, np.eye(32))
