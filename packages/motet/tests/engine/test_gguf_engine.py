"""A GGUF file on the engine computes what the numbers in it say."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from random_models import random_checkpoint, random_config, random_tokens
from this_machine import INSTRUCTION_SETS, model_on

from motet import _native
from motet.checkpoint import Checkpoint, open_checkpoint
from motet.checkpoint.config import FULL, SLIDING
from motet.checkpoint.gguf import huggingface_tensors, write_gguf
from motet.harmony import o200k_harmony

PROMPT = 60


@pytest.fixture(params=[1, 4])
def stored(request: pytest.FixtureRequest, tmp_path: Path) -> Checkpoint:
    vocabulary = o200k_harmony().subset(range(256))
    config = random_config(request.param)
    config = replace(
        config,
        vocabulary_size=vocabulary.size,
        swiglu_limit=7.0,
        layer_types=(SLIDING, FULL, SLIDING, FULL)[: config.layers],
    )
    source = random_checkpoint(config, request.param)
    write_gguf(tmp_path / "model.gguf", config, source.tensors, vocabulary)
    return open_checkpoint(tmp_path / "model.gguf")


def as_huggingface(checkpoint: Checkpoint) -> Checkpoint:
    """The same numbers in the other layout, 8-bit ones widened to float32."""
    tensors = {tensor.name: tensor for tensor in huggingface_tensors(checkpoint)}
    return replace(checkpoint, layout="huggingface", tensors=tensors)


@pytest.mark.parametrize("isa", INSTRUCTION_SETS)
def test_logits_are_those_of_the_same_numbers_in_the_other_layout(
    isa: str, stored: Checkpoint
) -> None:
    tokens = random_tokens(stored.config, PROMPT)
    file, plain = model_on(isa, stored), model_on(isa, as_huggingface(stored))
    found = file.step([(file.sequence(), tokens, PROMPT)])
    wanted = plain.step([(plain.sequence(), tokens, PROMPT)])
    assert np.abs(found - wanted).max() < 1e-5 * np.abs(wanted).max()  # other orders of sums


@pytest.mark.parametrize("isa", INSTRUCTION_SETS)
def test_the_fast_mode_takes_8_bit_matrices_as_they_are(isa: str, stored: Checkpoint) -> None:
    tokens = random_tokens(stored.config, PROMPT)
    exact, fast = model_on(isa, stored), model_on(isa, stored, precision="fast")
    assert not fast.derived()
    wanted = exact.step([(exact.sequence(), tokens, PROMPT)])
    found = fast.step([(fast.sequence(), tokens, PROMPT)])
    per_token = np.linalg.norm(found - wanted, axis=1) / np.linalg.norm(wanted, axis=1)
    assert 0 < float(np.median(per_token)) < 0.1


@pytest.mark.parametrize("isa", INSTRUCTION_SETS)
def test_a_large_head_is_searched_in_a_copy_of_its_8_bits(isa: str, tmp_path: Path) -> None:
    config = replace(random_config(4), vocabulary_size=_native.SEARCHED_VOCABULARY + 5)
    config = replace(config, swiglu_limit=7.0, layers=2, layer_types=(SLIDING, FULL))
    write_gguf(tmp_path / "model.gguf", config, random_checkpoint(config, 4).tensors)
    stored = open_checkpoint(tmp_path / "model.gguf")
    assert stored.tensors["lm_head.weight"].dtype == "Q8_0"
    file, plain = (
        model_on(isa, each, precision="fast") for each in (stored, as_huggingface(stored))
    )
    assert list(file.derived()) == ["lm_head.searched"]
    copies = [model.derived()["lm_head.searched"] for model in (file, plain)]
    assert copies[0][0] == "INT4"
    assert np.array_equal(copies[0][1], copies[1][1])
    tokens = random_tokens(config, PROMPT)
    logits = [model.step([(model.sequence(), tokens, PROMPT)]) for model in (file, plain)]
    assert np.array_equal(*logits)
