"""The forward pass against transformers, and against itself cut up in every way."""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from numpy.typing import NDArray
from random_models import random_checkpoint, random_config, random_tokens
from reference import reference_logits
from this_machine import INSTRUCTION_SETS, model_on

from motet._native import Model, Sequence
from motet.checkpoint import Checkpoint, ModelConfig
from motet.checkpoint.config import FULL, SLIDING
from motet.engine import EngineError
from motet.engine.native import native_model

PROMPT = 150
CONFIGS = range(20)
TOLERANCE = 1e-5  # of the largest logit; measured: 2e-6
AT_ONCE = (PROMPT,)
ONE_BY_ONE = (1,) * PROMPT
UNEVEN = (1, 63, 2, 64, 20)


def read(
    model: Model,
    tokens: NDArray[np.int32],
    chunks: tuple[int, ...],
    sequence: Sequence | None = None,
) -> NDArray[np.float32]:
    """Logits after every token, the tokens given in chunks of these sizes."""
    sequence = sequence or model.sequence()
    pieces = np.split(tokens, np.cumsum(chunks)[:-1])
    return np.concatenate([model.step([(sequence, piece, piece.size)]) for piece in pieces])


def assert_agrees(got: NDArray[np.float32], wanted: NDArray[np.float32]) -> None:
    tolerance = TOLERANCE * np.abs(wanted).max()
    assert np.abs(got - wanted).max() <= tolerance
    second, best = np.sort(wanted, axis=1)[:, -2:].T
    clear = best - second > tolerance
    assert clear.mean() > 0.99
    assert np.array_equal(got.argmax(1)[clear], wanted.argmax(1)[clear])


def test_the_random_configs_cover_the_family() -> None:
    configs = [random_config(seed) for seed in CONFIGS]
    assert {c.attention_heads // c.key_value_heads for c in configs} == set(range(1, 9))
    assert {c.experts_per_token for c in configs} == {1, 2, 3, 4}
    assert any(c.experts % 2 for c in configs)
    assert any(c.vocabulary_size % 2 for c in configs)
    assert min(c.sliding_window for c in configs) == 1
    assert max(c.sliding_window for c in configs) > PROMPT
    assert {c.initial_context_length < PROMPT for c in configs} == {True, False}
    assert all(set(c.layer_types) == {SLIDING, FULL} for c in configs)


@cache
def reference(seed: int) -> NDArray[np.float32]:
    """What transformers says after every token of the prompt."""
    checkpoint = random_checkpoint(random_config(seed), seed)
    return reference_logits(checkpoint, random_tokens(checkpoint.config, PROMPT, seed))


@pytest.mark.parametrize("seed", CONFIGS)
@pytest.mark.parametrize("isa", INSTRUCTION_SETS)
def test_logits_are_those_of_transformers_however_the_prompt_is_cut(isa: str, seed: int) -> None:
    checkpoint = random_checkpoint(random_config(seed), seed)
    tokens = random_tokens(checkpoint.config, PROMPT, seed)
    model = model_on(isa, checkpoint, threads=2)

    at_once = read(model, tokens, AT_ONCE)

    assert_agrees(at_once, reference(seed))
    assert np.array_equal(read(model, tokens, UNEVEN), at_once)
    assert np.array_equal(read(model, tokens, ONE_BY_ONE), at_once)


def test_an_unknown_instruction_set_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MOTET_ISA", "mmx")
    with pytest.raises(EngineError, match=r"mmx.*can execute only: portable"):
        native_model(random_checkpoint(random_config(0)))


def released_rope(**changes: object) -> Checkpoint:
    """A tiny model with the released models' YaRN constants and window."""
    return random_checkpoint(
        replace(
            random_config(1),
            head_dim=64,
            rope_theta=150_000.0,
            rope_scaling_factor=32.0,
            initial_context_length=4096,
            context_length=131_072,
            sliding_window=128,
            **changes,
        )
    )


def test_positions_beyond_the_original_context() -> None:
    checkpoint = released_rope(layers=2, layer_types=(SLIDING, FULL))
    tokens = random_tokens(checkpoint.config, 4300)
    model = native_model(checkpoint, threads=2)
    sequence = model.sequence()
    model.step([(sequence, tokens[:4200], 0)])
    got = model.step([(sequence, tokens[4200:], 100)])
    assert_agrees(got, reference_logits(checkpoint, tokens)[4200:])


def batch_of(config: ModelConfig, *lengths: int) -> list[NDArray[np.int32]]:
    return [random_tokens(config, length, seed) for seed, length in enumerate(lengths)]


@pytest.mark.parametrize("isa", INSTRUCTION_SETS)
@pytest.mark.parametrize("threads", [1, 3])
def test_a_batch_gives_each_sequence_the_bits_it_gets_alone(isa: str, threads: int) -> None:
    checkpoint = random_checkpoint(replace(random_config(7), hidden_size=192, experts=6))
    model = model_on(isa, checkpoint, threads=threads)
    alone = model_on(isa, checkpoint, threads=1)
    prompts = batch_of(checkpoint.config, 1, 2, 3, 5, 17, 70, 130)
    for size in range(1, len(prompts) + 1):
        batch = [(model.sequence(), prompt, prompt.size) for prompt in prompts[:size]]
        rows = np.split(model.step(batch), np.cumsum([p.size for p in prompts[:size]])[:-1])
        decoded = model.step([(sequence, prompt[:1], 1) for sequence, prompt, _ in batch])
        for prompt, logits, last in zip(prompts, rows, decoded, strict=False):
            extended = np.append(prompt, prompt[:1])
            wanted = alone.step([(alone.sequence(), extended, extended.size)])
            assert np.array_equal(np.concatenate([logits, last[None]]), wanted)


def test_only_the_wanted_rows_come_back_in_order() -> None:
    checkpoint = random_checkpoint(random_config(2))
    model = native_model(checkpoint)
    first, second, third = batch_of(checkpoint.config, 5, 7, 4)
    logits = model.step(
        [(model.sequence(), first, 2), (model.sequence(), second, 0), (model.sequence(), third, 1)]
    )
    assert np.array_equal(logits[:2], read(model, first, (5,))[-2:])
    assert np.array_equal(logits[2:], read(model, third, (4,))[-1:])


def test_the_cache_grows_with_the_context_and_sliding_layers_let_go() -> None:
    checkpoint = released_rope(layers=3, layer_types=(SLIDING, FULL, SLIDING))
    model = native_model(checkpoint)
    sequence = model.sequence()
    block = 64 * 2 * checkpoint.config.key_value_width * 4
    assert model.cache_bytes == 0
    for length in range(32, 641, 32):
        model.step([(sequence, random_tokens(checkpoint.config, 32), 0)])
        sequence.trim()
        begun = -(-length // 64)
        left_behind = max(0, length + 1 - 128) // 64
        assert model.cache_bytes == block * (begun + 2 * (begun - left_behind))
    assert sequence.length == 640
    del sequence
    assert model.cache_bytes == 0
