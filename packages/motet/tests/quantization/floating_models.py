"""Small models in floats, as trainers save them, and in the other layouts."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from motet.checkpoint import (
    Checkpoint,
    ModelConfig,
    Tensor,
    dequantize_checkpoint,
    from_bf16,
    open_checkpoint,
    open_floating,
    to_bf16,
    write_checkpoint,
)
from motet.checkpoint.config import alternating_layers
from motet.checkpoint.layout import tensor_sources, tensor_specs
from motet.checkpoint.random import random_tensors
from motet.harmony import o200k_harmony
from motet.quantization import StoredWeights

VOCABULARY = o200k_harmony().first(300)


def small_config(layers: int = 3) -> ModelConfig:
    return ModelConfig(
        layers=layers,
        hidden_size=64,
        intermediate_size=64,
        experts=4,
        experts_per_token=2,
        attention_heads=4,
        key_value_heads=2,
        head_dim=16,
        vocabulary_size=VOCABULARY.size,
        sliding_window=16,
        layer_types=alternating_layers(layers),
        rope_theta=10_000.0,
        rope_scaling_factor=4.0,
        rope_beta_slow=1.0,
        rope_beta_fast=32.0,
        initial_context_length=64,
        context_length=256,
        swiglu_limit=7.0,
        rms_norm_eps=1e-5,
    )


def floating_model(folder: Path, layers: int = 3, seed: int = 0) -> Path:
    """A model in bfloat16 whose weights are on no grid, and with columns of uneven sizes."""
    config = small_config(layers)
    random = np.random.default_rng(seed)
    columns = np.exp(random.standard_normal(config.hidden_size))
    tensors = []
    for spec in tensor_specs(config, "BF16"):
        values = random.standard_normal(spec.shape) * 64**-0.5
        if spec.name.endswith("gate_up_proj"):
            values *= columns[:, np.newaxis]
        elif spec.name.endswith("o_proj.weight"):
            values *= np.tile(columns[: config.head_dim], config.attention_heads)
        elif spec.name.endswith("norm.weight"):
            values = np.exp(values)
        tensors.append(Tensor(spec.name, "BF16", spec.shape, to_bf16(values)))
    write_checkpoint(folder, config, tensors, VOCABULARY, expert_dtype="BF16")
    return folder


def released_model(folder: Path) -> Path:
    """A model with MXFP4 experts whose blocks all use their scale's largest values."""
    config = small_config()
    tensors = []
    for tensor in random_tensors(config, seed=3):
        data = tensor.data.copy()
        if tensor.name.endswith("_blocks"):
            data[..., 5] |= 0x06
        tensors.append(replace(tensor, data=data))
    write_checkpoint(folder, config, tensors, VOCABULARY)
    return folder


def as_float32(source: Path, folder: Path, dtype: str) -> Path:
    """The same model with every tensor as F32 or F16."""
    kind = {"F32": np.float32, "F16": np.float16}[dtype]
    tensors = {
        name: (dtype, from_bf16(tensor.data).astype(kind))
        for name, tensor in open_floating(source).tensors.items()
    }
    return _written(folder, tensors, source)


def as_original(source: Path, folder: Path) -> Path:
    """The same model under OpenAI's names, where an expert's matrix is [outputs, inputs]."""
    opened = open_floating(source)
    config = opened.config
    stored: dict[str, tuple[str, NDArray]] = {}
    for place in tensor_sources(config, "original", "BF16"):
        data = opened.tensors[place.target.name].data
        if place.transposed:
            data = np.ascontiguousarray(data.swapaxes(1, 2))
        name = place.stored.name
        if name in stored:
            data = np.concatenate([stored[name][1], data])
        stored[name] = ("BF16", data)
    _written(folder, stored, source)
    values = {
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
    (folder / "config.json").write_text(json.dumps(values))
    return folder


def _written(folder: Path, tensors: dict[str, tuple[str, NDArray]], source: Path) -> Path:
    folder.mkdir()
    header, position = {}, 0
    for name, (dtype, data) in tensors.items():
        end = position + data.nbytes
        header[name] = {"dtype": dtype, "shape": list(data.shape), "data_offsets": [position, end]}
        position = end
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    body = b"".join(data.tobytes() for _, data in tensors.values())
    (folder / "model.safetensors").write_bytes(len(text).to_bytes(8, "little") + text + body)
    for name in ("config.json", "motet_vocabulary.json"):
        (folder / name).write_bytes((source / name).read_bytes())
    return folder


def files_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def texts(count: int = 4, length: int = 40, seed: int = 5) -> list[NDArray[np.int32]]:
    random = np.random.default_rng(seed)
    return [random.integers(0, VOCABULARY.size, length).astype(np.int32) for _ in range(count)]


def widened(checkpoint: Checkpoint, folder: Path) -> Path:
    dequantize_checkpoint(checkpoint, folder)
    return folder


def weights_of(path: Path, *, floating: bool = False) -> StoredWeights:
    return StoredWeights(open_floating(path) if floating else open_checkpoint(path))
