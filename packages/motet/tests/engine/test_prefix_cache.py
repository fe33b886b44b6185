"""The tree of known prefixes: what it finds, what it forgets first, and its books."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule
from numpy.typing import NDArray
from random_models import random_checkpoint, random_config, random_tokens

from motet import _native
from motet.checkpoint.config import FULL, SLIDING
from motet.engine.native import native_model
from motet.engine.pages import PAGE, PageSizes
from motet.engine.prefix_cache import PrefixCache

CONFIG = replace(
    random_config(0), layers=2, layer_types=(SLIDING, FULL), sliding_window=128, vocabulary_size=64
)
MODEL = native_model(random_checkpoint(CONFIG), threads=1)
SIZES = PageSizes.of(MODEL, CONFIG)
NODE = SIZES.full + SIZES.sliding


@pytest.fixture
def cache() -> Iterator[PrefixCache]:
    cache = PrefixCache(SIZES.reach)
    yield cache
    cache.clear()
    assert MODEL.cache_bytes == cache.bytes == 0


def tokens(*letters: str) -> NDArray[np.int32]:
    """A page of tokens for each letter."""
    pages = [random_tokens(CONFIG, PAGE, ord(letter)) for letter in "".join(letters)]
    return np.concatenate((*pages, np.zeros(1, np.int32)))


def read(cache: PrefixCache, letters: str) -> _native.Sequence:
    sequence = MODEL.sequence()
    wanted = tokens(letters)
    cache.resume(sequence, wanted)
    MODEL.step([(sequence, wanted[sequence.length :], 0)])
    cache.keep(sequence, wanted)
    sequence.trim()
    cache.check_integrity()
    return sequence


def known(cache: PrefixCache, letters: str) -> int:
    """How many pages a prompt of these would begin with; counts as their use."""
    sequence = MODEL.sequence()
    cache.resume(sequence, tokens(letters))
    return sequence.length // PAGE


def test_the_longest_prefix_is_found(cache: PrefixCache) -> None:
    read(cache, "abcd")
    read(cache, "abxy")
    for letters, pages in {"abcd": 4, "abcz": 3, "abxyz": 4, "az": 1, "zabcd": 0, "": 0}.items():
        assert known(cache, letters) == pages
    assert cache.bytes == 6 * NODE


def test_the_last_token_is_always_left_to_read(cache: PrefixCache) -> None:
    read(cache, "ab")
    sequence = MODEL.sequence()
    cache.resume(sequence, tokens("ab")[:-1])
    assert sequence.length == PAGE


def test_a_shorter_prefix_than_is_there_changes_nothing(cache: PrefixCache) -> None:
    sequence = read(cache, "abc")
    length = sequence.length
    cache.evict(cache.bytes)
    assert known(cache, "abcd") == 3
    cache.resume(sequence, tokens("abcd"))
    assert sequence.length == length


def test_what_was_not_used_longest_goes_first(cache: PrefixCache) -> None:
    for letters in ("abc", "xyz", "uvw"):
        read(cache, letters)
    assert known(cache, "abc") == 3
    cache.evict(3 * NODE)
    assert [known(cache, letters) for letters in ("abc", "xyz", "uvw")] == [3, 0, 3]


def test_sliding_pages_go_from_the_middle_and_stay_where_requests_part(cache: PrefixCache) -> None:
    read(cache, "abcdefgh")
    assert known(cache, "abcdz") == 4
    assert known(cache, "abcdefghz") == 8
    cache.evict(4 * SIZES.sliding)
    cache.check_integrity()
    pages = {"abcdefgh": 8, "abcdefz": 4, "abcdz": 4, "abcz": 0}
    assert {letters: known(cache, letters) for letters in pages} == pages
    read(cache, "abz")  # reads all anew, and what it reads is kept again
    assert known(cache, "aby") == 2


def test_what_a_sequence_holds_is_passed_over(cache: PrefixCache) -> None:
    sequence = read(cache, "abc")
    held = MODEL.cache_bytes
    assert cache.can_evict(SIZES.sliding)
    assert not cache.can_evict(SIZES.sliding + 1)
    cache.clear()
    cache.check_integrity()
    assert MODEL.cache_bytes == held - SIZES.sliding  # the first is out of the window's reach
    sequence.clear()


def test_evicting_says_what_it_freed(cache: PrefixCache) -> None:
    read(cache, "abcd")
    read(cache, "abxyz")
    while cache.bytes:
        before = MODEL.cache_bytes
        assert cache.can_evict(cache.bytes)
        assert not cache.can_evict(cache.bytes + 1)
        freed = cache.evict(1)
        assert 0 < freed == before - MODEL.cache_bytes
        cache.check_integrity()
    assert cache.evict(1) == 0


class Books(RuleBasedStateMachine):
    """Any order of reading, letting go and evicting leaves the books and the bits right."""

    def __init__(self) -> None:
        super().__init__()
        self.cache = PrefixCache(SIZES.reach)

    sequences = Bundle("sequences")

    @rule(target=sequences, letters=st.text("ab", min_size=1, max_size=6))
    def begin(self, letters: str) -> tuple[_native.Sequence, str]:
        sequence = MODEL.sequence()
        wanted = tokens(letters)
        self.cache.resume(sequence, wanted)
        logits = MODEL.step([(sequence, wanted[sequence.length :], 1)])
        assert np.array_equal(logits, MODEL.step([(MODEL.sequence(), wanted, 1)]))
        return sequence, letters

    @rule(held=sequences)
    def keep(self, held: tuple[_native.Sequence, str]) -> None:
        sequence, letters = held
        self.cache.keep(sequence, tokens(letters))
        sequence.trim()

    @rule(held=consumes(sequences))
    def let_go(self, held: tuple[_native.Sequence, str]) -> None:
        held[0].clear()

    @rule(wanted=st.integers(1, 8 * NODE))
    def evict(self, wanted: int) -> None:
        before = MODEL.cache_bytes
        freed = self.cache.evict(wanted)
        assert MODEL.cache_bytes == before - freed

    @invariant()
    def the_books_are_right(self) -> None:
        self.cache.check_integrity()
        assert self.cache.bytes <= MODEL.cache_bytes

    def teardown(self) -> None:
        self.cache.clear()
        self.cache.check_integrity()


TestBooks = Books.TestCase
TestBooks.settings = settings(deadline=None, max_examples=40, stateful_step_count=25)
