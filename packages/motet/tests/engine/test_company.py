"""A sequence's logits are bits that depend on nothing but its own tokens.

Not on who else is in the batch and for how long, not on how its tokens were divided among steps,
not on the number of threads: on every instruction set, at every precision, in random mixes.
"""

from dataclasses import dataclass, replace
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from random_models import random_checkpoint, random_config, random_tokens
from this_machine import INSTRUCTION_SETS, model_on

from motet._native import Model
from motet.checkpoint.config import FULL, SLIDING
from motet.engine.native import Precision

# Large enough that a single token's products are shared among threads too, and no larger.
CHECKPOINT = random_checkpoint(
    replace(
        random_config(7),
        layers=2,
        layer_types=(SLIDING, FULL),
        hidden_size=320,
        intermediate_size=32,
        experts=5,
        experts_per_token=2,
        sliding_window=40,
    )
)
LONGEST = 100
CHUNKS = (1, 1, 1, 2, 3, 4, 5, 9, 17, 33, 65)


@dataclass(frozen=True)
class Visit:
    """A sequence that joins at step `start` and brings these chunks of its tokens, step by step.

    `wanted`: after how many of a chunk's tokens logits are asked for, at most.
    """

    start: int
    chunks: tuple[int, ...]
    wanted: int

    def part(self, step: int) -> slice:
        """Its tokens in that step."""
        begun = step - self.start
        if begun < 0:
            return slice(0, 0)
        first = sum(self.chunks[:begun])
        return slice(first, first + sum(self.chunks[begun : begun + 1]))


VISITS = st.builds(
    Visit,
    start=st.integers(0, 4),
    chunks=st.lists(st.sampled_from(CHUNKS), min_size=1, max_size=5)
    .map(tuple)
    .filter(lambda chunks: sum(chunks) <= LONGEST),
    wanted=st.sampled_from((0, 1, LONGEST)),
)


def tokens_of(number: int) -> NDArray[np.int32]:
    return random_tokens(CHECKPOINT.config, LONGEST, number)


@cache
def model(isa: str, precision: Precision, threads: int) -> Model:
    return model_on(isa, CHECKPOINT, precision=precision, threads=threads)


@cache
def logits_alone(isa: str, precision: Precision, number: int) -> NDArray[np.float32]:
    """Logits [tokens, vocabulary] of a sequence that is computed at once, by one thread."""
    alone = model(isa, precision, 1)
    return alone.step([(alone.sequence(), tokens_of(number), LONGEST)])


@pytest.mark.parametrize("isa", INSTRUCTION_SETS)
@pytest.mark.parametrize("precision", ["exact", "fast", "fast4"])
@given(visits=st.lists(VISITS, min_size=1, max_size=6), threads=st.integers(1, 4))
@settings(max_examples=8, deadline=None, derandomize=True)
def test_bits_do_not_depend_on_company_chunks_or_threads(
    isa: str, precision: Precision, visits: list[Visit], threads: int
) -> None:
    running = model(isa, precision, threads)
    sequences = [running.sequence() for _ in visits]
    for step in range(max(visit.start + len(visit.chunks) for visit in visits)):
        batch, wanted = [], []
        for number, visit in enumerate(visits):
            part = visit.part(step)
            size = part.stop - part.start
            if size:
                rows = min(size, visit.wanted)
                batch.append((sequences[number], tokens_of(number)[part], rows))
                wanted.append(logits_alone(isa, precision, number)[part.stop - rows : part.stop])
        logits = running.step(batch)
        if batch:
            assert np.array_equal(logits, np.concatenate(wanted))
