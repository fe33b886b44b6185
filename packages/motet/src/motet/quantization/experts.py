"""The experts of one layer, rounded to MXFP4.

A layer's blocks and scales are held until they are written, its matrices never: each is read,
rounded and forgotten, a few at a time. With calibration an expert's second matrix is rounded for
what comes out of its rounded first one, and the layer's outputs are those of the rounded experts.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from motet.checkpoint import CheckpointError, ModelConfig, dequantize, quantize
from motet.checkpoint.keys import shown
from motet.checkpoint.mxfp4 import BLOCK
from motet.engine.processors import available_processors
from motet.quantization.calibrated import quantize_calibrated
from motet.quantization.calibration import second_moments
from motet.quantization.folding import FoldedWeights
from motet.quantization.forward import activated, routed
from motet.quantization.report import TensorError, squared
from motet.quantization.weights import Floats, Weights

Method: TypeAlias = Literal["plain", "search", "calibrated"]
Packed: TypeAlias = tuple[NDArray[np.uint8], NDArray[np.uint8]]

_MOST_WORKERS = 4  # each needs memory for a few copies of a matrix
_PARTS = ("blocks", "scales")
_SHARED_TOKENS = 32  # as many as all of the layer's count for in each expert's moments


def rounded(
    name: str, values: Floats, method: Method, moments: NDArray[np.float64] | None = None
) -> Packed:
    """A matrix [outputs, inputs] as blocks and scales; without moments "calibrated" is "search".

    Raises CheckpointError for a value that is not finite.
    """
    try:
        if moments is not None and method == "calibrated":
            return quantize_calibrated(values, moments)
        return quantize(values, search=method != "plain")
    except CheckpointError as error:
        raise CheckpointError(f"tensor {shown(name)}: {error}") from error


@dataclass
class RoundedExperts:
    """The blocks and scales of a layer's experts, by tensor name, and what they have cost."""

    arrays: dict[str, NDArray[np.uint8]]
    errors: dict[str, TensorError]

    def put(self, name: str, expert: int, packed: Packed) -> None:
        """Take an expert's matrix in."""
        for part, values in zip(_PARTS, packed, strict=True):
            self.arrays[f"{name}_{part}"][expert] = values


@dataclass(frozen=True)
class RoundedWeights:
    """A layer with its experts as they are rounded."""

    inner: Weights
    experts: RoundedExperts

    def whole(self, name: str) -> Floats:
        """A vector, a matrix [outputs, inputs] or the biases of a layer's experts."""
        return self.inner.whole(name)

    def rows(self, name: str, rows: slice | NDArray[np.integer[Any]]) -> Floats:
        """Some rows of it."""
        return self.inner.rows(name, rows)

    def expert(self, name: str, index: int) -> Floats:
        """The matrix [outputs, inputs] of one expert."""
        blocks, scales = (self.experts.arrays[f"{name}_{part}"][index] for part in _PARTS)
        return dequantize(blocks, scales)


def empty_experts(config: ModelConfig, index: int, label: str) -> RoundedExperts:
    """Room for a layer's experts."""
    arrays, errors = {}, {}
    shapes = {
        "gate_up_proj": (2 * config.intermediate_size, config.hidden_size),
        "down_proj": (config.hidden_size, config.intermediate_size),
    }
    for part, (rows, columns) in shapes.items():
        name = f"model.layers.{index}.mlp.experts.{part}"
        shape = (config.experts, rows, columns // BLOCK)
        arrays[f"{name}_blocks"] = np.empty((*shape, BLOCK // 2), dtype=np.uint8)
        arrays[f"{name}_scales"] = np.empty(shape, dtype=np.uint8)
        errors[name] = TensorError(name, "MXFP4", label)
    return RoundedExperts(arrays, errors)


def round_experts(
    config: ModelConfig,
    source: Weights,
    folded: Weights,
    index: int,
    method: Method,
    done: Callable[[int], object],
) -> RoundedExperts:
    """Round a layer's experts by their values alone, a few at a time.

    `source` and `folded`: the same layer before and after dual scaling. `done`: told of the bytes
    of every matrix that is ready.
    """
    result = empty_experts(config, index, method)
    tasks = [(name, expert) for name in result.errors for expert in range(config.experts)]

    def round_one(task: tuple[str, int]) -> tuple[float, float, float]:
        name, expert = task
        values = folded.expert(name, expert)
        packed = rounded(name, values, method)
        result.put(name, expert, packed)
        return measured(source, folded, name, expert, values, packed, method)

    with ThreadPoolExecutor(min(_MOST_WORKERS, available_processors())) as workers:
        for (name, _), costs in zip(tasks, workers.map(round_one, tasks), strict=True):
            result.errors[name].add(*costs)
            done(matrix_bytes(result, name))
    return result


def round_experts_for(
    config: ModelConfig,
    source: Weights,
    folded: Weights,
    index: int,
    states: Sequence[Floats],
    done: Callable[[int], object],
) -> tuple[RoundedExperts, list[Floats]]:
    """Round a layer's experts for the states [tokens, hidden] behind its attention.

    Also returns the states behind the layer. An expert that no token reaches is rounded by values.
    """
    result = empty_experts(config, index, "calibrated")
    rows = np.concatenate(states)
    inputs, choice, shares = routed(config, folded, index, rows)
    everywhere = second_moments(inputs)
    prefix = f"model.layers.{index}.mlp.experts."
    first, second = f"{prefix}gate_up_proj", f"{prefix}down_proj"
    first_bias, second_bias = folded.whole(f"{first}_bias"), folded.whole(f"{second}_bias")
    outputs = rows.copy()

    def round_one(name: str, expert: int, moments: NDArray[np.float64] | None) -> Floats:
        values = folded.expert(name, expert)
        packed = rounded(name, values, "calibrated", moments)
        result.put(name, expert, packed)
        costs = measured(source, folded, name, expert, values, packed, "calibrated")
        result.errors[name].add(*costs)
        done(matrix_bytes(result, name))
        return dequantize(*packed)

    for expert in range(config.experts):
        token, place = np.nonzero(choice == expert)
        given = inputs[token]
        share = len(token) / (len(token) + _SHARED_TOKENS)
        moments = share * second_moments(given) + (1 - share) * everywhere
        inner = given @ round_one(first, expert, moments).T + first_bias[expert]
        active = activated(config, inner)
        matrix = round_one(second, expert, second_moments(active) if token.size else None)
        outer = active @ matrix.T + second_bias[expert]
        outputs[token] += shares[token, place, np.newaxis] * outer
    ends = np.cumsum([len(state) for state in states])[:-1]
    return result, np.split(outputs, ends)


def measured(
    source: Weights,
    folded: Weights,
    name: str,
    expert: int,
    values: Floats,
    packed: Packed,
    method: Method,
) -> tuple[float, float, float]:
    """The square of an expert's matrix, and the squared errors of its rounding and of plain one.

    Both as errors of the matrix before dual scaling, so that they compare.
    """
    error = dequantize(*packed)
    error -= values
    if folded is source:
        square = squared(values)
        if method == "plain":
            return square, squared(error), squared(error)
        original = values
    else:
        assert isinstance(folded, FoldedWeights)
        if name in folded.columns:
            error *= folded.columns[name]
        original = source.expert(name, expert)
        square = squared(original)
    plain = dequantize(*quantize(original, search=False))
    plain -= original
    return square, squared(error), squared(plain)


def matrix_bytes(result: RoundedExperts, name: str) -> int:
    """Bytes of one expert's matrix."""
    return sum(result.arrays[f"{name}_{part}"][0].nbytes for part in _PARTS)
