"""The two block formats of ggml that gpt-oss files use, and their exact meaning in numpy.

Both take 32 consecutive values of a row. Q8_0: a float16 d, then 32 signed bytes q; a value is d*q.
MXFP4: a scale byte as in `motet.checkpoint.mxfp4`, then 16 bytes whose low nibbles are the values
0 to 15 and whose high nibbles are the values 16 to 31, where OpenAI's files keep neighbours in one
byte. Ollama's first files (MXFP4_PAIRS) have ggml's blocks with OpenAI's nibbles.
"""

import numpy as np
from numpy.typing import NDArray

from motet.checkpoint.bf16 import from_bf16
from motet.checkpoint.errors import CheckpointError
from motet.checkpoint.mxfp4 import BLOCK, BLOCK_BYTES, dequantize
from motet.checkpoint.tensors import BLOCK_SIZES, data_shape

_Q8_0_BYTES = BLOCK_SIZES["Q8_0"]
_MXFP4_BYTES = BLOCK_SIZES["MXFP4"]
_LARGEST_Q8 = np.float32(127)

_SLICE = 4096  # blocks worked on at once: 512 KiB of float32, which stays in the cache

_LOW = np.uint64(0x0F0F_0F0F_0F0F_0F0F)
_HIGH = np.uint64(0xF0F0_F0F0_F0F0_F0F0)
_FOUR = np.uint64(4)


def quantize_q8_0(patterns: NDArray[np.uint16]) -> NDArray[np.uint8]:
    """Round rows of bfloat16 patterns to Q8_0, bit for bit as ggml does it.

    patterns: [..., n], n a multiple of 32; returns uint8 [..., n / 32 * 34]. d is the largest
    magnitude over 127, kept as float16; q is the value over the unrounded d, halves away from
    zero. Raises CheckpointError for values that are not finite or too large for float16's range.
    """
    source = np.ascontiguousarray(patterns).reshape(-1, BLOCK)
    blocks = np.empty((len(source), _Q8_0_BYTES), dtype=np.uint8)
    for start in range(0, len(source), _SLICE):
        part = slice(start, start + _SLICE)
        _quantize_slice(source[part], blocks[part])
    return blocks.reshape(data_shape("Q8_0", patterns.shape))


def dequantize_q8_0(data: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Widen Q8_0 to float32. data: uint8 [..., 34 b]; returns [..., 32 b]."""
    blocks = _as_blocks(data, _Q8_0_BYTES)
    scales = np.ascontiguousarray(blocks[:, :2]).view("<f2").astype(np.float32)
    values = blocks[:, 2:].view(np.int8).astype(np.float32)
    values *= scales
    return values.reshape(*data.shape[:-1], data.shape[-1] // _Q8_0_BYTES * BLOCK)


def pack_mxfp4(blocks: NDArray[np.uint8], scales: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """OpenAI's blocks [..., b, 16] and scales [..., b] as ggml's MXFP4 [..., 17 b]."""
    data = np.empty((scales.size, _MXFP4_BYTES), dtype=np.uint8)
    halves = np.ascontiguousarray(blocks).reshape(-1, BLOCK_BYTES).view(np.uint64)
    data[:, 0] = scales.reshape(-1)
    for start in range(0, len(data), _SLICE):
        first, second = halves[start : start + _SLICE].T
        even = (first & _LOW) | ((second & _LOW) << _FOUR)
        odd = ((first >> _FOUR) & _LOW) | (second & _HIGH)
        _put_columns(data[start : start + _SLICE, 1::2], even)
        _put_columns(data[start : start + _SLICE, 2::2], odd)
    return data.reshape(*scales.shape[:-1], scales.shape[-1] * _MXFP4_BYTES)


def unpack_mxfp4(data: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """ggml's MXFP4 [..., 17 b] as OpenAI's blocks [..., b, 16] and scales [..., b]."""
    packed = _as_blocks(data, _MXFP4_BYTES)
    blocks = np.empty((len(packed), BLOCK_BYTES), dtype=np.uint8)
    halves = blocks.view(np.uint64)
    for start in range(0, len(packed), _SLICE):
        part = slice(start, start + _SLICE)
        even, odd = _columns(packed[part, 1::2]), _columns(packed[part, 2::2])
        halves[part, 0] = (even & _LOW) | ((odd & _LOW) << _FOUR)
        halves[part, 1] = ((even >> _FOUR) & _LOW) | (odd & _HIGH)
    return _with_scales(data, blocks, packed)


def unpack_mxfp4_pairs(data: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Ollama's first MXFP4 [..., 17 b] as OpenAI's blocks [..., b, 16] and scales [..., b]."""
    packed = _as_blocks(data, _MXFP4_BYTES)
    return _with_scales(data, np.ascontiguousarray(packed[:, 1:]), packed)


def dequantize_mxfp4(data: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Widen ggml's MXFP4 to float32, exactly. data: uint8 [..., 17 b]; returns [..., 32 b]."""
    return dequantize(*unpack_mxfp4(data))


def _quantize_slice(patterns: NDArray[np.uint16], blocks: NDArray[np.uint8]) -> None:
    """[b, 32] -> [b, 34]. Magnitudes of bfloat16 compare as their patterns do."""
    peaks = from_bf16((patterns & 0x7FFF).max(axis=1))
    steps = peaks / _LARGEST_Q8
    with np.errstate(over="ignore", divide="ignore"):
        scales = steps.astype("<f2")
        inverses = np.float32(1) / steps
    inverses[~np.isfinite(inverses)] = 0  # of zeros, and of what float16 rounds to zero by far
    if not np.isfinite(scales).all():
        raise CheckpointError(
            "cannot quantise to Q8_0: the values contain an infinity or a NaN, or are out of the"
            " range of float16"
        )
    values = from_bf16(patterns)
    values *= inverses[:, np.newaxis]
    whole = np.trunc(values)
    values -= whole
    whole += values >= 0.5
    whole -= values <= -0.5
    blocks[:, :2] = scales.view(np.uint8).reshape(-1, 2)
    blocks[:, 2:] = whole.astype(np.int8).view(np.uint8)


def _as_blocks(data: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    if data.ndim == 0 or data.shape[-1] % size:
        raise CheckpointError(
            f"an array of shape {list(data.shape)} holds no blocks of {size} bytes: its last"
            f" dimension has to be a multiple of {size}"
        )
    return data.reshape(-1, size)


def _with_scales(
    data: NDArray[np.uint8], blocks: NDArray[np.uint8], packed: NDArray[np.uint8]
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    shape = (*data.shape[:-1], data.shape[-1] // _MXFP4_BYTES)
    return blocks.reshape(*shape, BLOCK_BYTES), packed[:, 0].copy().reshape(shape)


def _put_columns(target: NDArray[np.uint8], words: NDArray[np.uint64]) -> None:
    """Words [b] as bytes [b, 8]."""
    _copy_columns(target, words.view(np.uint8).reshape(-1, 8))


def _columns(source: NDArray[np.uint8]) -> NDArray[np.uint64]:
    """Bytes [b, 8] as words [b]."""
    words = np.empty(len(source), dtype=np.uint64)
    _copy_columns(words.view(np.uint8).reshape(-1, 8), source)
    return words


def _copy_columns(target: NDArray[np.uint8], source: NDArray[np.uint8]) -> None:
    """Column by column, as numpy is slow along short rows."""
    for column in range(source.shape[1]):
        target[:, column] = source[:, column]
