"""The forward pass of gpt-oss in float32, layer by layer over many short texts.

For calibration and for measuring what rounding has cost: the engine runs a model whose experts are
MXFP4 and shows logits only, while here the weights are any floats, every layer's inputs can be
seen, and no more than one expert is held. Texts go through a layer together. Tests hold it to
transformers and to the engine.
"""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from motet.checkpoint import ModelConfig
from motet.checkpoint.config import SLIDING, SWIGLU_ALPHA
from motet.quantization.weights import Floats, Weights

Tokens = NDArray[np.int32]
Seen = Callable[[str, Floats], object]
"""Told of the inputs [tokens, inputs] of a matrix, by the matrix's name."""

_LOGIT_ROWS = 8192  # of the head, read at once


def embedded(weights: Weights, texts: Sequence[Tokens]) -> list[Floats]:
    """The hidden states [tokens, hidden] of each text before the first layer."""
    return [weights.rows("model.embed_tokens.weight", text) for text in texts]


def layer_output(
    config: ModelConfig,
    weights: Weights,
    index: int,
    states: Sequence[Floats],
    seen: Seen = lambda *_: None,
) -> list[Floats]:
    """The hidden states behind a layer."""
    attended = attention_output(config, weights, index, states, seen)
    return experts_output(config, weights, index, attended, seen)


def attention_output(
    config: ModelConfig,
    weights: Weights,
    index: int,
    states: Sequence[Floats],
    seen: Seen = lambda *_: None,
) -> list[Floats]:
    """The hidden states in the middle of a layer, behind its attention."""
    prefix = f"model.layers.{index}."
    normed = _split(
        normalised(
            config, np.concatenate(states), weights.whole(f"{prefix}input_layernorm.weight")
        ),
        states,
    )
    matrices = {
        part: (
            weights.whole(f"{prefix}self_attn.{part}_proj.weight"),
            weights.whole(f"{prefix}self_attn.{part}_proj.bias"),
        )
        for part in "qkvo"
    }
    sinks = weights.whole(f"{prefix}self_attn.sinks")
    window = config.sliding_window if config.layer_types[index] == SLIDING else None
    results = []
    for state, inputs in zip(states, normed, strict=True):
        seen(f"{prefix}self_attn.qkv", inputs)
        query, key, value = (inputs @ matrices[part][0].T + matrices[part][1] for part in "qkv")
        mixed = _attention(config, query, key, value, sinks, window)
        seen(f"{prefix}self_attn.o_proj", mixed)
        results.append(state + mixed @ matrices["o"][0].T + matrices["o"][1])
    return results


def experts_output(
    config: ModelConfig,
    weights: Weights,
    index: int,
    states: Sequence[Floats],
    seen: Seen = lambda *_: None,
) -> list[Floats]:
    """The hidden states behind a layer, from those behind its attention."""
    rows = np.concatenate(states)
    inputs, choice, shares = routed(config, weights, index, rows)
    prefix = f"model.layers.{index}.mlp.experts."
    gate_up_bias, down_bias = (
        weights.whole(f"{prefix}{part}_proj_bias") for part in ("gate_up", "down")
    )
    result = rows.copy()
    for expert in range(config.experts):
        token, place = np.nonzero(choice == expert)
        if not token.size:
            continue
        given = inputs[token]
        seen(f"{prefix}gate_up_proj.{expert}", given)
        inner = given @ weights.expert(f"{prefix}gate_up_proj", expert).T + gate_up_bias[expert]
        active = activated(config, inner)
        seen(f"{prefix}down_proj.{expert}", active)
        outer = active @ weights.expert(f"{prefix}down_proj", expert).T + down_bias[expert]
        result[token] += shares[token, place, np.newaxis] * outer
    return _split(result, states)


def routed(
    config: ModelConfig, weights: Weights, index: int, rows: Floats
) -> tuple[Floats, NDArray[np.intp], Floats]:
    """What experts are given [n, hidden], who is chosen [n, k], and the shares [n, k]."""
    prefix = f"model.layers.{index}."
    inputs = normalised(config, rows, weights.whole(f"{prefix}post_attention_layernorm.weight"))
    router = weights.whole(f"{prefix}mlp.router.weight")
    scores = inputs @ router.T + weights.whole(f"{prefix}mlp.router.bias")
    choice = np.argsort(-scores, axis=1, kind="stable")[:, : config.experts_per_token]
    return inputs, choice, _softmax(np.take_along_axis(scores, choice, axis=1))


def activated(config: ModelConfig, inner: Floats) -> Floats:
    """The clamped SwiGLU of gpt-oss: [n, 2 intermediate], gate and up interleaved."""
    gate = np.minimum(inner[:, ::2], config.swiglu_limit)
    up = np.clip(inner[:, 1::2], -config.swiglu_limit, config.swiglu_limit)
    active: Floats = gate / (1 + np.exp(-SWIGLU_ALPHA * gate)) * (up + 1)
    return active


def logits(config: ModelConfig, weights: Weights, states: Floats) -> Floats:
    """[n, vocabulary] of hidden states [n, hidden] behind the last layer."""
    inputs = normalised(config, states, weights.whole("model.norm.weight"))
    result = np.empty((len(inputs), config.vocabulary_size), dtype=np.float32)
    for start in range(0, config.vocabulary_size, _LOGIT_ROWS):
        rows = slice(start, min(start + _LOGIT_ROWS, config.vocabulary_size))
        result[:, rows] = inputs @ weights.rows("lm_head.weight", rows).T
    return result


def final_states(
    config: ModelConfig, weights: Weights, texts: Sequence[Tokens]
) -> Iterator[Floats]:
    """The hidden states of each text behind the last layer."""
    states = embedded(weights, texts)
    for index in range(config.layers):
        states = layer_output(config, weights, index, states)
    yield from states


def normalised(config: ModelConfig, rows: Floats, scale: Floats) -> Floats:
    """The root mean square norm of rows [n, hidden]."""
    means = np.square(rows).mean(axis=1, keepdims=True)
    result: Floats = rows / np.sqrt(means + np.float32(config.rms_norm_eps)) * scale
    return result


def _split(rows: Floats, states: Sequence[Floats]) -> list[Floats]:
    ends = np.cumsum([len(state) for state in states])[:-1]
    return np.split(rows, ends)


def _softmax(scores: Floats) -> Floats:
    powers: Floats = np.exp(scores - scores.max(axis=-1, keepdims=True))
    powers /= powers.sum(axis=-1, keepdims=True)
    return powers


def _attention(
    config: ModelConfig,
    query: Floats,
    key: Floats,
    value: Floats,
    sinks: Floats,
    window: int | None,
) -> Floats:
    """[n, query width] of one text; the softmax of each head has its sink as one more entry."""
    count, width = len(query), config.head_dim
    groups = config.attention_heads // config.key_value_heads
    cosines, sines = _angles(config, count)
    queries = _turned(query.reshape(count, -1, width), cosines, sines).transpose(1, 0, 2)
    keys = _turned(key.reshape(count, -1, width), cosines, sines).transpose(1, 2, 0)
    values = value.reshape(count, -1, width).transpose(1, 0, 2)
    distance = np.arange(count)[:, None] - np.arange(count)
    hidden = (distance < 0) | (distance >= (window or count))
    result = np.empty((config.attention_heads, count, width), dtype=np.float32)
    for head in range(config.attention_heads):
        scores = queries[head] @ keys[head // groups] * np.float32(width**-0.5)
        scores[hidden] = -np.inf
        largest = np.maximum(scores.max(axis=1, keepdims=True), sinks[head])
        powers = np.exp(scores - largest)
        total = powers.sum(axis=1, keepdims=True) + np.exp(sinks[head] - largest)
        result[head] = (powers / total) @ values[head // groups]
    return result.transpose(1, 0, 2).reshape(count, -1)


def _turned(heads: Floats, cosines: Floats, sines: Floats) -> Floats:
    """Rotary positions on [n, heads, width]: dimension i turns with i + width / 2."""
    first, second = np.split(heads, 2, axis=-1)
    return np.concatenate(
        [first * cosines - second * sines, second * cosines + first * sines], axis=-1
    )


def _angles(config: ModelConfig, count: int) -> tuple[Floats, Floats]:
    """Cosines and sines [n, 1, width / 2] of YaRN, whose limits are not rounded."""
    width, factor = config.head_dim, config.rope_scaling_factor

    def dimension(turns: float) -> float:
        turning = config.initial_context_length / (turns * 2 * np.pi)
        return float(width / 2 * np.log(turning) / np.log(config.rope_theta))

    low = max(0.0, dimension(config.rope_beta_fast))
    high = min(width - 1.0, dimension(config.rope_beta_slow))
    places = np.arange(width // 2)
    slow = np.clip((places - low) / ((high - low) or 0.001), 0, 1)
    frequencies = config.rope_theta ** (-2 * places / width)
    frequencies = frequencies / factor * slow + frequencies * (1 - slow)
    concentration = 0.1 * np.log(factor) + 1 if factor > 1 else 1.0
    angles = np.arange(count)[:, None, None] * frequencies
    return (
        (concentration * np.cos(angles)).astype(np.float32),
        (concentration * np.sin(angles)).astype(np.float32),
    )
