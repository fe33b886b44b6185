"""Muon: momentum whose matrices are made orthogonal before they are applied.

All directions of a weight matrix move equally far per step, which for small models learns from
fewer tokens than AdamW does (Jordan et al. 2024, https://kellerjordan.github.io/posts/muon).
`torch.optim.Muon` takes only two-dimensional parameters and computes in bfloat16; here a parameter
may be a stack of matrices [experts, rows, columns] and stays float32.
"""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import Executor
from typing import Any

import torch
from torch import Tensor

from motet.training.kernels import COMPUTE

MOMENTUM = 0.95
STEPS = 5
_COEFFICIENTS = (3.4445, -4.7750, 2.0315)  # of the quintic iteration, from the publication
_UPDATE_SIZE = 0.4
"""Root mean square of an update's elements at learning rate 1, so that AdamW's rates fit."""


class Muon(torch.optim.Optimizer):
    """Muon over matrices and stacks of matrices, worked on in parallel by `workers`."""

    def __init__(self, parameters: Iterable[Any], weight_decay: float, workers: Executor) -> None:
        super().__init__(parameters, {"lr": 0.0, "weight_decay": weight_decay})
        self._workers = workers

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]  # noqa: ARG002
        """Apply the gradients at each group's `lr`."""
        for group in self.param_groups:
            decay, rate = 1 - group["lr"] * group["weight_decay"], group["lr"]
            directions = self._workers.map(self._direction, group["params"])
            for parameter, direction in zip(group["params"], directions, strict=True):
                parameter.mul_(decay).sub_(direction, alpha=rate)

    @torch.no_grad()
    def _direction(self, parameter: Tensor) -> Tensor:
        assert parameter.grad is not None
        state = self.state[parameter]
        if not state:
            state["momentum"] = torch.zeros_like(parameter)
        momentum: Tensor = state["momentum"].lerp_(parameter.grad, 1 - MOMENTUM)
        ahead = parameter.grad.lerp(momentum, MOMENTUM)
        size = _UPDATE_SIZE * max(parameter.shape[-2:]) ** 0.5
        return orthogonal(ahead).mul_(size)


def orthogonal(matrices: Tensor) -> Tensor:
    """Matrices [..., rows, columns] with their singular values moved near 1 (Newton-Schulz)."""
    wide = matrices if matrices.shape[-2] <= matrices.shape[-1] else matrices.mT
    x: Tensor = (wide / (wide.norm(dim=(-2, -1), keepdim=True) + 1e-12)).to(COMPUTE)
    a, b, c = _COEFFICIENTS
    for _ in range(STEPS):
        gram = x @ x.mT
        x = a * x + (b * gram + c * gram @ gram) @ x
    return (x if matrices.shape[-2] <= matrices.shape[-1] else x.mT).to(matrices.dtype)
