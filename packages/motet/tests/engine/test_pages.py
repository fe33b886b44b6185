"""Sequences that share pages: the bits are those of sequences that read everything themselves."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from random_models import random_checkpoint, random_config, random_tokens

from motet import _native
from motet.checkpoint.config import FULL, SLIDING
from motet.engine.native import Precision, native_model
from motet.engine.pages import PAGE, PageSizes

BASE = replace(random_config(0), layers=3, layer_types=(SLIDING, FULL, SLIDING))
TOKENS = random_tokens(BASE, 700)


def model_with(window: int, precision: Precision = "exact") -> _native.Model:
    return native_model(
        random_checkpoint(replace(BASE, sliding_window=window)), precision=precision, threads=1
    )


def read(model: _native.Model, sequence: _native.Sequence, tokens: NDArray[np.int32]) -> bytes:
    return model.step([(sequence, tokens, tokens.size)]).tobytes()


def alone(model: _native.Model, tokens: NDArray[np.int32], rows: int) -> bytes:
    return model.step([(model.sequence(), tokens, rows)]).tobytes()


@pytest.mark.parametrize("precision", ["exact", "fast"])
@pytest.mark.parametrize(("window", "reach"), [(1, 0), (2, 1), (64, 1), (66, 2), (128, 2)])
def test_a_sequence_goes_on_from_the_pages_of_another(
    window: int, reach: int, precision: Precision
) -> None:
    model = model_with(window, precision)
    assert PageSizes.of(model, replace(BASE, sliding_window=window)).reach == reach
    first = model.sequence()
    read(model, first, TOKENS[:300])
    for count in range(reach, 5):
        full = [first.full_page(i) for i in range(count)]
        sliding = [first.sliding_page(i) for i in range(count - reach, count)]
        second = model.sequence()
        second.adopt(full, [page for page in sliding if page])
        assert second.length == count * PAGE
        assert read(model, second, TOKENS[second.length : 310]) == alone(
            model, TOKENS[:310], 310 - count * PAGE
        )


def test_shared_pages_live_as_long_as_their_last_owner() -> None:
    model = model_with(128)
    page = sum(model.page_bytes)
    first, second = model.sequence(), model.sequence()
    read(model, first, TOKENS[:129])
    assert model.cache_bytes == 3 * page
    pages = [first.full_page(0), first.full_page(1)]
    windows = [w for w in (first.sliding_page(0), first.sliding_page(1)) if w]
    second.adopt(pages, windows)
    first.clear()
    assert model.cache_bytes == 2 * page
    assert all(each.shared for each in (*pages, *windows))
    second.clear()
    assert not any(each.shared for each in (*pages, *windows))
    del pages, windows
    assert model.cache_bytes == 0


def test_pages_that_cannot_be_shared() -> None:
    model = model_with(128)
    sequence = model.sequence()
    read(model, sequence, TOKENS[:200])
    full = [sequence.full_page(i) for i in range(3)]
    sliding = [page for i in range(3) if (page := sequence.sliding_page(i))]
    with pytest.raises(ValueError, match="only full pages"):
        sequence.full_page(3)
    with pytest.raises(ValueError, match="only an empty sequence"):
        sequence.adopt(full, sliding)
    for wrong in ((full, sliding[2:]), (full, []), (full[:1], sliding)):
        with pytest.raises(ValueError, match="reaches further back"):
            model.sequence().adopt(*wrong)
    with pytest.raises(ValueError, match="other layers"):
        model.sequence().adopt(sliding, sliding)
    with pytest.raises(ValueError, match="another model"):
        model_with(128).sequence().adopt(full, sliding)


def test_what_would_be_missed_cannot_be_forgotten() -> None:
    model = model_with(128)
    sequence = model.sequence()
    read(model, sequence, TOKENS[:400])
    shared = sequence.full_page(4)
    with pytest.raises(ValueError, match="is shared"):
        sequence.truncate(300)
    sequence.truncate(320)
    assert shared.shared
    sequence.trim()
    with pytest.raises(ValueError, match="let go"):
        sequence.truncate(190)
    with pytest.raises(ValueError, match="beyond its length"):
        sequence.truncate(321)
    assert read(model, sequence, TOKENS[320:330]) == alone(model, TOKENS[:330], 10)


@settings(deadline=None, max_examples=40)
@given(
    window=st.sampled_from([1, 5, 64, 70, 128]),
    steps=st.lists(st.tuples(st.integers(1, 90), st.integers(0, 89)), min_size=1, max_size=8),
)
def test_forgotten_positions_leave_no_trace(window: int, steps: list[tuple[int, int]]) -> None:
    model = model_with(window)
    sequence = model.sequence()
    other = random_tokens(BASE, 800, seed=1)
    for count, forgotten in steps:
        length = sequence.length
        read(model, sequence, np.concatenate((TOKENS[length:][:count], other[:forgotten])))
        sequence.truncate(length + count)
        sequence.trim()
    end = sequence.length
    assert read(model, sequence, TOKENS[end : end + 1]) == alone(model, TOKENS[: end + 1], 1)


@given(
    full=st.integers(0, 5),
    sliding=st.integers(0, 5),
    reach=st.integers(0, 4),
    limit=st.integers(0, 300),
    most=st.integers(1, 3000),
)
def test_the_capacity_is_what_fits(
    full: int, sliding: int, reach: int, limit: int, most: int
) -> None:
    sizes = PageSizes(full, sliding, reach)
    capacity = sizes.capacity(limit, most)
    assert sizes.needed(capacity) <= limit or capacity == 0
    assert capacity == most or sizes.needed(capacity + 1) > limit
