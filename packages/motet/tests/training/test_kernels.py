"""The fast forward and backward pass against transformers' own."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
import torch
from transformers import GptOssConfig, GptOssForCausalLM

from motet.checkpoint import dequantize, quantize
from motet.training.kernels import hidden_states
from motet.training.quantisation import rounded_experts

TOKENS = 150  # longer than the window


@pytest.fixture(autouse=True)
def _plain_and_single_threaded() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.compiler.set_stance("force_eager")
    yield
    torch.compiler.set_stance("default")
    torch.set_num_threads(threads)


@pytest.fixture
def model() -> Any:
    """Every expert is used for every token, so that no rounding can change the choice."""
    torch.manual_seed(0)
    config = GptOssConfig(
        hidden_size=64,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=32,
        num_local_experts=3,
        num_experts_per_tok=3,
        vocab_size=100,
    )
    model = GptOssForCausalLM(config)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.15)
    return model


def test_hidden_states_and_gradients_agree_with_transformers(model: Any) -> None:
    tokens = torch.randint(0, 100, (2, TOKENS))
    direction = torch.randn(2, TOKENS, 64)
    expected = model.model(input_ids=tokens, use_cache=False).last_hidden_state
    flat, imbalance = hidden_states(model, tokens, torch.arange(tokens.numel()))
    found = flat.view_as(expected)
    assert relative(found, expected) < 0.03
    assert imbalance.item() == pytest.approx(1.0)
    parameters = [value for name, value in model.named_parameters() if "lm_head" not in name]
    wanted = torch.autograd.grad((expected * direction).sum(), parameters)
    gradients = torch.autograd.grad((found * direction).sum(), parameters)
    for gradient, want in zip(gradients, wanted, strict=True):
        assert relative(gradient, want) < 0.1


def test_rounded_experts_are_those_of_the_checkpoint_and_come_back(model: Any) -> None:
    matrix = model.model.layers[1].mlp.experts.down_proj
    before = matrix.detach().clone()
    with ThreadPoolExecutor(2) as workers, rounded_experts(model, workers):
        found = matrix.detach().numpy().swapaxes(1, 2)
    stored = dequantize(*quantize(before.numpy().swapaxes(1, 2)))
    assert np.array_equal(found, stored)
    assert torch.equal(matrix, before)


def relative(found: torch.Tensor, expected: torch.Tensor) -> float:
    return ((found - expected).norm() / expected.norm()).item()
