"""GGUF files for the tests of this room, written by the gguf library and not by Motet."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import gguf
import numpy as np
from checkpoint_files import small_config

from motet.checkpoint import ModelConfig, from_bf16
from motet.checkpoint.random import random_tensors

Quantisation = gguf.GGMLQuantizationType
Stored = dict[str, tuple[np.ndarray, Quantisation | None]]
"""Arrays by name; of raw bytes with their type, of floats without one."""

CONFIG = small_config()


def write_gguf_file(
    path: Path,
    stored: Stored,
    config: ModelConfig = CONFIG,
    *,
    architecture: str = "gpt-oss",
    adjust: Callable[[gguf.GGUFWriter], Any] = lambda writer: None,
) -> Path:
    """A file with the metadata that llama.cpp's converter writes."""
    writer = gguf.GGUFWriter(path, architecture)
    writer.add_block_count(config.layers)
    writer.add_context_length(config.context_length)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_expert_count(config.experts)
    writer.add_expert_used_count(config.experts_per_token)
    writer.add_head_count(config.attention_heads)
    writer.add_head_count_kv(config.key_value_heads)
    writer.add_key_length(config.head_dim)
    writer.add_value_length(config.head_dim)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_sliding_window(config.sliding_window)
    writer.add_rope_freq_base(config.rope_theta)
    writer.add_rope_scaling_factor(config.rope_scaling_factor)
    writer.add_rope_scaling_orig_ctx_len(config.initial_context_length)
    adjust(writer)
    for name, (array, kind) in stored.items():
        writer.add_tensor(name, array, raw_dtype=kind)
    finish(writer)
    return path


def finish(writer: gguf.GGUFWriter) -> None:
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def huggingface_arrays(config: ModelConfig = CONFIG) -> dict[str, np.ndarray]:
    return {tensor.name: tensor.data for tensor in random_tensors(config, seed=1)}


def mxfp4(blocks: np.ndarray, scales: np.ndarray) -> tuple[np.ndarray, Quantisation]:
    """Blocks of OpenAI's as ggml's, nibble by nibble: the definition, spelled out."""
    nibbles = np.stack([blocks & 15, blocks >> 4], axis=-1).reshape(*scales.shape, 32)
    halves = nibbles[..., :16] | nibbles[..., 16:] << 4
    data = np.concatenate([scales[..., np.newaxis], halves], axis=-1)
    return data.reshape(*scales.shape[:-1], -1), Quantisation.MXFP4


def bf16(patterns: np.ndarray) -> tuple[np.ndarray, Quantisation]:
    return patterns.view(np.uint8), Quantisation.BF16


def q8_0(patterns: np.ndarray) -> tuple[np.ndarray, Quantisation]:
    return gguf.quants.quantize(from_bf16(patterns), Quantisation.Q8_0), Quantisation.Q8_0


def llama_tensors(
    arrays: dict[str, np.ndarray], layers: int = CONFIG.layers, dense: Callable[..., Any] = q8_0
) -> Stored:
    """The tensors of a model as llama.cpp's converter names and splits them."""

    def wide(name: str) -> tuple[np.ndarray, None]:
        return from_bf16(arrays[name]), None

    stored: Stored = {
        "token_embd.weight": dense(arrays["model.embed_tokens.weight"]),
        "output_norm.weight": wide("model.norm.weight"),
        "output.weight": dense(arrays["lm_head.weight"]),
    }
    for layer in range(layers):
        theirs, ours = f"blk.{layer}", f"model.layers.{layer}"
        stored |= {
            f"{theirs}.attn_norm.weight": wide(f"{ours}.input_layernorm.weight"),
            f"{theirs}.attn_sinks.weight": wide(f"{ours}.self_attn.sinks"),
            f"{theirs}.post_attention_norm.weight": wide(f"{ours}.post_attention_layernorm.weight"),
            f"{theirs}.ffn_gate_inp.weight": wide(f"{ours}.mlp.router.weight"),
            f"{theirs}.ffn_gate_inp.bias": wide(f"{ours}.mlp.router.bias"),
        }
        for part, their_part in (("q", "q"), ("k", "k"), ("v", "v"), ("o", "output")):
            name = f"{ours}.self_attn.{part}_proj"
            stored[f"{theirs}.attn_{their_part}.weight"] = dense(arrays[f"{name}.weight"])
            stored[f"{theirs}.attn_{their_part}.bias"] = wide(f"{name}.bias")
        experts = f"{ours}.mlp.experts"
        for half, first in (("gate", 0), ("up", 1)):
            stored[f"{theirs}.ffn_{half}_exps.weight"] = mxfp4(
                arrays[f"{experts}.gate_up_proj_blocks"][:, first::2],
                arrays[f"{experts}.gate_up_proj_scales"][:, first::2],
            )
            bias = from_bf16(arrays[f"{experts}.gate_up_proj_bias"][:, first::2])
            stored[f"{theirs}.ffn_{half}_exps.bias"] = bias, None
        stored[f"{theirs}.ffn_down_exps.weight"] = mxfp4(
            arrays[f"{experts}.down_proj_blocks"], arrays[f"{experts}.down_proj_scales"]
        )
        stored[f"{theirs}.ffn_down_exps.bias"] = wide(f"{experts}.down_proj_bias")
    return stored


def renamed(stored: Stored, names: Iterable[tuple[str, str]]) -> Stored:
    """The same tensors with parts of their names replaced."""
    result = {}
    for name, tensor in stored.items():
        for old, new in names:
            name = name.replace(old, new)
        result[name] = tensor
    return result
