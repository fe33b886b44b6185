"""The forward pass in floats beside the engine's exact mode, and the comparison built on it."""

from pathlib import Path

import numpy as np
import pytest
from floating_models import VOCABULARY, floating_model, released_model, texts, weights_of, widened

from motet.checkpoint import CheckpointError, open_checkpoint, open_floating
from motet.checkpoint.gguf import write_gguf
from motet.engine.native import native_model
from motet.quantization import Recipe, compare, quantize_checkpoint
from motet.quantization.forward import final_states, logits


def test_it_computes_what_the_engine_computes(tmp_path: Path) -> None:
    checkpoint = open_checkpoint(released_model(tmp_path / "model"))
    model = native_model(checkpoint)
    weights = weights_of(checkpoint.path)
    wide = weights_of(widened(checkpoint, tmp_path / "wide"), floating=True)
    tokens = texts()
    for each in (weights, wide):
        for text, state in zip(tokens, final_states(checkpoint.config, each, tokens), strict=True):
            ours = logits(checkpoint.config, each, state)
            theirs = model.step([(model.sequence(), text, text.size)])
            np.testing.assert_allclose(ours, theirs, atol=1e-5 * np.abs(theirs).max())


def test_gguf_files_are_read_too(tmp_path: Path) -> None:
    checkpoint = open_checkpoint(released_model(tmp_path / "model"))
    write_gguf(tmp_path / "m.gguf", checkpoint.config, checkpoint.tensors, checkpoint.vocabulary)
    file = open_checkpoint(tmp_path / "m.gguf")
    model, [text] = native_model(file), texts(1)
    [state] = final_states(file.config, weights_of(file.path), [text])
    theirs = model.step([(model.sequence(), text, text.size)])
    ours = logits(file.config, weights_of(file.path), state)
    np.testing.assert_allclose(ours, theirs, atol=1e-5 * np.abs(theirs).max())


def test_comparing_by_hand(tmp_path: Path) -> None:
    """The divergence and agreement that the engine's logits give."""
    source = floating_model(tmp_path / "source", layers=1)
    opened = open_floating(source)
    quantize_checkpoint(opened, tmp_path / "a", Recipe("plain"))
    quantize_checkpoint(opened, tmp_path / "b", Recipe("search"))
    tokens = texts(2)
    found = compare(opened.config, weights_of(tmp_path / "a"), weights_of(tmp_path / "b"), tokens)
    models = [native_model(open_checkpoint(tmp_path / name)) for name in "ab"]
    both = [
        np.concatenate([m.step([(m.sequence(), t, t.size)]) for t in tokens]).astype(float)
        for m in models
    ]
    chances = [np.exp(each) / np.exp(each).sum(axis=1, keepdims=True) for each in both]
    nats = (chances[0] * np.log(chances[0] / chances[1])).sum(axis=1).mean()
    assert found.divergence == pytest.approx(nats, rel=1e-3)
    assert found.agreement == (both[0].argmax(1) == both[1].argmax(1)).mean()
    assert found.positions == 80
    places = [np.arange(40) == 39, np.arange(40) < 0]
    few = compare(
        opened.config, weights_of(tmp_path / "a"), weights_of(tmp_path / "b"), tokens, places
    )
    nats = float((chances[0][39] * np.log(chances[0][39] / chances[1][39])).sum())
    assert (few.positions, few.divergence) == (1, pytest.approx(nats, rel=1e-3))
    same = compare(opened.config, *[weights_of(source, floating=True)] * 2, tokens)
    assert (same.divergence, same.agreement) == (0, 1)


def test_texts_of_another_vocabulary(tmp_path: Path) -> None:
    weights = weights_of(floating_model(tmp_path / "source", layers=1), floating=True)
    with pytest.raises(CheckpointError, match="token ids"):
        compare(
            weights.checkpoint.config, weights, weights, [np.array([VOCABULARY.size], np.int32)]
        )
