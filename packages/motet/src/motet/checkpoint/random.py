"""Random models: every tensor of a config, filled with numbers of a sane size.

For tests and benchmarks. Each tensor depends on the seed and its name alone, so a stream of them
can be taken in any order, and the same tensor comes out in models that differ elsewhere.
"""

from collections.abc import Iterator
from math import log2
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from motet.checkpoint.bf16 import to_bf16
from motet.checkpoint.config import ModelConfig
from motet.checkpoint.layout import tensor_specs
from motet.checkpoint.mxfp4 import BLOCK, SCALE_BIAS
from motet.checkpoint.tensors import Tensor, TensorSpec

_MXFP4_DEVIATION = 2.926  # of a value drawn evenly from the sixteen E2M1 codes


def random_tensors(config: ModelConfig, seed: int) -> Iterator[Tensor]:
    """The tensors of a random model, one at a time, under their Hugging Face names."""
    for spec in tensor_specs(config):
        random = np.random.default_rng([seed, crc32(spec.name.encode())])
        yield Tensor(spec.name, spec.dtype, spec.shape, _data(spec, random))


def _data(spec: TensorSpec, random: np.random.Generator) -> NDArray[np.uint8 | np.uint16]:
    if spec.name.endswith("_blocks"):
        return random.integers(0, 256, spec.shape, dtype=np.uint8)
    if spec.name.endswith("_scales"):
        fan_in = spec.shape[-1] * BLOCK
        exponent = round(-log2(_MXFP4_DEVIATION * fan_in**0.5))
        centre = SCALE_BIAS + exponent
        return random.integers(centre - 1, centre + 2, spec.shape, dtype=np.uint8)
    values = random.standard_normal(spec.shape, dtype=np.float32)
    if spec.name.endswith("norm.weight"):
        values = values / np.float32(10) + np.float32(1)
    elif spec.name.endswith(".weight") and "embed" not in spec.name:
        values /= np.float32(spec.shape[-1] ** 0.5)
    elif spec.name.endswith("bias"):
        values /= 10
    return to_bf16(values)
