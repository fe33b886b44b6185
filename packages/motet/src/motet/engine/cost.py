"""What a step of the native engine has to read and to compute: arithmetic on the config.

These are lower bounds, which measurements are compared with: every weight that is needed is read
once per step, and the expected number of distinct experts is that of random choices, as is that of
the head's rows behind the likeliest tokens.
"""

from __future__ import annotations

from dataclasses import dataclass

from motet import _native
from motet.checkpoint import ModelConfig
from motet.checkpoint.config import SLIDING

_EXPERT_BITS = 4.25  # MXFP4: 32 values of 4 bits and a scale byte
# 32 values and a float16; bfloat16. Queries' and outputs' matrices, and the others.
_LARGE_BITS = {"fast4": 4.5, "fast": 8.5, "exact": 16.0}
_DENSE_BITS = {"fast4": 8.5, "fast": 8.5, "exact": 16.0}
_SEARCHED_BITS = 4.5  # of the head, where the likeliest logits are computed again
_CACHE_BYTES = {"fast4": 2.0, "fast": 2.0, "exact": 4.0}  # bfloat16, float32


@dataclass(frozen=True)
class StepCost:
    """Bytes read from memory, and multiplications and additions."""

    bytes: float
    operations: float


def step_cost(
    config: ModelConfig, *, sequences: int, tokens: int, depth: int, precision: str = "fast"
) -> StepCost:
    """One step in which each of `sequences` reads `tokens` more at a context of `depth` tokens.

    Logits are wanted of the last token of each sequence.
    """
    rows = sequences * tokens
    expert = 3 * config.hidden_size * config.intermediate_size
    distinct = _distinct(config.experts, config.experts_per_token, rows)
    large = 2 * config.hidden_size * config.query_width
    small = 2 * config.hidden_size * config.key_value_width
    head = config.vocabulary_size * config.hidden_size
    searched = precision != "exact" and config.vocabulary_size >= _native.SEARCHED_VOCABULARY
    refined = _native.REFINED_LOGITS if searched else 0
    refined_rows = _distinct(config.vocabulary_size, refined, sequences)
    positions = _positions(config, depth, tokens)
    weights = (
        config.layers * (distinct * expert * _EXPERT_BITS + large * _LARGE_BITS[precision])
        + config.layers * small * _DENSE_BITS[precision]
        + head * (_SEARCHED_BITS if searched else _DENSE_BITS[precision])
        + refined_rows * config.hidden_size * _DENSE_BITS[precision]
    )
    cache = sequences * sum(positions) * 2 * config.key_value_width * _CACHE_BYTES[precision]
    per_row = config.layers * (config.experts_per_token * expert + large + small)
    scores = sum(seen * tokens * 2 * config.query_width for seen in positions) * sequences
    logits = sequences * (head + refined * config.hidden_size)
    return StepCost(bytes=weights / 8 + cache, operations=2 * (rows * per_row + logits + scores))


def _distinct(count: int, chosen: int, times: int) -> float:
    """How many of `count` are among `chosen` random ones at least once in so many times."""
    return count * (1 - (1 - chosen / count) ** times)


def _positions(config: ModelConfig, depth: int, tokens: int) -> list[float]:
    """How many positions a token sees in each layer, on average over the step."""
    seen = depth + (tokens + 1) / 2
    return [
        min(seen, config.sliding_window) if kind == SLIDING else seen for kind in config.layer_types
    ]
