"""A tiny run: trained, stopped, resumed, exported, opened again."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from transformers import GptOssForCausalLM

from motet.checkpoint import from_bf16, open_checkpoint
from motet.training.export import export_model
from motet.training.initialisation import OFFSETS
from motet.training.loop import Trainer, TrainingOptions, learning_rate
from motet.training.train_nano import nano_config, new_model
from motet.training.vocabulary import nano_vocabulary

VOCABULARY = nano_vocabulary()
CONFIG = nano_config(VOCABULARY, hidden=64, layers=2, experts=2)
OPTIONS = TrainingOptions(
    steps=4,
    tokens_per_step=1536,
    early_steps=2,
    early_tokens_per_step=1024,
    save_every=2,
    log_every=2,
    warmup_steps=1,
    practice_steps=2,
)


@pytest.fixture(autouse=True)
def _plain() -> Iterator[None]:
    torch.compiler.set_stance("force_eager")
    yield
    torch.compiler.set_stance("default")


def trained(options: TrainingOptions, folder: Path) -> tuple[GptOssForCausalLM, list[str]]:
    model = new_model(CONFIG, options.seed)
    return model, list(Trainer(model, VOCABULARY, options, folder).run())


def test_a_run_that_was_stopped_ends_like_one_that_was_not(tmp_path: Path) -> None:
    whole, log = trained(OPTIONS, tmp_path / "whole")
    assert len(log) == 2
    model = new_model(CONFIG, OPTIONS.seed)
    trainer = Trainer(model, VOCABULARY, OPTIONS, tmp_path / "parts")
    lines = trainer.run()
    next(lines)  # stops after step 2, before it is saved
    trainer.save()
    resumed, _ = trained(OPTIONS, tmp_path / "parts")
    for value, expected in zip(resumed.parameters(), whole.parameters(), strict=True):
        assert torch.equal(value, expected)


def test_a_model_survives_export(tmp_path: Path) -> None:
    model = new_model(CONFIG, seed=1)
    export_model(model, VOCABULARY, tmp_path / "model")
    checkpoint = open_checkpoint(tmp_path / "model")
    assert checkpoint.vocabulary.size == VOCABULARY.size
    name = "model.layers.0.self_attn.q_proj.weight"
    stored = torch.from_numpy(from_bf16(checkpoint.tensors[name].data))
    assert torch.equal(stored, model.state_dict()[name].bfloat16().float())


@pytest.mark.parametrize("layer", OFFSETS)
def test_some_heads_begin_by_looking_back(layer: int) -> None:
    model = new_model(nano_config(VOCABULARY, layers=3, experts=2), seed=1)
    model.config._attn_implementation = "eager"
    tokens = torch.randint(0, VOCABULARY.size, (1, 40))
    weights = model(tokens, output_attentions=True).attentions[layer][0]
    for head, offset in enumerate(OFFSETS[layer]):
        by_distance = [weights[head].diagonal(-distance).mean() for distance in range(12)]
        assert by_distance.index(max(by_distance)) == offset
        assert by_distance[offset] > 0.4


def test_the_learning_rate_rises_and_falls() -> None:
    options = replace(OPTIONS, steps=100, warmup_steps=10, learning_rate=1.0)
    rates = [learning_rate(options, step) for step in range(100)]
    assert rates[0] < rates[5] < max(rates[9:12])
    assert rates[20] > rates[60] > rates[99] > 0
