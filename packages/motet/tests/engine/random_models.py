"""Small random models."""

import random
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from motet.checkpoint import Checkpoint, ModelConfig
from motet.checkpoint.config import FULL, SLIDING
from motet.checkpoint.random import random_tensors


def random_config(seed: int) -> ModelConfig:
    """Any shape the family allows, small enough to be computed in a moment.

    Consecutive seeds walk through the groups 1-8, experts per token 1-4 and windows.
    """
    choose = random.Random(seed)
    key_value_heads = choose.choice([1, 2, 3])
    attention_heads = key_value_heads * (1 + seed % 8)
    layers = choose.randint(2, 4)
    return ModelConfig(
        layers=layers,
        hidden_size=32 * choose.randint(1, 5),
        intermediate_size=32 * choose.randint(1, 4),
        experts=choose.choice([4, 5, 7, 8, 9]),
        experts_per_token=1 + seed % 4,
        attention_heads=attention_heads,
        key_value_heads=key_value_heads,
        head_dim=choose.choice([d for d in (8, 16, 20, 32, 64) if attention_heads * d % 32 == 0]),
        vocabulary_size=choose.randint(50, 300),
        sliding_window=(1, 5, 16, 70, 128, 500)[seed % 6],
        layer_types=(SLIDING, FULL, *(choose.choice([SLIDING, FULL]) for _ in range(layers - 2))),
        rope_theta=choose.choice([10_000.0, 150_000.0]),
        rope_scaling_factor=choose.choice([1.0, 2.0, 8.0, 32.0]),
        rope_beta_slow=1.0,
        rope_beta_fast=32.0,
        initial_context_length=choose.choice([16, 32, 64, 4096]),
        context_length=4096,
        swiglu_limit=choose.choice([0.5, 7.0]),
        rms_norm_eps=1e-5,
    )


def random_checkpoint(config: ModelConfig, seed: int = 0) -> Checkpoint:
    """A random model of this shape, in memory."""
    tensors = {tensor.name: tensor for tensor in random_tensors(config, seed)}
    return Checkpoint(Path("random"), "huggingface", (), config, tensors, None)


def random_tokens(config: ModelConfig, count: int, seed: int = 0) -> NDArray[np.int32]:
    """A prompt without meaning."""
    random_ids = np.random.default_rng(seed).integers(0, config.vocabulary_size, count)
    return random_ids.astype(np.int32)
