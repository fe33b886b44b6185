"""The fast mode beside the exact one: close on random models, and as indifferent to company."""

import numpy as np
import pytest
from numpy.typing import NDArray
from random_models import random_checkpoint, random_config, random_tokens

from motet.engine import EngineError
from motet.engine.native import Precision, native_model

PROMPT = 90
INSTRUCTION_SETS = ("portable", "avx2", "avxvnni", "avx512", "dotprod")


@pytest.fixture(params=INSTRUCTION_SETS)
def isa(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("MOTET_ISA", request.param)
    try:
        native_model(random_checkpoint(random_config(0)))
    except EngineError:
        pytest.skip(f"this machine has no {request.param}")
    name: str = request.param
    return name


def relative_error(found: NDArray[np.float32], wanted: NDArray[np.float32]) -> float:
    return float(np.linalg.norm(found - wanted) / np.linalg.norm(wanted))


@pytest.mark.usefixtures("isa")
@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize(("precision", "bound"), [("fast", 0.1), ("fast4", 0.5)])
def test_logits_are_near_the_exact_ones(seed: int, precision: Precision, bound: float) -> None:
    checkpoint = random_checkpoint(random_config(seed), seed)
    tokens = random_tokens(checkpoint.config, PROMPT, seed)
    exact = native_model(checkpoint, precision="exact")
    fast = native_model(checkpoint, precision=precision)
    wanted = exact.step([(exact.sequence(), tokens, PROMPT)])
    found = fast.step([(fast.sequence(), tokens, PROMPT)])
    per_token = np.linalg.norm(found - wanted, axis=1) / np.linalg.norm(wanted, axis=1)
    assert float(np.median(per_token)) < bound  # a random router often sits on the fence
    assert not np.array_equal(found, wanted)
    assert fast.derived()
    assert not exact.derived()


@pytest.mark.usefixtures("isa")
@pytest.mark.parametrize("seed", [1, 4, 7])
@pytest.mark.parametrize("precision", ["fast", "fast4"])
def test_bits_do_not_depend_on_chunks_or_company(seed: int, precision: Precision) -> None:
    checkpoint = random_checkpoint(random_config(seed), seed)
    tokens = random_tokens(checkpoint.config, PROMPT, seed)
    model = native_model(checkpoint, precision=precision, threads=2)
    at_once = model.step([(model.sequence(), tokens, PROMPT)])
    sequence, other = model.sequence(), model.sequence()
    rows = []
    for first in (0, 1, 2, 5, 40, 89):
        last = {0: 1, 1: 2, 2: 5, 5: 40, 40: 89, 89: 90}[first]
        part = tokens[first:last]
        rows.append(model.step([(other, tokens[:7], 0), (sequence, part, part.size)]))
    assert np.array_equal(np.concatenate(rows), at_once)
