"""The optimiser of the matrices inside layers."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from motet.training.kernels import COMPUTE
from motet.training.muon import Muon, orthogonal


@pytest.mark.parametrize("shape", [(8, 8), (3, 24, 40), (2, 40, 24)])
def test_singular_values_come_near_one_and_directions_stay(shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    matrices = torch.randn(shape)
    left, values, right = torch.linalg.svd(matrices, full_matrices=False)
    found = left.mT @ orthogonal(matrices) @ right.mT
    diagonal = found.diagonal(dim1=-2, dim2=-1)
    clear = values > 0.05 * values.amax(-1, keepdim=True)
    assert ((diagonal[clear] > 0.6) & (diagonal[clear] < 1.3)).all()
    rounding = 1e-4 if COMPUTE is torch.float32 else 0.1
    assert (found - torch.diag_embed(diagonal)).abs().max() < rounding


def test_it_finds_a_matrix() -> None:
    torch.manual_seed(0)
    wanted = torch.randn(2, 6, 10)
    parameter = torch.nn.Parameter(torch.zeros(2, 6, 10))
    with ThreadPoolExecutor(1) as workers:
        optimizer = Muon([parameter], 0.0, workers)
        for step in range(400):
            optimizer.param_groups[0]["lr"] = 0.05 * (1 - step / 400)
            (parameter - wanted).square().sum().backward()
            optimizer.step()
            optimizer.zero_grad()
    assert (parameter - wanted).abs().max() < 0.05
