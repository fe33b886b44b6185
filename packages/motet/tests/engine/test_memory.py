"""A model that does not fit is refused before it is loaded."""

from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from random_models import random_checkpoint, random_config

from motet import _native
from motet.checkpoint import Checkpoint
from motet.checkpoint.layout import tensor_specs
from motet.engine import EngineError, memory
from motet.engine.native import native_model
from motet.engine.pages import PageSizes


@dataclass(frozen=True)
class Sized:
    """A tensor of which only the size is known."""

    name: str
    shape: tuple[int, ...]
    nbytes: int


def gpt_oss_20b() -> Checkpoint:
    """The shape of gpt-oss-20b, without its weights."""
    config = replace(
        random_config(0),
        layers=24,
        hidden_size=2880,
        intermediate_size=2880,
        experts=32,
        experts_per_token=4,
        attention_heads=64,
        key_value_heads=8,
        head_dim=64,
        vocabulary_size=201_088,
        sliding_window=128,
        layer_types=("sliding_attention", "full_attention") * 12,
        context_length=131_072,
    )
    tensors = {
        each.name: Sized(each.name, each.shape, each.nbytes) for each in tensor_specs(config)
    }
    return Checkpoint(Path("20b"), "huggingface", (), config, tensors, None)  # type: ignore[arg-type]


def test_the_fast_mode_needs_what_it_keeps() -> None:
    checkpoint = gpt_oss_20b()
    experts, dense = 10_152_345_600, 24 * (2 * 4096 + 2 * 512) * 2880 * 2 + 201_088 * 2880 * 2
    searched = 201_088 * 2880 * 4.5 / 8  # the head once more, in 4 bits
    vectors = 5120 + 2880 + 64 + 2 * 2880 + 32 + 32 * 3 * 2880
    small = 24 * (vectors + 32 * 2880) * 2 + 2880 * 2  # and the router
    cache = memory.cache_bytes(checkpoint.config, 4096)
    assert memory.memory_needed(checkpoint, "exact", 4096) == experts + dense + small + 2 * cache
    fast = memory.memory_needed(checkpoint, "fast", 4096)
    assert abs(fast - (experts + dense * 8.5 / 16 + searched + small + cache)) < 1000
    smaller = 24 * 2 * 4096 * 2880 / 2  # queries' and outputs' matrices
    assert memory.memory_needed(checkpoint, "fast4", 4096) == fast - smaller


def test_a_head_of_few_tokens_is_not_copied_twice() -> None:
    config = replace(random_config(0), vocabulary_size=_native.SEARCHED_VOCABULARY)
    large, small = (
        random_checkpoint(replace(config, vocabulary_size=config.vocabulary_size - fewer))
        for fewer in (0, 1)
    )
    row = config.hidden_size * 8.5 / 8
    searched = config.vocabulary_size * config.hidden_size * 4.5 / 8
    needed = [memory.memory_needed(each, "fast", 0) for each in (large, small)]
    assert needed[0] - needed[1] == row + searched


@pytest.mark.parametrize(
    ("available", "precision", "sentence"),
    [
        (10**10, "fast", r"needs 1\d\.\d\d GB .* but 10\.00 GB are free here; .*smaller model"),
        (12_500_000_000, "exact", "the fast precision would fit"),
        (11_700_000_000, "exact", "the fast4 precision would fit"),
        (11_700_000_000, "fast", "the fast4 precision would fit"),
    ],
)
def test_the_refusal_says_what_would_fit(
    available: int, precision: str, sentence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "available_memory", lambda: available)
    with pytest.raises(EngineError, match=sentence):
        memory.require_memory(gpt_oss_20b(), precision)


def test_keys_and_values_get_half_of_what_is_spare_and_enough_for_a_while() -> None:
    sizes = PageSizes(full=1000, sliding=500, reach=2)
    least, whole = sizes.needed(4096), sizes.needed(100_000)
    assert memory.default_limit(10**9, sizes, 100_000) == 5 * 10**8
    assert memory.default_limit(1000, sizes, 100_000) == least
    assert memory.default_limit(-5, sizes, 100) == sizes.needed(100)
    assert memory.default_limit(None, sizes, 100_000) == whole


def test_what_is_spare_is_what_the_weights_leave(monkeypatch: pytest.MonkeyPatch) -> None:
    weights = memory.memory_needed(gpt_oss_20b(), "fast", 0)
    monkeypatch.setattr(memory, "available_memory", lambda: weights + 123)
    assert memory.spare_memory(gpt_oss_20b(), "fast") == 123
    monkeypatch.setattr(memory, "available_memory", lambda: None)
    assert memory.spare_memory(gpt_oss_20b(), "fast") is None


@pytest.mark.parametrize("available", [None, 10**9])
def test_what_fits_or_cannot_be_known_is_loaded(
    available: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "available_memory", lambda: available)
    assert native_model(random_checkpoint(random_config(0))).threads >= 1
