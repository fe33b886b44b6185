"""A model's config out of GGUF metadata, and the other way.

The keys begin with the architecture: `gpt-oss` in llama.cpp's files, `gptoss` in Ollama's. What the
format has no key for is fixed: layers alternate, the clamp of the activation is 7. Files store
floats in 32 bits; they are read as the shortest decimal number that rounds to the same, 1e-5 and
not 9.99999974e-6, so that a config survives the way there and back.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from motet.checkpoint.config import FULL, SLIDING, ModelConfig, alternating_layers
from motet.checkpoint.errors import CheckpointError
from motet.checkpoint.keys import Keys, shown

ARCHITECTURE = "gpt-oss"

_ARCHITECTURES = (ARCHITECTURE, "gptoss")  # the second is Ollama's

TOKENS = "tokenizer.ggml.tokens"

_SWIGLU_LIMIT = 7.0
_BETA_FAST, _BETA_SLOW = 32.0, 1.0  # llama.cpp's defaults, which it does not write
_LONGEST_LIST = 1_001  # one more than there may be layers


def config_from_metadata(metadata: Mapping[str, Any], embedding_rows: int) -> ModelConfig:
    """The config of a file. `embedding_rows`: the vocabulary's size where no key says it.

    Raises CheckpointError naming the key.
    """
    architecture = metadata.get("general.architecture")
    if not isinstance(architecture, str) or architecture not in _ARCHITECTURES:
        raise CheckpointError(
            f"general.architecture is {shown(architecture)}, it has to be {ARCHITECTURE}:"
            " Motet runs gpt-oss models only"
        )
    prefix = f"{architecture}."
    values = {
        key.removeprefix(prefix): _plain(value)
        for key, value in metadata.items()
        if key.startswith(prefix)
    }
    if isinstance(tokens := metadata.get(TOKENS), list):
        values[f"(number of {TOKENS})"] = len(tokens)
    keys = Keys(values, prefix)
    keys.expect("rope.scaling.type", "yarn", default="yarn")
    for name in ("attn_factor", "yarn_attn_factor", "yarn_ext_factor"):
        keys.expect(f"rope.scaling.{name}", 1.0, default=1.0)
    layers = keys.integer("block_count")
    return ModelConfig(
        layers=layers,
        hidden_size=keys.integer("embedding_length"),
        intermediate_size=keys.integer("expert_feed_forward_length", "feed_forward_length"),
        experts=keys.integer("expert_count"),
        experts_per_token=keys.integer("expert_used_count"),
        attention_heads=keys.integer("attention.head_count"),
        key_value_heads=keys.integer("attention.head_count_kv"),
        head_dim=keys.integer("attention.key_length", "attention.value_length"),
        vocabulary_size=keys.integer("vocab_size", f"(number of {TOKENS})", default=embedding_rows),
        sliding_window=keys.integer("attention.sliding_window"),
        layer_types=_layer_types(keys, layers),
        rope_theta=keys.number("rope.freq_base"),
        rope_scaling_factor=keys.number("rope.scaling.factor"),
        rope_beta_slow=keys.number("rope.scaling.yarn_beta_slow", default=_BETA_SLOW),
        rope_beta_fast=keys.number("rope.scaling.yarn_beta_fast", default=_BETA_FAST),
        initial_context_length=keys.integer("rope.scaling.original_context_length"),
        context_length=keys.integer("context_length"),
        swiglu_limit=_SWIGLU_LIMIT,
        rms_norm_eps=keys.number("attention.layer_norm_rms_epsilon"),
    )


def metadata_from_config(config: ModelConfig) -> dict[str, Any]:
    """The keys llama.cpp reads. Raises CheckpointError for a model that GGUF cannot describe."""
    if config.layer_types != alternating_layers(config.layers):
        raise CheckpointError("GGUF describes only models whose even layers alone slide")
    if config.swiglu_limit != _SWIGLU_LIMIT:
        raise CheckpointError(
            f"GGUF describes only a swiglu_limit of {_SWIGLU_LIMIT}, not {config.swiglu_limit}"
        )
    values = {
        "block_count": config.layers,
        "context_length": config.context_length,
        "embedding_length": config.hidden_size,
        "feed_forward_length": config.intermediate_size,
        "expert_feed_forward_length": config.intermediate_size,
        "expert_count": config.experts,
        "expert_used_count": config.experts_per_token,
        "attention.head_count": config.attention_heads,
        "attention.head_count_kv": config.key_value_heads,
        "attention.key_length": config.head_dim,
        "attention.value_length": config.head_dim,
        "attention.sliding_window": config.sliding_window,
        "attention.layer_norm_rms_epsilon": float(config.rms_norm_eps),
        "rope.freq_base": float(config.rope_theta),
        "rope.scaling.type": "yarn",
        "rope.scaling.factor": float(config.rope_scaling_factor),
        "rope.scaling.original_context_length": config.initial_context_length,
        "rope.scaling.yarn_beta_fast": float(config.rope_beta_fast),
        "rope.scaling.yarn_beta_slow": float(config.rope_beta_slow),
        "vocab_size": config.vocabulary_size,
    }
    return {f"{ARCHITECTURE}.{key}": value for key, value in values.items()}


def _layer_types(keys: Keys, layers: int) -> tuple[str, ...]:
    """Alternating, unless a key says otherwise: a period of 2, or whether each layer slides."""
    name = "attention.sliding_window_pattern"
    pattern = keys.value(name, default=2)
    if isinstance(pattern, list):
        return tuple(SLIDING if slides else FULL for slides in pattern)
    keys.expect(name, 2, default=2)
    return alternating_layers(min(max(layers, 0), _LONGEST_LIST))  # ModelConfig has the last word


def _plain(value: Any) -> Any:
    """A value as JSON would have it, floats as the shortest decimal numbers."""
    if isinstance(value, np.ndarray):
        return value[:_LONGEST_LIST].tolist()
    with np.errstate(over="ignore"):
        return float(str(np.float32(value))) if isinstance(value, float) else value
