"""Which tensors a gpt-oss model consists of, in each of the two published layouts.

The Hugging Face layout is the house's own: every tensor is known by its name there. The original
layout holds the same bytes under other names with query, key and value rows fused into one matrix;
`ORIGINAL` sources say where in it each Hugging Face tensor lies.

Fine-tuning works on the Hugging Face layout with its experts in bfloat16, each expert matrix one
tensor. It is transposed: rows are inputs there, while MXFP4 has its blocks along the inputs. In
floats under the original names, as OpenAI's code has them in memory, rows are outputs.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, TypeAlias

from motet.checkpoint.config import ModelConfig
from motet.checkpoint.mxfp4 import BLOCK
from motet.checkpoint.tensors import TensorSpec

Layout: TypeAlias = Literal["huggingface", "original", "gguf"]
ExpertDtype: TypeAlias = Literal["MXFP4", "BF16"]


@dataclass(frozen=True)
class Source:
    """Where one tensor's data lie: `rows` of the stored tensor, or all of it.

    `transposed`: the stored one has its last two dimensions the other way round.
    """

    target: TensorSpec
    stored: TensorSpec
    rows: slice | None = None
    transposed: bool = False


def _matrix_with_bias(name: str, rows: int, columns: int) -> Iterator[TensorSpec]:
    yield TensorSpec(f"{name}.weight", "BF16", (rows, columns))
    yield TensorSpec(f"{name}.bias", "BF16", (rows,))


def _expert_matrix(
    name: str, experts: int, rows: int, columns: int, dtype: ExpertDtype
) -> Iterator[TensorSpec]:
    """A matrix of `rows` outputs and `columns` inputs for each expert, and its bias."""
    if dtype == "BF16":
        yield TensorSpec(name, "BF16", (experts, columns, rows))
    else:
        blocks = columns // BLOCK
        yield TensorSpec(f"{name}_blocks", "U8", (experts, rows, blocks, BLOCK // 2))
        yield TensorSpec(f"{name}_scales", "U8", (experts, rows, blocks))
    yield TensorSpec(f"{name}_bias", "BF16", (experts, rows))


def _layer(config: ModelConfig, layer: str, dtype: ExpertDtype) -> Iterator[TensorSpec]:
    hidden, experts = config.hidden_size, config.experts
    yield TensorSpec(f"{layer}.input_layernorm.weight", "BF16", (hidden,))
    yield from _matrix_with_bias(f"{layer}.self_attn.q_proj", config.query_width, hidden)
    yield from _matrix_with_bias(f"{layer}.self_attn.k_proj", config.key_value_width, hidden)
    yield from _matrix_with_bias(f"{layer}.self_attn.v_proj", config.key_value_width, hidden)
    yield from _matrix_with_bias(f"{layer}.self_attn.o_proj", hidden, config.query_width)
    yield TensorSpec(f"{layer}.self_attn.sinks", "BF16", (config.attention_heads,))
    yield TensorSpec(f"{layer}.post_attention_layernorm.weight", "BF16", (hidden,))
    yield from _matrix_with_bias(f"{layer}.mlp.router", experts, hidden)
    inner, prefix = config.intermediate_size, f"{layer}.mlp.experts"
    yield from _expert_matrix(f"{prefix}.gate_up_proj", experts, 2 * inner, hidden, dtype)
    yield from _expert_matrix(f"{prefix}.down_proj", experts, hidden, inner, dtype)


def tensor_specs(config: ModelConfig, expert_dtype: ExpertDtype = "MXFP4") -> Iterator[TensorSpec]:
    """Every tensor of a model in the Hugging Face layout, in the order of the forward pass."""
    table = (config.vocabulary_size, config.hidden_size)
    yield TensorSpec("model.embed_tokens.weight", "BF16", table)
    for index in range(config.layers):
        yield from _layer(config, f"model.layers.{index}", expert_dtype)
    yield TensorSpec("model.norm.weight", "BF16", (config.hidden_size,))
    yield TensorSpec("lm_head.weight", "BF16", table)


_ORIGINAL_NAMES = {
    "model.embed_tokens.weight": "embedding.weight",
    "model.norm.weight": "norm.scale",
    "lm_head.weight": "unembedding.weight",
    "input_layernorm.weight": "attn.norm.scale",
    "self_attn.q_proj": "attn.qkv",
    "self_attn.k_proj": "attn.qkv",
    "self_attn.v_proj": "attn.qkv",
    "self_attn.o_proj": "attn.out",
    "self_attn.sinks": "attn.sinks",
    "post_attention_layernorm.weight": "mlp.norm.scale",
    "mlp.router": "mlp.gate",
    "mlp.experts.gate_up_proj_blocks": "mlp.mlp1_weight.blocks",
    "mlp.experts.gate_up_proj_scales": "mlp.mlp1_weight.scales",
    "mlp.experts.gate_up_proj": "mlp.mlp1_weight",
    "mlp.experts.gate_up_proj_bias": "mlp.mlp1_bias",
    "mlp.experts.down_proj_blocks": "mlp.mlp2_weight.blocks",
    "mlp.experts.down_proj_scales": "mlp.mlp2_weight.scales",
    "mlp.experts.down_proj": "mlp.mlp2_weight",
    "mlp.experts.down_proj_bias": "mlp.mlp2_bias",
}


def _original_name(name: str) -> str:
    if not name.startswith("model.layers."):
        return _ORIGINAL_NAMES[name]
    _, _, index, part = name.split(".", 3)
    if part in _ORIGINAL_NAMES:
        return f"block.{index}.{_ORIGINAL_NAMES[part]}"
    part, _, kind = part.rpartition(".")
    return f"block.{index}.{_ORIGINAL_NAMES[part]}.{kind}"


def _original_source(config: ModelConfig, target: TensorSpec) -> Source:
    query, pair = config.query_width, config.key_value_width
    fused_rows = {
        "q_proj": slice(0, query),
        "k_proj": slice(query, query + pair),
        "v_proj": slice(query + pair, query + 2 * pair),
    }
    rows = next((rows for part, rows in fused_rows.items() if f".{part}." in target.name), None)
    height = target.shape[0] if rows is None else query + 2 * pair
    shape = (height, *target.shape[1:])
    transposed = target.name.endswith("_proj")  # the experts of a model in floats
    if transposed:
        shape = (shape[0], shape[2], shape[1])
    stored = TensorSpec(_original_name(target.name), target.dtype, shape)
    return Source(target, stored, rows, transposed)


def tensor_sources(
    config: ModelConfig, layout: Layout, expert_dtype: ExpertDtype = "MXFP4"
) -> list[Source]:
    """For every tensor of the model, the stored tensor (and its rows) that holds it.

    Of the two layouts in safetensors; `motet.checkpoint.gguf.names` is the same for GGUF.
    """
    targets = tensor_specs(config, expert_dtype)
    if layout == "original":
        return [_original_source(config, target) for target in targets]
    return [Source(target, target) for target in targets]
