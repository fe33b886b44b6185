"""The head of a large vocabulary in the fast modes: searched in 4 bits, the greatest logits in 8.

The oracles are models that differ in their head alone. One has it in 4 bits and no other; two have
half of its rows each, so few that nothing is searched: a row's logit depends on no other row.
"""

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray
from random_models import random_checkpoint, random_config, random_tokens
from this_machine import INSTRUCTION_SETS, model_on

from motet import _native
from motet.checkpoint import Checkpoint, ModelConfig, Tensor, from_bf16, to_bf16
from motet.checkpoint.config import FULL, SLIDING
from motet.engine.native import Precision

HEAD, EMBEDDING, SEARCHED = "lm_head.weight", "model.embed_tokens.weight", "lm_head.searched"
LEAST = _native.REFINED_LOGITS
MOST = LEAST + LEAST // 4
HALF = 16_384  # of the vocabulary, of which prompts take their tokens
PROMPT = 20
NAN = 0x7FC0  # in bfloat16

Floats = NDArray[np.float32]


def config_of(vocabulary_size: int, hidden_size: int) -> ModelConfig:
    return replace(
        random_config(7),
        layers=2,
        layer_types=(SLIDING, FULL),
        hidden_size=hidden_size,
        intermediate_size=32,
        experts=5,
        experts_per_token=2,
        vocabulary_size=vocabulary_size,
    )


# Rows long enough for every kernel; neither they nor the vocabulary come out even.
WIDE = random_checkpoint(config_of(33_001, 544))
NARROW = random_checkpoint(config_of(40_003, 64))


def prompt(number: int = 0, length: int = PROMPT) -> NDArray[np.int32]:
    return random_tokens(config_of(HALF, 32), length, number)


def with_head(checkpoint: Checkpoint, rows: NDArray[np.uint16]) -> Checkpoint:
    head = Tensor(HEAD, "BF16", rows.shape, rows)
    return replace(checkpoint, tensors={**checkpoint.tensors, HEAD: head})


def head_of(checkpoint: Checkpoint) -> NDArray[np.uint16]:
    """A copy of its rows, to be changed."""
    rows: NDArray[np.uint16] = checkpoint.tensors[HEAD].data.copy()
    return rows


def part(checkpoint: Checkpoint, rows: slice) -> Checkpoint:
    """The model whose head has these rows only."""
    head = checkpoint.tensors[HEAD].data[rows]
    embedding = checkpoint.tensors[EMBEDDING].data[: len(head)]
    cut = Tensor(EMBEDDING, "BF16", embedding.shape, embedding)
    return with_head(
        replace(
            checkpoint,
            config=replace(checkpoint.config, vocabulary_size=len(head)),
            tensors={**checkpoint.tensors, EMBEDDING: cut},
        ),
        head,
    )


def four_bits(isa: str, rows: NDArray[np.uint16]) -> NDArray[np.uint8]:
    """Blocks [rows, bytes] as the kernels of an instruction set encode them."""
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("MOTET_ISA", isa)
        values, scales = _native.encode(from_bf16(rows), 4)
    blocks = (len(rows), rows.shape[1] // 32, -1)
    pair = (scales.view(np.uint8).reshape(blocks), values.reshape(blocks))
    return np.concatenate(pair, axis=2).reshape(len(rows), -1)


def logits_of(model: _native.Model, tokens: NDArray[np.int32]) -> Floats:
    return model.step([(model.sequence(), tokens, tokens.size)])


def in_8_bits(
    isa: str, checkpoint: Checkpoint, tokens: NDArray[np.int32], precision: Precision = "fast"
) -> Floats:
    halves = []
    for rows in (slice(HALF), slice(HALF, None)):
        model = model_on(isa, part(checkpoint, rows), precision=precision)
        assert SEARCHED not in model.derived()
        halves.append(logits_of(model, tokens))
    return np.concatenate(halves, axis=1)


def in_4_bits(
    isa: str, checkpoint: Checkpoint, tokens: NDArray[np.int32], precision: Precision = "fast"
) -> Floats:
    rows = checkpoint.tensors[HEAD].data
    head = Tensor(HEAD, "INT4", rows.shape, four_bits(isa, rows))  # type: ignore[arg-type]
    stored = replace(checkpoint, tensors={**checkpoint.tensors, HEAD: head})
    model = model_on(isa, stored, precision=precision)
    assert HEAD not in model.derived()
    return logits_of(model, tokens)


def assert_refined(found: Floats, four: Floats, eight: Floats) -> None:
    """What is greatest in `four` is as in `eight`, all others are as in `four`."""
    for got, rough, fine in zip(found, four, eight, strict=True):
        limit = rough[~np.isnan(rough) & (got != rough)].min()
        assert LEAST <= (rough >= limit).sum() <= MOST
        assert np.array_equal(got, np.where(rough >= limit, fine, rough), equal_nan=True)


@pytest.mark.parametrize("isa", INSTRUCTION_SETS)
@pytest.mark.parametrize("precision", ["fast", "fast4"])
def test_the_greatest_logits_are_those_of_8_bits_and_the_others_of_4(
    isa: str, precision: Precision
) -> None:
    model = model_on(isa, WIDE, precision=precision)
    dtype, blocks = model.derived()[SEARCHED]
    assert dtype == "INT4"
    assert np.array_equal(blocks, four_bits(isa, WIDE.tensors[HEAD].data))
    four, eight = (way(isa, WIDE, prompt(), precision) for way in (in_4_bits, in_8_bits))
    assert_refined(logits_of(model, prompt()), four, eight)


@pytest.mark.parametrize("isa", INSTRUCTION_SETS)
def test_the_likeliest_token_is_that_of_8_bits(isa: str) -> None:
    """Even of random logits, whose largest lie closer together than a language model's."""
    tokens = prompt(length=300)
    found = logits_of(model_on(isa, NARROW, precision="fast"), tokens)
    four, eight = (way(isa, NARROW, tokens) for way in (in_4_bits, in_8_bits))
    assert np.array_equal(found.argmax(1), eight.argmax(1))
    assert (four.argmax(1) != eight.argmax(1)).mean() > 0.1


@pytest.mark.parametrize("isa", INSTRUCTION_SETS)
@pytest.mark.parametrize("precision", ["fast", "fast4"])
def test_bits_do_not_depend_on_company_chunks_wanted_rows_or_threads(
    isa: str, precision: Precision
) -> None:
    tokens, others = prompt(), prompt(1)
    alone, shared = (
        model_on(isa, WIDE, precision=precision, threads=threads) for threads in (1, 3)
    )
    wanted, others_wanted = (logits_of(alone, each) for each in (tokens, others))
    sequence, other = shared.sequence(), shared.sequence()
    for first, last, rows in ((0, 1, 1), (1, 3, 2), (3, 8, 1), (8, 12, 0), (12, 20, 8)):
        step = slice(first, last)
        found = shared.step([(other, others[step], last - first), (sequence, tokens[step], rows)])
        expected = (others_wanted[step], wanted[last - rows : last])
        assert np.array_equal(found, np.concatenate(expected))


@pytest.mark.parametrize("isa", INSTRUCTION_SETS)
@pytest.mark.parametrize("same", [NARROW.config.vocabulary_size, 39_000])
def test_of_equal_logits_the_first_are_refined_behind_all_greater_ones(isa: str, same: int) -> None:
    rows = head_of(NARROW)
    rows[:same] = rows[5]
    checkpoint = with_head(NARROW, rows)
    found = logits_of(model_on(isa, checkpoint, precision="fast"), prompt())
    four, eight = (way(isa, checkpoint, prompt()) for way in (in_4_bits, in_8_bits))
    for got, rough, fine in zip(found, four, eight, strict=True):
        expected = rough.copy()
        refined = np.argsort(-rough, kind="stable")[:MOST]
        expected[refined] = fine[refined]
        assert np.array_equal(got, expected)


@pytest.mark.parametrize("isa", INSTRUCTION_SETS)
def test_what_is_no_number_stays_where_it_is(isa: str) -> None:
    rows = head_of(NARROW)
    spoilt = [0, 17, *range(20_000, 20_040), len(rows) - 1]
    rows[spoilt, 3] = NAN
    checkpoint = with_head(NARROW, rows)
    found = logits_of(model_on(isa, checkpoint, precision="fast"), prompt())
    four, eight = (way(isa, checkpoint, prompt()) for way in (in_4_bits, in_8_bits))
    assert np.array_equal(np.flatnonzero(np.isnan(found).any(0)), spoilt)
    assert_refined(found, four, eight)


@pytest.mark.parametrize("isa", INSTRUCTION_SETS)
def test_a_head_without_numbers_gives_none(isa: str) -> None:
    checkpoint = with_head(NARROW, np.full_like(head_of(NARROW), NAN))
    model = model_on(isa, checkpoint, precision="fast")
    assert np.isnan(logits_of(model, prompt())).all()


@pytest.mark.parametrize("isa", INSTRUCTION_SETS)
def test_logits_beyond_all_numbers_are_found_too(isa: str) -> None:
    rows = head_of(NARROW)
    rows[[7, 30_000]] = to_bf16(
        np.array([[1e6], [-1e6]], np.float32)
    )  # infinite in 4 bits, but not in 8
    checkpoint = with_head(NARROW, rows)
    found = logits_of(model_on(isa, checkpoint, precision="fast"), prompt())
    four, eight = (way(isa, checkpoint, prompt()) for way in (in_4_bits, in_8_bits))
    assert np.isposinf(four).any()
    assert not np.isposinf(found).any()
    assert_refined(found, four, eight)


@pytest.mark.parametrize("precision", ["exact", "fast", "fast4"])
def test_only_large_vocabularies_are_searched_and_only_in_the_fast_modes(
    precision: Precision,
) -> None:
    for size in (_native.SEARCHED_VOCABULARY - 1, _native.SEARCHED_VOCABULARY):
        checkpoint = random_checkpoint(config_of(size, 32))
        model = model_on(INSTRUCTION_SETS[-1], checkpoint, precision=precision)
        searched = precision != "exact" and size == _native.SEARCHED_VOCABULARY
        assert (SEARCHED in model.derived()) == searched
