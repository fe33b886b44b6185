"""What a model has lost beside another one: their next-token distributions on the same texts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from motet.checkpoint import CheckpointError, ModelConfig
from motet.quantization.forward import Tokens, embedded, layer_output, logits
from motet.quantization.weights import Floats, Weights

_POSITIONS = 256  # whose logits are held at once


@dataclass(frozen=True)
class Comparison:
    """Means over all positions of the texts.

    `divergence`: Kullback-Leibler, of the result from the source, in nats. `agreement`: the share
    of positions at which the likeliest token is the same.
    """

    positions: int
    divergence: float
    agreement: float

    def to_json(self) -> dict[str, Any]:
        """For programs."""
        return asdict(self)


def compare(
    config: ModelConfig,
    source: Weights,
    result: Weights,
    texts: Sequence[Tokens],
    places: Sequence[NDArray[np.bool_]] | None = None,
) -> Comparison:
    """Read the texts with both models, a layer at a time.

    `places`: for each text, the positions that count; all of them without. Raises CheckpointError
    for texts with tokens that the models do not have.
    """
    if not texts or any(int(text.max()) >= config.vocabulary_size for text in texts if text.size):
        raise CheckpointError(
            "there is no text, or one with token ids that the model does not have"
        )
    states = [embedded(weights, texts) for weights in (source, result)]
    for index in range(config.layers):
        states = [
            layer_output(config, weights, index, each)
            for weights, each in zip((source, result), states, strict=True)
        ]
    counted = slice(None) if places is None else np.concatenate(places)
    rows = [np.concatenate(each)[counted] for each in states]
    divergences, same = [], []
    for start in range(0, len(rows[0]), _POSITIONS):
        first, second = (
            logits(config, weights, each[start : start + _POSITIONS])
            for weights, each in zip((source, result), rows, strict=True)
        )
        divergences.append(divergence(first, second))
        same.append(first.argmax(axis=-1) == second.argmax(axis=-1))
    return Comparison(
        len(rows[0]), float(np.concatenate(divergences).mean()), float(np.concatenate(same).mean())
    )


def divergence(first: Floats, second: Floats) -> Floats:
    """Nats for each row of two logits [n, vocabulary]: of the second from the first."""
    p, q = _log_probabilities(first), _log_probabilities(second)
    nats: Floats = (np.exp(p) * (p - q)).sum(axis=-1)
    return nats


def _log_probabilities(values: Floats) -> Floats:
    shifted: Floats = values - values.max(axis=-1, keepdims=True)
    shifted -= np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
    return shifted
