"""A fast CPU forward pass over the parameters of transformers' GptOssForCausalLM, for training.

At the nano model's size the reference code spends most of its time outside of matrix products.
Here matrix products run in bfloat16 (the parameters stay float32), attention is torch's fused CPU
kernel with the sink entering through the log-sum-exp, and the experts work on rows sorted by expert
without any scatter. A test holds it to the reference within bfloat16 rounding.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

_GROUP = 256
_flash_forward = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu


def hidden_states(model: Any, tokens: Tensor) -> tuple[Tensor, Tensor]:
    """The hidden states [batch, tokens, hidden] before `lm_head`, and the experts' imbalance.

    tokens [batch, tokens]. The imbalance is 1 if all experts are used equally and grows towards
    the number of experts.
    """
    body = model.model
    x: Tensor = body.embed_tokens(tokens)
    positions = torch.arange(tokens.shape[1])[None]
    cosine, sine = (part[:, None] for part in body.rotary_emb(x, positions))
    imbalance = torch.zeros(())
    for layer in body.layers:
        x = x + _attention(layer.self_attn, _norm(layer.input_layernorm, x), cosine, sine)
        update, uneven = _mixture(layer.mlp, _norm(layer.post_attention_layernorm, x))
        x, imbalance = x + update, imbalance + uneven / len(body.layers)
    return _norm(body.norm, x), imbalance


def linear(module: Any, x: Tensor) -> Tensor:
    """A linear layer computed in bfloat16."""
    bias = None if module.bias is None else module.bias.bfloat16()
    return functional.linear(x.bfloat16(), module.weight.bfloat16(), bias)


def _norm(module: Any, x: Tensor) -> Tensor:
    return functional.rms_norm(x, x.shape[-1:], module.weight, module.variance_epsilon)


def _attention(module: Any, x: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
    x = x.bfloat16()
    batch, length, _ = x.shape

    def heads(projection: Any) -> Tensor:
        return linear(projection, x).view(batch, length, -1, module.head_dim).transpose(1, 2)

    query = _fused_rotate(heads(module.q_proj), cosine, sine)
    key = _fused_rotate(heads(module.k_proj), cosine, sine)
    groups = module.num_key_value_groups
    mask = _mask(length, module.sliding_window)
    output: Tensor = _SinkAttention.apply(  # type: ignore[no-untyped-call]
        query,
        _repeat_heads(key, groups),
        _repeat_heads(heads(module.v_proj), groups),
        module.sinks,
        mask,
        module.scaling,
    )
    return linear(module.o_proj, output.transpose(1, 2).reshape(batch, length, -1))


def _rotate(x: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
    first, second = x.float().chunk(2, dim=-1)
    rotated = torch.cat((first * cosine - second * sine, second * cosine + first * sine), dim=-1)
    return rotated.bfloat16()


_fused_rotate = torch.compile(_rotate, dynamic=True)


def _repeat_heads(part: Tensor, groups: int) -> Tensor:
    batch, heads, tokens, width = part.shape
    wide = part[:, :, None].expand(batch, heads, groups, tokens, width)
    return wide.reshape(batch, heads * groups, tokens, width)


def _mask(length: int, window: int | None) -> Tensor:
    distance = torch.arange(length)[:, None] - torch.arange(length)[None, :]
    hidden = (distance < 0) if window is None else (distance < 0) | (distance >= window)
    return torch.zeros(length, length, dtype=torch.bfloat16).masked_fill(hidden, float("-inf"))


class _SinkAttention(torch.autograd.Function):
    """Causal attention whose softmax has one extra entry per head, the sink, without a value.

    With L the log-sum-exp of the scores, the sink scales the output by sigmoid(L - sink); the
    backward pass recomputes the probabilities from the log-sum-exp that includes it.
    """

    @staticmethod
    def forward(
        ctx: Any,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        sinks: Tensor,
        mask: Tensor,
        scale: float,
    ) -> Tensor:
        unsunk, lse = _flash_forward(
            query, key, value, 0.0, False, attn_mask=mask[None, None], scale=scale
        )
        with_sink = torch.logaddexp(lse, sinks[:, None])
        output: Tensor = unsunk * torch.exp(lse - with_sink)[..., None].bfloat16()
        ctx.save_for_backward(query, key, value, sinks, output, with_sink, mask)
        ctx.scale = scale
        return output

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        query, key, value, sinks, output, lse, mask = ctx.saved_tensors
        shape, length = query.shape, query.shape[-2]
        q, k, v, d_output = (
            part.reshape(-1, length, shape[-1]) for part in (query, key, value, gradients[0])
        )
        delta = (gradients[0] * output).sum(-1, dtype=torch.float32)
        d_sinks = -(torch.exp(sinks[:, None] - lse) * delta).sum((0, 2))
        offset = lse.reshape(-1, length, 1)
        scores = torch.baddbmm(
            mask.expand(q.shape[0], length, length), q, k.transpose(1, 2), alpha=ctx.scale
        )
        probabilities = _fused_exp(scores, offset)
        d_value = torch.bmm(probabilities.transpose(1, 2), d_output)
        d_scores = torch.bmm(d_output, v.transpose(1, 2))
        d_scores = _fused_softmax_gradient(
            d_scores, probabilities, delta.reshape(-1, length, 1), ctx.scale
        )
        d_query = torch.bmm(d_scores, k)
        d_key = torch.bmm(d_scores.transpose(1, 2), q)
        return d_query.view(shape), d_key.view(shape), d_value.view(shape), d_sinks, None, None


def _exp(scores: Tensor, offset: Tensor) -> Tensor:
    return torch.exp(scores.float() - offset).bfloat16()


def _softmax_gradient(
    gradient: Tensor, probabilities: Tensor, delta: Tensor, scale: float
) -> Tensor:
    return ((gradient.float() - delta) * probabilities.float() * scale).bfloat16()


_fused_exp = torch.compile(_exp, dynamic=True)
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
    return (gate * torch.sigmoid(alpha * gate) * (up.clamp(-limit, limit) + 1)).bfloat16()


def _swiglu_gradient(rows: Tensor, gradient: Tensor, limit: float, alpha: float) -> Tensor:
    gate, up = rows.float().chunk(2, dim=-1)
    gradient = gradient.float()
    inside_gate, inside_up = gate <= limit, up.abs() <= limit
    gate, up = gate.clamp(max=limit), up.clamp(-limit, limit)
    sigmoid = torch.sigmoid(alpha * gate)
    d_gate = gradient * (up + 1) * sigmoid * (1 + alpha * gate * (1 - sigmoid)) * inside_gate
    d_up = gradient * gate * sigmoid * inside_up
    return torch.cat((d_gate, d_up), dim=-1).bfloat16()


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
        w1 = torch.cat((gate_up[..., ::2], gate_up[..., 1::2]), -1).bfloat16()
        b1 = torch.cat((gate_up_bias[..., ::2], gate_up_bias[..., 1::2]), -1).bfloat16()
        w2, b2 = down.bfloat16(), down_bias.bfloat16()
        rows = _with_zero_row(x.bfloat16()).index_select(0, source)
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
        return torch.bmm(weights.bfloat16()[:, None], per_choice)[:, 0]

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        rows, inner, hidden, per_choice, weights, source, place, w1, w2 = ctx.saved_tensors
        gradient, counts = gradients[0].bfloat16(), ctx.counts
        k = weights.shape[1]
        d_weights = torch.bmm(per_choice, gradient[..., None])[..., 0].float()
        share = torch.zeros(len(source)).index_copy_(0, place, weights.flatten())[:, None]
        d_outer = _with_zero_row(gradient).index_select(0, source) * share.bfloat16()
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
    ones = torch.ones(1, len(rows), dtype=torch.bfloat16)
    weight = torch.stack([part.T @ grad for part, grad in pairs]).float()
    bias = torch.cat([ones[:, : len(grad)] @ grad for _, grad in pairs]).float()
    return weight, bias


def _interleave(halves: Tensor) -> Tensor:
    return torch.stack(halves.chunk(2, dim=-1), dim=-1).flatten(-2)
