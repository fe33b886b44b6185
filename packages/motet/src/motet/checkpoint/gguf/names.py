"""Which tensors a gpt-oss model consists of in GGUF, by all the names they go by.

llama.cpp and Ollama's converter keep gate and up apart; Ollama's first one kept them interleaved
and query, key and value fused, as OpenAI's files do. A tensor's name here is the Hugging Face one
where there is one; the two halves of `gate_up_proj` are `gate_proj` and `up_proj`.
"""

from collections.abc import Container, Iterator
from dataclasses import dataclass

from motet.checkpoint.config import ModelConfig
from motet.checkpoint.layout import tensor_specs
from motet.checkpoint.mxfp4 import BLOCK_BYTES

# llama.cpp's name first.
_OUTER = {
    "model.embed_tokens.weight": ("token_embd.weight",),
    "model.norm.weight": ("output_norm.weight",),
    "lm_head.weight": ("output.weight",),
}
_INNER = {
    "input_layernorm": ("attn_norm",),
    "self_attn.q_proj": ("attn_q",),
    "self_attn.k_proj": ("attn_k",),
    "self_attn.v_proj": ("attn_v",),
    "self_attn.o_proj": ("attn_output", "attn_out"),
    "post_attention_layernorm": ("post_attention_norm", "ffn_norm"),
    "mlp.router": ("ffn_gate_inp",),
    "mlp.experts.gate_proj": ("ffn_gate_exps",),
    "mlp.experts.up_proj": ("ffn_up_exps",),
    "mlp.experts.gate_up_proj": ("ffn_gate_up_exps",),
    "mlp.experts.down_proj": ("ffn_down_exps",),
}
_FUSED_ATTENTION = "attn_qkv"
_FUSED_EXPERTS = "ffn_gate_up_exps"


@dataclass(frozen=True)
class Wanted:
    """A tensor of the model, the names it may be stored under, and which rows of it are it."""

    name: str
    shape: tuple[int, ...]
    stored_names: tuple[str, ...]
    stored_shape: tuple[int, ...]
    rows: slice | None = None


def llama_names(config: ModelConfig) -> dict[str, str]:
    """The name that llama.cpp knows each tensor of the model by."""
    return {wanted.name: wanted.stored_names[0] for wanted in wanted_tensors(config, ())}


def wanted_tensors(config: ModelConfig, stored: Container[str]) -> Iterator[Wanted]:
    """Every tensor of the model, in the order of the forward pass.

    Fused or not is decided for each layer by what is stored.
    """
    query, pair = config.query_width, config.key_value_width
    fused_rows = {
        "q_proj": slice(0, query),
        "k_proj": slice(query, query + pair),
        "v_proj": slice(query + pair, query + 2 * pair),
    }
    for name, shape in _tensors(config, stored):
        block, part = _block(name), name.rpartition(".")[0].rpartition(".")[2]
        fused = f"{block}{_FUSED_ATTENTION}."
        if part in fused_rows and f"{fused}weight" in stored:
            kind = name.rpartition(".")[2]
            whole = (query + 2 * pair, *shape[1:])
            yield Wanted(name, shape, (f"{fused}{kind}",), whole, fused_rows[part])
        else:
            yield Wanted(name, shape, _stored_names(name), shape)


def _tensors(config: ModelConfig, stored: Container[str]) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Names and shapes of values: the Hugging Face ones without its blocks and scales."""
    for spec in tensor_specs(config):
        name, shape = spec.name, spec.shape
        if name.endswith("_scales"):
            continue
        if name.endswith("_blocks"):
            name, shape = name.removesuffix("_blocks"), (*shape[:2], shape[2] * 2 * BLOCK_BYTES)
        fused = f"{_block(name)}{_FUSED_EXPERTS}.weight" in stored
        if "gate_up_proj" in name and not fused:
            half = (shape[0], shape[1] // 2, *shape[2:])
            yield name.replace("gate_up_proj", "gate_proj"), half
            yield name.replace("gate_up_proj", "up_proj"), half
        else:
            yield name, shape


def _block(name: str) -> str:
    return f"blk.{name.split('.')[2]}." if name.startswith("model.layers.") else ""


def _stored_names(name: str) -> tuple[str, ...]:
    if name in _OUTER:
        return _OUTER[name]
    block, part = _block(name), name.split(".", 3)[3]
    if part == "self_attn.sinks":
        return f"{block}attn_sinks.weight", f"{block}attn_sinks"
    if part in _INNER:
        return tuple(f"{block}{inner}.weight" for inner in _INNER[part])
    if part.endswith("_bias"):
        return tuple(f"{block}{inner}.bias" for inner in _INNER[part.removesuffix("_bias")])
    part, _, kind = part.rpartition(".")
    return tuple(f"{block}{inner}.{kind}" for inner in _INNER[part])
