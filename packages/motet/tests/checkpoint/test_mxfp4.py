"""MXFP4 against the format's own check values, an exhaustive search and transformers."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from motet.checkpoint import CheckpointError
from motet.checkpoint.mxfp4 import dequantize, quantize

GRID = np.array([0, 0.5, 1, 1.5, 2, 3, 4, 6])
EVERY_VALUE = np.concatenate([GRID, -GRID])


def block_of(*first_bytes: int) -> np.ndarray:
    block = np.zeros((1, 16), np.uint8)
    block[0, : len(first_bytes)] = first_bytes
    return block


@pytest.mark.parametrize(
    ("byte", "scale", "values"), [(0x21, 127, [0.5, 1.0]), (0xF9, 128, [-1.0, -12.0])]
)
def test_published_check_values(byte: int, scale: int, values: list[float]) -> None:
    assert dequantize(block_of(byte), np.array([scale], np.uint8))[:2].tolist() == values


def test_every_code_and_every_scale() -> None:
    codes = block_of(0x10, 0x32, 0x54, 0x76, 0x98, 0xBA, 0xDC, 0xFE)
    for scale in range(255):
        with np.errstate(over="ignore"):
            expected = (EVERY_VALUE * 2.0 ** (scale - 127)).astype(np.float32)
        values = dequantize(codes, np.array([scale], np.uint8))[:16]
        assert np.array_equal(values, expected)
        assert np.array_equal(np.signbit(values), np.signbit(expected))
    assert np.isnan(dequantize(codes, np.array([255], np.uint8))).all()


def test_dequantisation_equals_transformers() -> None:
    torch = pytest.importorskip("torch")
    from transformers.integrations.mxfp4 import convert_moe_packed_tensors

    random = np.random.default_rng(0)
    blocks = random.integers(0, 256, (2, 6, 3, 16), dtype=np.uint8)
    scales = random.integers(100, 150, (2, 6, 3), dtype=np.uint8)
    theirs = convert_moe_packed_tensors(
        torch.from_numpy(blocks), torch.from_numpy(scales), dtype=torch.float32
    )
    assert np.array_equal(dequantize(blocks, scales), theirs.numpy().transpose(0, 2, 1))


def smallest_error(block: np.ndarray) -> float:
    """The best any scale byte can do, each value going to the nearest representable one."""
    errors = []
    for exponent in range(-127, 128):
        distances = np.abs(block[:, None] - EVERY_VALUE * 2.0**exponent)
        errors.append((distances.min(axis=1) ** 2).sum())
    return float(min(errors))


def spread_blocks(count: int, seed: int) -> np.ndarray:
    """Blocks of many shapes: even, heavy-tailed, sparse, on the grid, tiny and huge."""
    random = np.random.default_rng(seed)
    normal = random.standard_normal((count, 32))
    kinds = [
        normal,
        normal**5,
        normal * (random.random((count, 32)) < 0.1),
        random.choice(EVERY_VALUE, (count, 32)),
        random.uniform(2.4, 4.6, (count, 32)),
        normal * 2.0 ** random.integers(-120, 120, (count, 1)),
    ]
    return np.concatenate(kinds).astype(np.float32)


def test_no_scale_does_better() -> None:
    values = spread_blocks(60, seed=1)
    restored = dequantize(*quantize(values)).astype(np.float64)
    errors = ((restored - values) ** 2).sum(axis=1)
    best = np.array([smallest_error(block.astype(np.float64)) for block in values])
    assert np.all(errors <= best * (1 + 1e-5))


def test_both_scales_are_chosen() -> None:
    values = spread_blocks(200, seed=2)[:200]
    _, scales = quantize(values)
    unclipping = np.ceil(np.log2(np.abs(values).max(axis=1) / 6)) + 127
    steps = unclipping - scales[:, 0]
    assert set(steps) == {0, 1}


def test_ties_go_to_the_even_code() -> None:
    values = np.zeros((1, 32), np.float32)
    values[0, :8] = [6, 0.25, 0.75, 1.25, 1.75, 2.5, 3.5, 5]
    values[0, 8:15] = -values[0, 1:8]
    restored = dequantize(*quantize(values))
    assert restored[0, :8].tolist() == [6, 0, 1, 1, 2, 2, 4, 4]
    assert np.array_equal(restored[0, 8:15], -restored[0, 1:8])


@settings(deadline=None, derandomize=True)
@given(
    arrays(np.uint8, (3, 2, 16)),
    arrays(np.uint8, (3, 2), elements=st.integers(0, 251)),
)
def test_what_is_representable_survives(blocks: np.ndarray, scales: np.ndarray) -> None:
    values = dequantize(blocks, scales)
    again = dequantize(*quantize(values))
    assert np.array_equal(again, values)
    assert np.array_equal(np.signbit(again), np.signbit(values))


@settings(deadline=None, derandomize=True)
@given(
    arrays(np.float32, (2, 64), elements=st.floats(allow_nan=False, allow_infinity=False, width=32))
)
def test_any_finite_values_can_be_rounded(values: np.ndarray) -> None:
    blocks, scales = quantize(values)
    assert blocks.shape == (2, 2, 16)
    assert scales.shape == (2, 2)
    restored = dequantize(blocks, scales)
    peaks = np.abs(values.reshape(2, 2, 32)).max(axis=2, keepdims=True)
    distances = np.abs(restored.reshape(2, 2, 32).astype(np.float64) - values.reshape(2, 2, 32))
    assert np.all(distances <= peaks.astype(np.float64) / 2 + 2.0**-128)


def test_a_block_does_not_depend_on_its_neighbours() -> None:
    values = spread_blocks(900, seed=3)  # more blocks than are worked on at once
    blocks, scales = quantize(values)
    for index in (0, 2047, 2048, 5399):
        one_block, one_scale = quantize(values[index])
        assert np.array_equal(one_block[0], blocks[index, 0])
        assert one_scale[0] == scales[index, 0]


def test_zeros_and_empty_arrays() -> None:
    assert not dequantize(*quantize(np.zeros((4, 32), np.float32))).any()
    blocks, scales = quantize(np.zeros((0, 64), np.float32))
    assert dequantize(blocks, scales).shape == (0, 64)


def test_values_in_any_memory_order() -> None:
    values = spread_blocks(32, seed=4)[:32]
    assert np.array_equal(quantize(values.T)[0], quantize(values.T.copy())[0])


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        (np.zeros((2, 33), np.float32), "multiple of 32"),
        (np.float32(1) * np.ones(()), "multiple of 32"),
        (np.full((1, 32), np.nan, np.float32), "infinity or a NaN"),
        (np.full((1, 32), -np.inf, np.float32), "infinity or a NaN"),
    ],
)
def test_what_cannot_be_quantised(values: np.ndarray, reason: str) -> None:
    with pytest.raises(CheckpointError, match=reason):
        quantize(values)


def test_shapes_that_do_not_fit_together() -> None:
    with pytest.raises(CheckpointError, match="do not fit scales"):
        dequantize(np.zeros((2, 3, 16), np.uint8), np.zeros((2, 4), np.uint8))
