"""A fast CPU forward pass over the parameters of transformers' GptOssForCausalLM, for training.

At the nano model's size the reference code spends most of its time outside of matrix products.
Here matrix products run in the faster of bfloat16 and float32 (the parameters stay float32),
attention computes the pairs of tokens that see each other and few others, the experts work on rows
sorted by expert without any scatter, and the last layer's experts see only the rows that are
learned from. A test holds it to the reference within bfloat16 rounding.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

_HAS_BFLOAT16 = torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported()
COMPUTE = torch.bfloat16 if _HAS_BFLOAT16 else torch.float32
"""bfloat16 products are several times faster with AMX or AVX-512's own instructions for them, and
up to 30 times slower without."""

_GROUP = 256 if COMPUTE is torch.bfloat16 else 8
_QUERY_BLOCK = 64


def hidden_states(model: Any, tokens: Tensor, places: Tensor) -> tuple[Tensor, Tensor]:
    """The hidden states [places, hidden] before `lm_head`, and the experts' imbalance.

    tokens [batch, tokens]; places are indices into the flattened tokens. The imbalance is 1 if all
    experts are used equally and grows towards the number of experts.
    """
    body = model.model
    x: Tensor = body.embed_tokens(tokens)
    positions = torch.arange(tokens.shape[1])[None]
    cosine, sine = (part[:, None] for part in body.rotary_emb(x, positions))
    imbalance = torch.zeros(())
    for layer in body.layers:
        x = x + _attention(layer.self_attn, _norm(layer.input_layernorm, x), cosine, sine)
        if layer is body.layers[-1]:
            x = x.flatten(0, 1).index_select(0, places)
        update, uneven = _mixture(layer.mlp, _norm(layer.post_attention_layernorm, x))
        x, imbalance = x + update, imbalance + uneven / len(body.layers)
    return _norm(body.norm, x), imbalance


def linear(module: Any, x: Tensor) -> Tensor:
    """A linear layer computed in `COMPUTE`."""
    bias = None if module.bias is None else module.bias.to(COMPUTE)
    return functional.linear(x.to(COMPUTE), module.weight.to(COMPUTE), bias)


def _norm(module: Any, x: Tensor) -> Tensor:
    return functional.rms_norm(x, x.shape[-1:], module.weight, module.variance_epsilon)


def _attention(module: Any, x: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
    x = x.to(COMPUTE)
    batch, length, _ = x.shape

    def heads(projection: Any) -> Tensor:
        return linear(projection, x).view(batch, length, -1, module.head_dim).transpose(1, 2)

    query = _fused_rotate(heads(module.q_proj), cosine, sine)
    key = _fused_rotate(heads(module.k_proj), cosine, sine)
    output: Tensor = _SinkAttention.apply(  # type: ignore[no-untyped-call]
        query, key, heads(module.v_proj), module.sinks, module.sliding_window, module.scaling
    )
    return linear(module.o_proj, output.transpose(1, 2).reshape(batch, length, -1))


def _rotate(x: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
    first, second = x.float().chunk(2, dim=-1)
    rotated = torch.cat((first * cosine - second * sine, second * cosine + first * sine), dim=-1)
    return rotated.to(COMPUTE)


_fused_rotate = torch.compile(_rotate, dynamic=True)


class _SinkAttention(torch.autograd.Function):
    """Causal attention whose softmax has one extra entry per head, the sink, without a value.

    query [batch, heads, tokens, width], key and value [batch, key heads, tokens, width]. Queries
    go in blocks, each against the keys it may see: half of all pairs, less with a window. The
    query heads of a key head form one matrix.
    """

    @staticmethod
    def forward(
        ctx: Any,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        sinks: Tensor,
        window: int | None,
        scale: float,
    ) -> Tensor:
        output, probabilities, sink_shares = torch.empty_like(query), [], []
        for part in _parts(query.shape[2], window):
            rows = _rows(query, key, part)
            scores = torch.bmm(rows, _keys(key, part).mT)
            shape = (*query.shape[:2], part.queries.stop - part.queries.start, -1)
            chances, sink_share = _fused_softmax(
                scores.view(shape), part.mask, sinks[None, :, None, None], scale
            )
            attended = torch.bmm(chances.view_as(scores), _keys(value, part))
            output[:, :, part.queries] = attended.view(shape)
            probabilities.append(chances)
            sink_shares.append(sink_share)
        ctx.save_for_backward(query, key, value, output, *probabilities, *sink_shares)
        ctx.window, ctx.scale = window, scale
        return output

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        query, key, value, output, *saved = ctx.saved_tensors
        d_output = gradients[0]
        delta = (d_output * output).sum(-1, keepdim=True, dtype=torch.float32)
        d_query, d_sinks = torch.empty_like(query), torch.zeros(query.shape[1])
        d_key, d_value = (torch.zeros(part.shape).flatten(0, 1) for part in (key, value))
        parts = _parts(query.shape[2], ctx.window)
        for place, part in enumerate(parts):
            chances, sink_share = saved[place], saved[place + len(parts)]
            d_rows = _rows(d_output, key, part)
            flat = chances.view(len(d_rows), d_rows.shape[1], -1)
            d_value[:, part.keys] += torch.bmm(flat.mT, d_rows)
            d_chances = torch.bmm(d_rows, _keys(value, part).mT).view_as(chances)
            change = delta[:, :, part.queries]
            d_scores = _fused_softmax_gradient(d_chances, chances, change, ctx.scale).view_as(flat)
            d_query[:, :, part.queries] = torch.bmm(d_scores, _keys(key, part)).view(
                *query.shape[:2], -1, query.shape[3]
            )
            d_key[:, part.keys] += torch.bmm(d_scores.mT, _rows(query, key, part))
            d_sinks -= (sink_share * change).sum((0, 2, 3))
        return (
            d_query,
            d_key.view_as(key).to(COMPUTE),
            d_value.view_as(value).to(COMPUTE),
            d_sinks,
            None,
            None,
        )


@dataclass(frozen=True)
class _Part:
    """A block of queries, the keys they may see, and what of these is hidden (-inf) from each."""

    queries: slice
    keys: slice
    mask: Tensor


@cache
def _parts(length: int, window: int | None) -> tuple[_Part, ...]:
    parts = []
    for start in range(0, length, _QUERY_BLOCK):
        end = min(start + _QUERY_BLOCK, length)
        first = 0 if window is None else max(0, start - window + 1)
        distance = torch.arange(start, end)[:, None] - torch.arange(first, end)[None, :]
        hidden = (distance < 0) | (distance >= (window or length))
        mask = torch.zeros(distance.shape).masked_fill(hidden, float("-inf"))
        parts.append(_Part(slice(start, end), slice(first, end), mask))
    return tuple(parts)


def _rows(queries: Tensor, key: Tensor, part: _Part) -> Tensor:
    """The block's queries, those of all heads of one key head in one matrix."""
    batch, key_heads, _, width = key.shape
    return queries[:, :, part.queries].reshape(batch * key_heads, -1, width)


def _keys(keys: Tensor, part: _Part) -> Tensor:
    return keys.flatten(0, 1)[:, part.keys]


def _softmax(scores: Tensor, mask: Tensor, sinks: Tensor, scale: float) -> tuple[Tensor, Tensor]:
    """Probabilities [batch, heads, queries, keys] and the sink's share of each row."""
    logits = scores.float() * scale + mask
    largest = torch.maximum(logits.amax(-1, keepdim=True), sinks)
    powers, sink_power = torch.exp(logits - largest), torch.exp(sinks - largest)
    total = powers.sum(-1, keepdim=True) + sink_power
    return (powers / total).to(COMPUTE), sink_power / total


def _softmax_gradient(
    gradient: Tensor, probabilities: Tensor, delta: Tensor, scale: float
) -> Tensor:
    return ((gradient.float() - delta) * probabilities.float() * scale).to(COMPUTE)


_fused_softmax = torch.compile(_softmax, dynamic=True)
_fused_softmax_gradient = torch.compile(_softmax_gradient, dynamic=True)


def _mixture(module: Any, x: Tensor) -> tuple[Tensor, Tensor]:
    flat = x.reshape(-1, x.shape[-1])
    router, experts = module.router, module.experts
    logits = functional.linear(flat, router.weight, router.bias)
    values, chosen = torch.topk(logits, router.top_k, dim=-1)
    output: Tensor = _Experts.apply(  # type: ignore[no-untyped-call]
        flat,
        torch.softmax(values, dim=-1),
        chosen,
        experts.gate_up_proj,
        experts.gate_up_proj_bias,
        experts.down_proj,
        experts.down_proj_bias,
        experts.limit,
        experts.alpha,
    )
    share = torch.bincount(chosen.flatten(), minlength=logits.shape[1]) / chosen.numel()
    imbalance = logits.shape[1] * (share * torch.softmax(logits, dim=-1).mean(0)).sum()
    return output.view_as(x), imbalance


def _swiglu(rows: Tensor, limit: float, alpha: float) -> Tensor:
    gate, up = rows.float().chunk(2, dim=-1)
    gate = gate.clamp(max=limit)
    return (gate * torch.sigmoid(alpha * gate) * (up.clamp(-limit, limit) + 1)).to(COMPUTE)


def _swiglu_gradient(rows: Tensor, gradient: Tensor, limit: float, alpha: float) -> Tensor:
    gate, up = rows.float().chunk(2, dim=-1)
    gradient = gradient.float()
    inside_gate, inside_up = gate <= limit, up.abs() <= limit
    gate, up = gate.clamp(max=limit), up.clamp(-limit, limit)
    sigmoid = torch.sigmoid(alpha * gate)
    d_gate = gradient * (up + 1) * sigmoid * (1 + alpha * gate * (1 - sigmoid)) * inside_gate
    d_up = gradient * gate * sigmoid * inside_up
    return torch.cat((d_gate, d_up), dim=-1).to(COMPUTE)


_fused_swiglu = torch.compile(_swiglu, dynamic=True)
_fused_swiglu_gradient = torch.compile(_swiglu_gradient, dynamic=True)


class _Experts(torch.autograd.Function):
    """The weighted sum of the chosen experts; x [n, hidden], weights and chosen [n, k]."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weights: Tensor,
        chosen: Tensor,
        gate_up: Tensor,
        gate_up_bias: Tensor,
        down: Tensor,
        down_bias: Tensor,
        limit: float,
        alpha: float,
    ) -> Tensor:
        k = chosen.shape[1]
        source, place, counts = _grouping(chosen, gate_up.shape[0])
        w1 = torch.cat((gate_up[..., ::2], gate_up[..., 1::2]), -1).to(COMPUTE)
        b1 = torch.cat((gate_up_bias[..., ::2], gate_up_bias[..., 1::2]), -1).to(COMPUTE)
        w2, b2 = down.to(COMPUTE), down_bias.to(COMPUTE)
        rows = _with_zero_row(x.to(COMPUTE)).index_select(0, source)
        inner = torch.cat(
            [torch.addmm(b1[e], part, w1[e]) for e, part in enumerate(torch.split(rows, counts))]
        )
        hidden = _fused_swiglu(inner, limit, alpha)
        outer = torch.cat(
            [torch.addmm(b2[e], part, w2[e]) for e, part in enumerate(torch.split(hidden, counts))]
        )
        per_choice = outer.index_select(0, place).view(-1, k, x.shape[1])
        ctx.save_for_backward(rows, inner, hidden, per_choice, weights, source, place, w1, w2)
        ctx.counts, ctx.limit, ctx.alpha = counts, limit, alpha
        return torch.bmm(weights.to(COMPUTE)[:, None], per_choice)[:, 0]

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        rows, inner, hidden, per_choice, weights, source, place, w1, w2 = ctx.saved_tensors
        gradient, counts = gradients[0].to(COMPUTE), ctx.counts
        k = weights.shape[1]
        d_weights = torch.bmm(per_choice, gradient[..., None])[..., 0].float()
        share = torch.zeros(len(source)).index_copy_(0, place, weights.flatten())[:, None]
        d_outer = _with_zero_row(gradient).index_select(0, source) * share.to(COMPUTE)
        d_hidden = torch.cat([p @ w2[e].T for e, p in enumerate(torch.split(d_outer, counts))])
        d_inner = _fused_swiglu_gradient(inner, d_hidden, ctx.limit, ctx.alpha)
        d_rows = torch.cat([p @ w1[e].T for e, p in enumerate(torch.split(d_inner, counts))])
        d_x = d_rows.index_select(0, place).view(-1, k, d_rows.shape[1]).sum(1, dtype=torch.float32)
        d_w1, d_b1 = _weight_gradients(rows, d_inner, counts)
        d_w2, d_b2 = _weight_gradients(hidden, d_outer, counts)
        return d_x, d_weights, None, _interleave(d_w1), _interleave(d_b1), d_w2, d_b2, None, None


def _grouping(chosen: Tensor, experts: int) -> tuple[Tensor, Tensor, list[int]]:
    """Rows grouped by expert: each row's token, each choice's row, and the rows per expert.

    Groups are padded to a multiple of `_GROUP` with rows of token n (zeros), because the matrix
    library compiles a kernel for every new shape and group sizes change at every step.
    """
    flat = chosen.flatten()
    order = torch.argsort(flat, stable=True)
    sizes = torch.bincount(flat, minlength=experts)
    padded = (sizes + _GROUP - 1) // _GROUP * _GROUP
    shift = (padded.cumsum(0) - padded) - (sizes.cumsum(0) - sizes)
    row = torch.arange(len(flat)) + shift[flat[order]]
    place = torch.empty_like(order).index_copy_(0, order, row)
    source = torch.full((int(padded.sum()),), chosen.shape[0])
    source[row] = order // chosen.shape[1]
    return source, place, padded.tolist()


def _with_zero_row(x: Tensor) -> Tensor:
    return functional.pad(x, (0, 0, 0, 1))


def _weight_gradients(rows: Tensor, gradient: Tensor, counts: list[int]) -> tuple[Tensor, Tensor]:
    pairs = list(zip(torch.split(rows, counts), torch.split(gradient, counts), strict=True))
    ones = torch.ones(1, len(rows), dtype=COMPUTE)
    weight = torch.stack([part.T @ grad for part, grad in pairs]).float()
    bias = torch.cat([ones[:, : len(grad)] @ grad for _, grad in pairs]).float()
    return weight, bias


def _interleave(halves: Tensor) -> Tensor:
    return torch.stack(halves.chunk(2, dim=-1), dim=-1).flatten(-2)
