"""A cut vocabulary encodes as byte-pair encoding over its own tokens alone."""

from itertools import pairwise
from random import Random

import pytest
import regex
import tiktoken
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from text_strategies import FRAGMENTS

from motet.harmony import Vocabulary, o200k_harmony
from motet.harmony.ranks import o200k_tokens

VOCABULARY = o200k_harmony()
RANKS = {token: rank for rank, token in enumerate(o200k_tokens())}

known_texts = st.lists(st.sampled_from(FRAGMENTS), max_size=25).map("".join)


def merge(piece: bytes, ranks: dict[bytes, int]) -> list[bytes]:
    """Byte-pair encoding as its definition says, in cubic time."""
    if piece in ranks:
        return [piece]
    parts = [bytes([value]) for value in piece]
    while True:
        pairs = [(ranks.get(a + b, len(RANKS)), i) for i, (a, b) in enumerate(pairwise(parts))]
        rank, i = min(pairs, default=(len(RANKS), 0))
        if rank == len(RANKS):
            return parts
        parts[i : i + 2] = [parts[i] + parts[i + 1]]


class Checker:
    """Compares one vocabulary with the reference."""

    def __init__(self, vocabulary: Vocabulary, oracle: tiktoken.Encoding) -> None:
        self.vocabulary = vocabulary
        self.ranks = {o200k_tokens()[rank]: rank for rank in vocabulary.ranks}
        self.pattern = regex.compile(oracle._pat_str)

    def check(self, text: str) -> None:
        pieces = self.pattern.findall(text)
        assert "".join(pieces) == text
        tokens = [token for piece in pieces for token in merge(piece.encode(), self.ranks)]
        ids = self.vocabulary.encode(text)
        assert [self.vocabulary.token_bytes(token) for token in ids] == tokens
        assert self.vocabulary.decode(ids) == text


def tokens_within(text: str) -> list[int]:
    """The ranks of all tokens that occur in `text`."""
    data = text.encode()
    slices = {data[i:j] for i in range(len(data)) for j in range(i + 1, len(data) + 1)}
    return sorted(RANKS[piece] for piece in slices & RANKS.keys())


@settings(
    max_examples=150, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck)
)
@given(text=known_texts, seed=st.integers(0, 2**32), share=st.sampled_from((0.1, 0.5, 0.9, 1.0)))
def test_any_subset(text: str, seed: int, share: float, tiktoken_oracle: tiktoken.Encoding) -> None:
    random = Random(seed)
    within = tokens_within(text)
    kept = random.sample(within, round(share * len(within)))
    elsewhere = random.sample(range(len(RANKS)), 20)
    Checker(VOCABULARY.subset(kept + elsewhere), tiktoken_oracle).check(text)


@pytest.mark.parametrize("count", [256, 300, 1000, 4000, 20_000, 199_998])
def test_first_ranks(count: int, tiktoken_oracle: tiktoken.Encoding) -> None:
    checker = Checker(VOCABULARY.first(count), tiktoken_oracle)
    random = Random(count)
    for _ in range(50):
        text = "".join(random.choices(FRAGMENTS, k=random.randrange(40)))
        checker.check(text)


@pytest.mark.parametrize("length", [100, 499, 500, 501, 900])
def test_long_pieces(length: int, tiktoken_oracle: tiktoken.Encoding) -> None:
    random = Random(length)
    checker = Checker(VOCABULARY.first(3000), tiktoken_oracle)
    for alphabet in ("ab", "etaoinshr", "漢字かな", " "):
        text = "".join(random.choices(alphabet, k=length))
        checker.check(text)


def test_no_digits_together() -> None:
    single_digits = [rank for token, rank in RANKS.items() if not regex.search(rb"\d\d", token)]
    vocabulary = VOCABULARY.subset(single_digits)
    ids = vocabulary.encode("579 of 1234567")
    assert [vocabulary.decode([token]) for token in ids] == [*"579", " of", " ", *"1234567"]
