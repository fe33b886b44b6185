"""Training with the experts' weights as MXFP4 will hold them.

For a forward and backward pass the weights are rounded; the gradients found there are applied to
the weights themselves, as if there had been no rounding (the straight-through estimator).
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Executor
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from motet.checkpoint import dequantize, quantize

EXPERT_MATRICES = ("experts.gate_up_proj", "experts.down_proj")
"""How the names of the tensors end that a checkpoint holds in MXFP4."""


@contextmanager
def rounded_experts(model: Any, workers: Executor) -> Iterator[None]:
    """Give the expert matrices of `model` their rounded values for a while."""
    named = model.named_parameters()
    matrices = [matrix for name, matrix in named if name.endswith(EXPERT_MATRICES)]
    kept = [matrix.data for matrix in matrices]
    for matrix, values in zip(matrices, workers.map(rounded, kept), strict=True):
        matrix.data = values
    try:
        yield
    finally:
        for matrix, values in zip(matrices, kept, strict=True):
            matrix.data = values


def rounded(matrix: Tensor) -> Tensor:
    """Weights [experts, in, out] after MXFP4, whose blocks run along the input."""
    values = dequantize(*quantize(matrix.transpose(1, 2).numpy()))
    return torch.from_numpy(values).transpose(1, 2).contiguous()
