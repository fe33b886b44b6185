"""The block formats of ggml against the gguf library, bit for bit."""

import gguf
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from motet.checkpoint import CheckpointError, dequantize, from_bf16
from motet.checkpoint.gguf.blocks import (
    dequantize_mxfp4,
    dequantize_q8_0,
    pack_mxfp4,
    quantize_q8_0,
    unpack_mxfp4,
    unpack_mxfp4_pairs,
)

Quantisation = gguf.GGMLQuantizationType
DETERMINISTIC = settings(deadline=None, derandomize=True)

SHAPES = st.sampled_from([(32,), (3, 64), (2, 2, 96), (0, 32)])


@DETERMINISTIC
@given(arrays(np.uint16, SHAPES))
def test_q8_0_is_rounded_as_ggml_does(bits: np.ndarray) -> None:
    exponents = (bits >> 7 & 0xFF) % 75 + 67  # 2^-60 to 2^15
    patterns = bits & 0x807F | exponents << 7
    patterns[bits == 0] = 0
    data = quantize_q8_0(patterns)
    if patterns.size:  # of nothing the library has no opinion
        expected = gguf.quants.quantize(from_bf16(patterns), Quantisation.Q8_0)
        assert np.array_equal(data, expected)
    assert data.shape == (*patterns.shape[:-1], patterns.shape[-1] // 32 * 34)


@DETERMINISTIC
@given(arrays(np.uint8, st.sampled_from([(34,), (3, 68), (2, 2, 102)])))
def test_q8_0_is_widened_as_ggml_does(data: np.ndarray) -> None:
    data.reshape(-1, 34)[:, 1] &= 0x7B  # a finite float16
    expected = gguf.quants.dequantize(data, Quantisation.Q8_0)
    assert np.array_equal(dequantize_q8_0(data), expected)


def test_halves_of_q8_0_go_away_from_zero() -> None:
    values = np.zeros(32, dtype=np.float32)
    values[:5] = 127, 0.5, -0.5, 1.5, -2.5
    data = quantize_q8_0((values.view(np.uint32) >> 16).astype(np.uint16))
    assert data[2:7].view(np.int8).tolist() == [127, 1, -1, 2, -3]


def test_many_blocks_of_q8_0() -> None:
    values = np.random.default_rng(1).standard_normal((300, 32 * 40), dtype=np.float32)
    patterns = (values.view(np.uint32) >> 16).astype(np.uint16)
    expected = gguf.quants.quantize(from_bf16(patterns), Quantisation.Q8_0)
    assert np.array_equal(quantize_q8_0(patterns), expected)


def test_the_smallest_numbers_become_zeros_in_q8_0() -> None:
    patterns = np.full(32, 0x8001, dtype=np.uint16)
    assert not quantize_q8_0(patterns).any()


@pytest.mark.parametrize("pattern", [0x7F80, 0xFF80, 0x7FC0, 0x7F00])
def test_q8_0_of_what_it_cannot_hold(pattern: int) -> None:
    with pytest.raises(CheckpointError, match="cannot quantise to Q8_0"):
        quantize_q8_0(np.full(32, pattern, dtype=np.uint16))


@DETERMINISTIC
@given(arrays(np.uint8, st.sampled_from([(17,), (3, 34), (2, 2, 51)])))
def test_mxfp4_is_widened_as_ggml_does(data: np.ndarray) -> None:
    data.reshape(-1, 17)[:, 0] %= 252  # above, values of ours are infinite or NaN
    expected = gguf.quants.dequantize(data, Quantisation.MXFP4)
    assert np.array_equal(dequantize_mxfp4(data), expected)


@DETERMINISTIC
@given(arrays(np.uint8, st.sampled_from([(0, 1), (1,), (3, 2), (2, 2, 5)])), st.randoms())
def test_openai_blocks_and_ggml_blocks_are_the_same_values(
    scales: np.ndarray, random: object
) -> None:
    scales %= 252
    seed = random.getrandbits(32)  # type: ignore[attr-defined]
    blocks = np.random.default_rng(seed).integers(0, 256, (*scales.shape, 16), dtype=np.uint8)
    data = pack_mxfp4(blocks, scales)
    if scales.size:
        expected = gguf.quants.dequantize(data, Quantisation.MXFP4)
        assert np.array_equal(dequantize(blocks, scales), expected)
    again = unpack_mxfp4(data)
    assert np.array_equal(again[0], blocks)
    assert np.array_equal(again[1], scales)


def test_the_nibbles_of_a_block() -> None:
    blocks = np.arange(16, dtype=np.uint8).reshape(1, 16)
    blocks += 16 * (15 - blocks)  # values 0, 15, 1, 14, ... in pairs
    data = pack_mxfp4(blocks, np.array([120], dtype=np.uint8))
    codes = [code for low in range(16) for code in (low, 15 - low)]
    assert data.tolist() == [120, *(codes[k] | codes[k + 16] << 4 for k in range(16))]


def test_mxfp4_in_pairs() -> None:
    data = np.arange(34, dtype=np.uint8)
    blocks, scales = unpack_mxfp4_pairs(data)
    assert scales.tolist() == [0, 17]
    assert blocks.tolist() == [list(range(1, 17)), list(range(18, 34))]


@pytest.mark.parametrize("widen", [dequantize_q8_0, dequantize_mxfp4])
def test_bytes_that_are_no_blocks(widen: object) -> None:
    with pytest.raises(CheckpointError, match="holds no blocks"):
        widen(np.zeros((2, 35), dtype=np.uint8))  # type: ignore[operator]
