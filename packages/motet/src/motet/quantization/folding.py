"""Where the factors of dual scaling go in gpt-oss, so that the model stays the same function.

Nothing of this needs room in the file. Exactly:
- the columns of gate_up of all experts and of the router share their factors with the norm before
  them, those of q, k and v with theirs, those of the head with the last norm;
- rows of v and columns of o exchange factors; the query heads of a group share them;
- rows of q and of k exchange phases; the two dimensions that a position turns share them;
- an expert's neurons may stand in any order (rows of gate_up in pairs, columns of down), so they
  are sorted by down's column factors, where that helps: neighbours in a block are then alike.

What is not exact is not done. Rows of gate pass through a sigmoid. Rows of up pass through a clamp:
a factor could go to down's columns with the bias put right (s (up + 1) = (s up + s - 1) + 1), but
only for inputs that the clamp never touches, and nothing bounds them below it. Rows of down and o
end in the residual stream, which all layers share.

Norms are written in bfloat16, so the factors are those that a rounded norm has.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from motet.checkpoint import ModelConfig, from_bf16, to_bf16
from motet.quantization.scaling import (
    chosen_factors,
    chosen_phases,
    column_factors,
    rounding_cost,
    row_costs,
)
from motet.quantization.weights import Floats, Weights

_EXPERT_ROWS = 256  # of each expert, kept to try powers on
_HEAD_STEP = 8  # every eighth row of the head is looked at

Sizes = Mapping[str, Floats]
"""Root mean squares [inputs] of what matrices are given, by the names of `forward.Seen`."""


@dataclass
class FoldedWeights:
    """Weights that compute the same as `inner` in other numbers.

    `replaced`: vectors and matrices by name. `columns`: by what an expert tensor's columns are
    divided. `orders`: in which order the neurons of each expert stand, by the layer's prefix.
    """

    inner: Weights
    replaced: dict[str, Floats] = field(default_factory=dict)
    columns: dict[str, Floats] = field(default_factory=dict)
    orders: dict[str, list[NDArray[np.intp]]] = field(default_factory=dict)

    def whole(self, name: str) -> Floats:
        """A vector, a matrix [outputs, inputs] or the biases of a layer's experts."""
        return self.replaced[name] if name in self.replaced else self.inner.whole(name)

    def rows(self, name: str, rows: slice | NDArray[np.integer[Any]]) -> Floats:
        """Some rows of it."""
        return self.replaced[name][rows] if name in self.replaced else self.inner.rows(name, rows)

    def expert(self, name: str, index: int) -> Floats:
        """The matrix [outputs, inputs] of one expert."""
        values = self.inner.expert(name, index)
        orders = self.orders.get(name.rpartition(".")[0])
        if orders:
            order = orders[index]
            values = values[:, order] if name.endswith("down_proj") else values[_pairs(order)]
        return values / self.columns[name] if name in self.columns else values


def folded_layer(
    config: ModelConfig, weights: Weights, index: int, sizes: Sizes, *, attention: bool
) -> FoldedWeights:
    """A layer made ready for rounding: its experts, and its attention matrices if they are rounded.

    `sizes`: what is known of the inputs; a norm's own scale stands for what is not.
    """
    folded = FoldedWeights(weights)
    prefix = f"model.layers.{index}."
    if attention:
        _fold_attention(config, folded, f"{prefix}self_attn.", sizes)
    _fold_experts(config, folded, prefix, sizes)
    return folded


def folded_head(weights: Weights, sizes: Sizes) -> tuple[Floats, Floats]:
    """The last norm's new scale, and what the head's columns are divided by.

    Both from a sample of the head's rows.
    """
    norm = weights.whole("model.norm.weight")
    sample = weights.rows("lm_head.weight", slice(None, None, _HEAD_STEP))
    return _folded_norm(norm, [sample], sizes.get("lm_head"))


def _fold_experts(config: ModelConfig, folded: FoldedWeights, prefix: str, sizes: Sizes) -> None:
    name, experts = f"{prefix}mlp.experts.gate_up_proj", range(config.experts)
    inner = folded.inner
    step = max(1, 2 * config.intermediate_size // _EXPERT_ROWS)
    samples, logs = [], []
    for expert in experts:
        matrix = inner.expert(name, expert)
        samples.append(matrix[::step].copy())
        logs.append(np.log(column_factors([matrix])))
    shared = np.exp(np.mean(logs, axis=0), dtype=np.float32)
    norm_name = f"{prefix}post_attention_layernorm.weight"
    norm, factors = _folded_norm(inner.whole(norm_name), samples, sizes.get(name), shared)
    folded.replaced[norm_name] = norm
    folded.columns[name] = factors
    folded.replaced[f"{prefix}mlp.router.weight"] = (
        inner.whole(f"{prefix}mlp.router.weight") / factors
    )
    down = f"{prefix}mlp.experts.down_proj"
    orders = [_order(inner.expert(down, expert)) for expert in experts]
    folded.orders[f"{prefix}mlp.experts"] = orders
    bias = inner.whole(f"{name}_bias")
    folded.replaced[f"{name}_bias"] = np.stack(
        [row[_pairs(order)] for row, order in zip(bias, orders, strict=True)]
    )


def _order(down: Floats) -> NDArray[np.intp]:
    """The neurons by the sizes of down's columns, or as they are where that costs less."""
    order = np.argsort(column_factors([down]), kind="stable")
    sample = down[:: max(1, len(down) // _EXPERT_ROWS)]
    even = np.ones(down.shape[1], dtype=np.float32)
    if rounding_cost(sample[:, order], even, even) < rounding_cost(sample, even, even):
        return order
    return np.arange(down.shape[1])


def _fold_attention(config: ModelConfig, folded: FoldedWeights, prefix: str, sizes: Sizes) -> None:
    inner, replaced = folded.inner, folded.replaced
    weights = {part: inner.whole(f"{prefix}{part}_proj.weight") for part in "qkvo"}
    biases = {part: inner.whole(f"{prefix}{part}_proj.bias") for part in "qkv"}
    norm_name = f"{prefix.removesuffix('self_attn.')}input_layernorm.weight"
    before = [weights[part] for part in "qkv"]
    norm, factors = _folded_norm(inner.whole(norm_name), before, sizes.get(f"{prefix}qkv"))
    replaced[norm_name] = norm
    for part in "qkv":
        weights[part] = weights[part] / factors

    rows, columns = _value_factors(config, weights["o"], sizes.get(f"{prefix}o_proj"))
    weights["v"], biases["v"] = weights["v"] * rows[:, np.newaxis], biases["v"] * rows
    weights["o"] = weights["o"] / columns

    query, key = _phases(config, weights["q"], weights["k"])
    weights["q"], biases["q"] = weights["q"] * query[:, np.newaxis], biases["q"] * query
    weights["k"], biases["k"] = weights["k"] * key[:, np.newaxis], biases["k"] * key
    replaced |= {f"{prefix}{part}_proj.weight": each for part, each in weights.items()}
    replaced |= {f"{prefix}{part}_proj.bias": each for part, each in biases.items()}


def _folded_norm(
    norm: Floats, matrices: list[Floats], inputs: Floats | None, sizes: Floats | None = None
) -> tuple[Floats, Floats]:
    """A norm's new scale, and what the columns of the matrices behind it are divided by."""
    seen = np.abs(norm) if inputs is None else inputs
    sizes = column_factors(matrices) if sizes is None else sizes
    wanted = norm * chosen_factors(matrices, sizes, seen)
    new = from_bf16(to_bf16(wanted))
    usable = (norm != 0) & (new != 0) & np.isfinite(new)
    factors = np.divide(new, norm, out=np.ones_like(norm), where=usable)
    return np.where(usable, new, norm), factors


def _value_factors(
    config: ModelConfig, output: Floats, inputs: Floats | None
) -> tuple[Floats, Floats]:
    """Factors of v's rows, and of o's columns, which are the same for a group's heads."""
    groups = (config.key_value_heads, -1, config.head_dim)

    def shared(values: Floats) -> Floats:
        logs = np.log(values).reshape(groups)
        means = np.broadcast_to(logs.mean(axis=1, keepdims=True), logs.shape)
        result: Floats = np.exp(means).reshape(-1)
        return result

    sizes = shared(column_factors([output]))
    seen = np.ones_like(sizes) if inputs is None else inputs
    seen = shared(np.maximum(seen, max(float(seen.max()), 1e-30) / 64))
    columns = chosen_factors([output], sizes, seen)
    return columns.reshape(groups)[:, 0].reshape(-1), columns


def _phases(config: ModelConfig, query: Floats, key: Floats) -> tuple[Floats, Floats]:
    """Factors of the rows of q and k that cancel out in every score."""
    heads, width = config.key_value_heads, config.head_dim

    def by_pair(costs: Floats) -> Floats:
        """Mean costs of the rows that share a phase: [heads, pairs]."""
        means: Floats = costs.reshape(heads, -1, 2, width // 2).mean(axis=(1, 2))
        return means

    phases = chosen_phases(
        lambda phase: by_pair(row_costs(query * phase)) + by_pair(row_costs(key / phase))
    )

    def by_row(factors: Floats, count: int) -> Floats:
        shape = (heads, count // width // heads, 2, width // 2)
        return np.broadcast_to(factors[:, np.newaxis, np.newaxis], shape).reshape(-1)

    return by_row(phases, len(query)), by_row(np.float32(1) / phases, len(key))


def _pairs(order: NDArray[np.intp]) -> NDArray[np.intp]:
    """Rows of gate_up for neurons: gate and up lie side by side."""
    return np.stack([2 * order, 2 * order + 1], axis=1).reshape(-1)
