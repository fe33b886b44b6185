"""MXFP4, the number format of the experts: 32 values share one power-of-two scale.

A value is a 4-bit E2M1 float (0, 0.5, 1, 1.5, 2, 3, 4, 6 and the negatives); a block is 32
consecutive values of a row, two to a byte with the earlier one in the low nibble; its scale byte s
means 2^(s - 127), and 255 is NaN (Open Compute Project, Microscaling Formats v1.0).

This is the one definition that both export and quantisation-aware training use. A block takes the
scale with the smallest squared error. Only two can win: the smallest power of two that clips
nothing, and half of it, which gains resolution near zero and clips the largest values. Double the
first only drops grid points; a quarter clips away more than the finer grid can give back. Without
the search a block takes the format's own scale, 2^(floor(log2 peak) - 2), which is always one of
the two. A block with a value of 4 or 6 times its scale comes back as the same bytes either way.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from motet.checkpoint.errors import CheckpointError

BLOCK = 32
BLOCK_BYTES = BLOCK // 2
SCALE_BIAS = 127
_LARGEST_EXPONENT = 125

# The magnitudes by their three-bit code, and between each two the comparison that rounds to the
# nearer, ties to the even code.
_MAGNITUDES = np.array([0, 0.5, 1, 1.5, 2, 3, 4, 6], dtype=np.float32)
_MIDPOINTS = (_MAGNITUDES[1:] + _MAGNITUDES[:-1]) / 2
_ROUND_UP = (np.greater, np.greater_equal) * 3 + (np.greater,)

_SIGNED = np.concatenate([_MAGNITUDES, -_MAGNITUDES])
# The two values of every byte, as one 8-byte item so that one lookup fetches both.
_PAIRS = np.stack([_SIGNED[np.arange(256) & 15], _SIGNED[np.arange(256) >> 4]], axis=1).view(
    np.uint64
)[:, 0]
_SCALES = np.full(256, np.nan, dtype=np.float32)
_SCALES[:255] = np.ldexp(np.float32(1), np.arange(255) - SCALE_BIAS)

_SLICE = 2048  # blocks worked on at once: 256 KiB of float32, which stays in the cache


def quantize(
    values: NDArray[np.floating[Any]], *, search: bool = True
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Round rows of float32 to MXFP4.

    values: [..., n], finite, n a multiple of 32. `search`: whether each block takes the scale with
    the smallest squared error, or the one that the format's specification proposes. Returns blocks
    uint8 [..., n / 32, 16] and scales uint8 [..., n / 32]. Raises CheckpointError for another n, an
    infinity or a NaN.
    """
    if values.ndim == 0 or values.shape[-1] % BLOCK:
        raise CheckpointError(
            f"cannot quantise an array of shape {list(values.shape)} to MXFP4:"
            f" its last dimension has to be a multiple of {BLOCK}"
        )
    source = np.ascontiguousarray(values, dtype=np.float32).reshape(-1, BLOCK)
    blocks = np.empty((len(source), BLOCK_BYTES), dtype=np.uint8)
    scales = np.empty(len(source), dtype=np.uint8)
    for start in range(0, len(source), _SLICE):
        part = slice(start, start + _SLICE)
        blocks[part], scales[part] = _quantize_slice(source[part], search)
    shape = (*values.shape[:-1], values.shape[-1] // BLOCK)
    return blocks.reshape(*shape, BLOCK_BYTES), scales.reshape(shape)


def dequantize(blocks: NDArray[np.uint8], scales: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Widen MXFP4 to float32, exactly.

    blocks: uint8 [..., b, 16], scales: uint8 [..., b]; returns [..., 32 b]. A scale of 255 makes
    its block NaN. Raises CheckpointError if the two shapes do not belong together.
    """
    if blocks.shape != (*scales.shape, BLOCK_BYTES) or scales.ndim == 0:
        raise CheckpointError(
            f"MXFP4 blocks of shape {list(blocks.shape)} do not fit scales of shape"
            f" {list(scales.shape)}: blocks need one more dimension, of {BLOCK_BYTES}"
        )
    packed, factors = blocks.reshape(-1, BLOCK_BYTES), scales.reshape(-1)
    values = np.empty((len(packed), BLOCK), dtype=np.float32)
    with np.errstate(over="ignore"):  # 4 * 2^126 and more: infinite, as in the references
        for start in range(0, len(packed), _SLICE):
            part = slice(start, start + _SLICE)
            np.take(_PAIRS, packed[part], out=values[part].view(np.uint64), mode="clip")
            values[part] *= _SCALES.take(factors[part])[:, np.newaxis]
    return values.reshape(*scales.shape[:-1], scales.shape[-1] * BLOCK)


def nearest_codes(values: NDArray[np.float32]) -> NDArray[np.uint8]:
    """The nearest E2M1 code of each value; ties go to the even code. Any shape."""
    codes, _ = _round(np.abs(values))
    codes |= ((values.view(np.uint32) >> 28) & 8).astype(np.uint8)
    return codes


def code_values(codes: NDArray[np.uint8]) -> NDArray[np.float32]:
    """The values of E2M1 codes. Any shape."""
    return _SIGNED.take(codes, mode="clip")


def _quantize_slice(
    source: NDArray[np.float32], search: bool
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """[b, 32] -> packed [b, 16] and scale bytes [b].

    Works on the transpose, so that every reduction and broadcast runs along contiguous rows.
    """
    signed = np.ascontiguousarray(source.T)
    magnitudes = np.abs(signed)
    peaks = magnitudes.max(axis=0)
    if not np.isfinite(peaks).all():
        raise CheckpointError("cannot quantise to MXFP4: the values contain an infinity or a NaN")
    exponents = unclipping_exponents(peaks)
    if search:
        magnitudes *= np.ldexp(np.float32(1), -exponents)
        wide, wide_error = _round(magnitudes)
        magnitudes *= 2
        narrow, narrow_error = _round(magnitudes)
        halve = (narrow_error < 4 * wide_error) & (exponents > -SCALE_BIAS)
        codes = np.where(halve, narrow, wide)
    else:
        halve = (np.ldexp(peaks, -exponents) < 4) & (exponents > -SCALE_BIAS) & (peaks > 0)
        magnitudes *= np.ldexp(np.float32(1), halve - exponents)
        codes, _ = _round(magnitudes)
    codes |= ((signed.view(np.uint32) >> 28) & 8).astype(np.uint8)
    packed = codes[0::2] | (codes[1::2] << 4)
    return packed.T, (exponents - halve + SCALE_BIAS).astype(np.uint8)


def unclipping_exponents(peaks: NDArray[np.float32]) -> NDArray[np.int32]:
    """The smallest e with peak <= 6 * 2^e, for each block; 0 for a block of zeros.

    A peak near the end of float32's range is clipped all the same, since 4 * 2^126 is infinite.
    """
    mantissas, exponents = np.frexp(peaks)
    exponents = exponents - 3 + (mantissas > 0.75)
    exponents[peaks == 0] = 0
    return np.clip(exponents, -SCALE_BIAS, _LARGEST_EXPONENT)


def _round(magnitudes: NDArray[np.float32]) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """The nearest E2M1 code of each magnitude [32, b], and each column's squared error [b]."""
    codes = np.zeros(magnitudes.shape, dtype=np.uint8)
    above = np.empty(magnitudes.shape, dtype=np.bool_)
    for midpoint, rounds_up in zip(_MIDPOINTS, _ROUND_UP, strict=True):
        codes += rounds_up(magnitudes, midpoint, out=above)
    difference = _MAGNITUDES.take(codes, mode="clip")
    difference -= magnitudes
    difference *= difference
    return codes, difference.sum(axis=0)
