"""Random models: every tensor of a config, filled with numbers of a sane size.

For tests and benchmarks. Each tensor depends on the seed and its name alone, so a stream of them
can be taken in any order, and the same tensor comes out in models that differ elsewhere. What is
large is made out of raw random bits, many times faster than normal deviates: E2M1 codes and bytes
as they come, matrices in bfloat16 with random sign, mantissa and one of four exponents. Vectors,
which are few and whose mean matters, are normal.
"""

from collections.abc import Iterator
from functools import partial
from math import ceil, log2, prod
from typing import Any
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from motet.checkpoint.bf16 import to_bf16
from motet.checkpoint.config import ModelConfig
from motet.checkpoint.layout import tensor_specs
from motet.checkpoint.mxfp4 import BLOCK, SCALE_BIAS
from motet.checkpoint.tensors import NUMPY_DTYPES, Tensor, TensorSpec, TensorStream, row_runs

_MXFP4_DEVIATION = 2.926  # of a value drawn evenly from the sixteen E2M1 codes

_SIGN_MANTISSA_AND_TWO_EXPONENT_BITS = 0x81FF
_MATRIX_DEVIATION = 7.041  # of the values those bits stand for, the smallest exponent being 0
_BF16_EXPONENT_BIAS = 127


def random_tensors(config: ModelConfig, seed: int) -> Iterator[Tensor]:
    """The tensors of a random model, one at a time, under their Hugging Face names."""
    for stream in random_streams(config, seed):
        data = np.concatenate(list(stream.pieces()))
        yield Tensor(stream.name, stream.dtype, stream.shape, data)


def random_streams(config: ModelConfig, seed: int) -> Iterator[TensorStream]:
    """The same tensors, of which no more than a piece is ever held."""
    for spec in tensor_specs(config):
        yield TensorStream(spec.name, spec.dtype, spec.shape, partial(_pieces, spec, seed))


def _pieces(spec: TensorSpec, seed: int) -> Iterator[NDArray[Any]]:
    random = np.random.Generator(np.random.SFC64([seed, crc32(spec.name.encode())]))
    for rows in row_runs(spec.shape, NUMPY_DTYPES[spec.dtype].itemsize):
        yield _piece(spec, (rows.stop - rows.start, *spec.shape[1:]), random)


def _piece(
    spec: TensorSpec, shape: tuple[int, ...], random: np.random.Generator
) -> NDArray[np.uint8 | np.uint16]:
    if spec.name.endswith("_blocks"):
        return _bits(shape, np.uint8, random)
    if spec.name.endswith("_scales"):
        return _scales(shape, random)
    if spec.name.endswith(".weight") and len(shape) > 1:
        return _matrix(shape, 1.0 if "embed" in spec.name else shape[-1] ** -0.5, random)
    values = random.standard_normal(shape, dtype=np.float32)
    if spec.name.endswith("norm.weight"):
        values = values / np.float32(10) + np.float32(1)
    elif spec.name.endswith("bias"):
        values /= 10
    return to_bf16(values)


def _scales(shape: tuple[int, ...], random: np.random.Generator) -> NDArray[np.uint8]:
    """Three neighbouring powers of two, the middle one half of the time."""
    fan_in = shape[-1] * BLOCK
    centre = SCALE_BIAS + round(-log2(_MXFP4_DEVIATION * fan_in**0.5))
    bits: NDArray[np.uint8] = _bits(shape, np.uint8, random)
    return (bits & 1) + (bits >> 7) + np.uint8(centre - 1)


def _matrix(
    shape: tuple[int, ...], deviation: float, random: np.random.Generator
) -> NDArray[np.uint16]:
    """bfloat16 patterns whose deviation is the wanted one but for a factor of up to 1.42."""
    patterns = _bits(shape, np.uint16, random)
    patterns &= np.uint16(_SIGN_MANTISSA_AND_TWO_EXPONENT_BITS)
    exponent = _BF16_EXPONENT_BIAS + round(log2(deviation / _MATRIX_DEVIATION))
    patterns += np.uint16(exponent << 7)
    return patterns


def _bits(shape: tuple[int, ...], dtype: type, random: np.random.Generator) -> NDArray[Any]:
    """Random bits as an array of unsigned integers."""
    count = prod(shape)
    words = random.integers(
        0, 2**64 - 1, ceil(count * np.dtype(dtype).itemsize / 8), np.uint64, endpoint=True
    )
    return words.view(dtype)[:count].reshape(shape)
