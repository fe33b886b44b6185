"""What a step reads and computes, counted by hand."""

from dataclasses import replace

import pytest
from random_models import random_config

from motet import _native
from motet.checkpoint import ModelConfig
from motet.checkpoint.published import published_config
from motet.engine.cost import StepCost, step_cost

LARGE = published_config("20b")
SMALL = replace(LARGE, vocabulary_size=_native.SEARCHED_VOCABULARY - 1)


def next_token(config: ModelConfig, precision: str, sequences: int = 1) -> StepCost:
    return step_cost(config, sequences=sequences, tokens=1, depth=0, precision=precision)


def head_bytes(config: ModelConfig, precision: str, sequences: int = 1) -> float:
    """Beyond those of a model that has one token, which costs nothing to speak of."""
    without = replace(config, vocabulary_size=1)
    return (
        next_token(config, precision, sequences).bytes
        - next_token(without, precision, sequences).bytes
    )


@pytest.mark.parametrize("precision", ["fast", "fast4"])
def test_a_large_head_is_read_in_4_bits_and_some_rows_of_it_in_8(precision: str) -> None:
    rows = 201_088 * 4.5 + 4096 * 8.5
    assert head_bytes(LARGE, precision) == pytest.approx(rows * 2880 / 8, rel=1e-4)


@pytest.mark.parametrize(
    ("config", "precision", "bits"),
    [(SMALL, "fast", 8.5), (SMALL, "fast4", 8.5), (SMALL, "exact", 16), (LARGE, "exact", 16)],
)
def test_other_heads_are_read_once(config: ModelConfig, precision: str, bits: float) -> None:
    whole = config.vocabulary_size * 2880 * bits / 8
    assert head_bytes(config, precision) == pytest.approx(whole, rel=1e-4)


def test_many_sequences_read_no_row_twice() -> None:
    searched = 201_088 * 2880 * 4.5 / 8
    whole = 201_088 * 2880 * 8.5 / 8
    several, many = (head_bytes(LARGE, "fast", count) - searched for count in (3, 1000))
    assert 2 < several / (4096 * 2880 * 8.5 / 8) < 3
    assert many == pytest.approx(whole, rel=1e-4)


def test_each_sequence_computes_its_likeliest_logits_again() -> None:
    for sequences in (1, 7):
        more = next_token(LARGE, "fast", sequences).operations
        more -= next_token(SMALL, "fast", sequences).operations
        rows = 201_088 - SMALL.vocabulary_size + 4096
        assert more == pytest.approx(2 * sequences * rows * 2880)


def test_an_exact_token_reads_every_weight_it_needs() -> None:
    """Counted from the shapes: a few experts, all dense matrices, and no position before it."""
    config = replace(random_config(0), experts=8, experts_per_token=3)
    expert = 3 * config.hidden_size * config.intermediate_size * 4.25 / 8
    dense = config.hidden_size * (config.query_width + config.key_value_width) * 2 * 2
    head = config.vocabulary_size * config.hidden_size * 2
    cache = 2 * config.key_value_width * 4
    wanted = config.layers * (3 * expert + dense + cache) + head
    assert next_token(config, "exact").bytes == pytest.approx(wanted)
