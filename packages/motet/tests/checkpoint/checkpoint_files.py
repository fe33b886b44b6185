"""Small models and hand-made files for the tests of this room."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from motet.checkpoint import ModelConfig, Tensor
from motet.checkpoint.config import alternating_layers
from motet.checkpoint.layout import tensor_sources

PUBLISHED_20B: dict[str, Any] = {
    "num_hidden_layers": 24,
    "num_experts": 32,
    "experts_per_token": 4,
    "vocab_size": 201088,
    "hidden_size": 2880,
    "intermediate_size": 2880,
    "swiglu_limit": 7.0,
    "head_dim": 64,
    "num_attention_heads": 64,
    "num_key_value_heads": 8,
    "sliding_window": 128,
    "initial_context_length": 4096,
    "rope_theta": 150000,
    "rope_scaling_factor": 32.0,
    "rope_ntk_alpha": 1.0,
    "rope_ntk_beta": 32.0,
}
PUBLISHED_120B = PUBLISHED_20B | {"num_hidden_layers": 36, "num_experts": 128}


def small_config(**changes: Any) -> ModelConfig:
    values: dict[str, Any] = {
        "layers": 2,
        "hidden_size": 64,
        "intermediate_size": 32,
        "experts": 3,
        "experts_per_token": 2,
        "attention_heads": 4,
        "key_value_heads": 2,
        "head_dim": 16,
        "vocabulary_size": 300,
        "sliding_window": 5,
        "rope_theta": 10_000.0,
        "rope_scaling_factor": 4.0,
        "rope_beta_slow": 1.0,
        "rope_beta_fast": 32.0,
        "initial_context_length": 64,
        "context_length": 256,
        "swiglu_limit": 7.0,
        "rms_norm_eps": 1e-5,
    } | changes
    values.setdefault("layer_types", alternating_layers(values["layers"]))
    return ModelConfig(**values)


def original_values(config: ModelConfig) -> dict[str, Any]:
    """What original/config.json says about a model."""
    return {
        "num_hidden_layers": config.layers,
        "num_experts": config.experts,
        "experts_per_token": config.experts_per_token,
        "vocab_size": config.vocabulary_size,
        "hidden_size": config.hidden_size,
        "intermediate_size": config.intermediate_size,
        "swiglu_limit": config.swiglu_limit,
        "head_dim": config.head_dim,
        "num_attention_heads": config.attention_heads,
        "num_key_value_heads": config.key_value_heads,
        "sliding_window": config.sliding_window,
        "initial_context_length": config.initial_context_length,
        "rope_theta": config.rope_theta,
        "rope_scaling_factor": config.rope_scaling_factor,
        "rope_ntk_alpha": config.rope_beta_slow,
        "rope_ntk_beta": config.rope_beta_fast,
    }


def write_safetensors(path: Path, tensors: Mapping[str, tuple[str, np.ndarray]]) -> None:
    """Tensors by name, each with its dtype as the format spells it."""
    header, position = {}, 0
    for name, (dtype, data) in tensors.items():
        offsets = [position, position + data.nbytes]
        header[name] = {"dtype": dtype, "shape": list(data.shape), "data_offsets": offsets}
        position += data.nbytes
    write_raw(path, header, b"".join(data.tobytes() for _, data in tensors.values()))


def write_raw(path: Path, header: Any, data: bytes) -> None:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(len(text).to_bytes(8, "little") + text + data)


def read_raw(path: Path) -> tuple[dict[str, Any], bytes]:
    content = path.read_bytes()
    end = 8 + int.from_bytes(content[:8], "little")
    return json.loads(content[8:end]), content[end:]


def stored_tensors(tensors: Iterable[Tensor]) -> dict[str, tuple[str, np.ndarray]]:
    return {tensor.name: (tensor.dtype, tensor.data) for tensor in tensors}


def write_original(folder: Path, config: ModelConfig, tensors: Iterable[Tensor]) -> None:
    """The same model as OpenAI published it: one file, query, key and value fused."""
    by_name = {tensor.name: tensor.data for tensor in tensors}
    stored: dict[str, tuple[str, np.ndarray]] = {}
    for source in tensor_sources(config, "original"):
        name, part = source.stored.name, by_name[source.target.name]
        if name in stored:
            part = np.concatenate([stored[name][1], part])
        stored[name] = (source.stored.dtype, part)
    folder.mkdir(parents=True)
    write_safetensors(folder / "model.safetensors", stored)
    (folder / "config.json").write_text(json.dumps(original_values(config)))
