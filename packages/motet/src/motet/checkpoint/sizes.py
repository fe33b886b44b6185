"""What a model of a given config counts and weighs: arithmetic on its tensors, no file needed."""

from math import prod

from motet.checkpoint.config import FULL, ModelConfig
from motet.checkpoint.layout import tensor_specs
from motet.checkpoint.mxfp4 import BLOCK, BLOCK_BYTES
from motet.checkpoint.tensors import TensorSpec

_CACHE_BYTES = 2  # of one bfloat16, in which the fast mode keeps keys and values


def tensor_bytes(config: ModelConfig) -> int:
    """Bytes of all tensors on disk, and mapped into memory."""
    return sum(spec.nbytes for spec in tensor_specs(config))


def parameters(config: ModelConfig) -> int:
    """How many numbers the model has been taught; a block's scale is not counted as one."""
    return sum(_parameters(spec) for spec in tensor_specs(config))


def active_parameters(config: ModelConfig) -> int:
    """How many of them take part in computing one token.

    That is all but the experts not chosen and the input embedding, of which one row is looked up.
    """
    return sum(
        _parameters(spec) * config.experts_per_token // config.experts
        if ".experts." in spec.name
        else _parameters(spec)
        for spec in tensor_specs(config)
        if spec.name != "model.embed_tokens.weight"
    )


def cache_bytes(config: ModelConfig, tokens: int) -> int:
    """Bytes of the native engine's key-value cache for a conversation of so many tokens.

    That is in the fast mode; the exact one takes twice as much.

    Layers with a sliding window keep no more than the window. The engine takes memory in blocks of
    64 positions, so that it may hold up to 63 more of each layer.
    """
    full = config.layer_types.count(FULL)
    positions = full * tokens + (config.layers - full) * min(tokens, config.sliding_window)
    return positions * 2 * config.key_value_width * _CACHE_BYTES


def _parameters(spec: TensorSpec) -> int:
    if spec.name.endswith("_scales"):
        return 0
    if spec.name.endswith("_blocks"):
        return prod(spec.shape) // BLOCK_BYTES * BLOCK
    return prod(spec.shape)
