"""A model small enough to make anew: random weights, 256 bytes and a few merges as vocabulary."""

import signal
from dataclasses import replace
from pathlib import Path

import pytest

from motet.checkpoint import ModelConfig, Tensor, write_checkpoint
from motet.checkpoint.random import random_tensors
from motet.harmony import Vocabulary, o200k_harmony


@pytest.fixture(scope="session", autouse=True)
def heard_interrupts() -> None:
    """Let child processes hear Ctrl-C, also where the tests run in the background without it."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def small_vocabulary() -> Vocabulary:
    return o200k_harmony().first(1000)


@pytest.fixture(scope="session")
def random_model(tmp_path_factory: pytest.TempPathFactory, small_vocabulary: Vocabulary) -> Path:
    """The folder of a checkpoint that speaks at random, and at temperature 0 without an end."""
    config = ModelConfig(
        layers=2,
        hidden_size=64,
        intermediate_size=64,
        experts=4,
        experts_per_token=2,
        attention_heads=2,
        key_value_heads=1,
        head_dim=32,
        vocabulary_size=small_vocabulary.size,
        sliding_window=32,
        layer_types=("sliding_attention", "full_attention"),
        rope_theta=150_000.0,
        rope_scaling_factor=32.0,
        rope_beta_slow=1.0,
        rope_beta_fast=32.0,
        initial_context_length=4096,
        context_length=131_072,
        swiglu_limit=7.0,
        rms_norm_eps=1e-5,
    )
    folder = tmp_path_factory.mktemp("models") / "random"
    tensors = (speechless(tensor, small_vocabulary) for tensor in random_tensors(config, seed=0))
    write_checkpoint(folder, config, tensors, small_vocabulary)
    return folder


def speechless(tensor: Tensor, vocabulary: Vocabulary) -> Tensor:
    """The tensor without what makes special tokens likelier than the likeliest of the others."""
    if tensor.name != "lm_head.weight":
        return tensor
    rows = tensor.data.copy()
    rows[list(vocabulary.special.values())] = 0
    return replace(tensor, data=rows)
