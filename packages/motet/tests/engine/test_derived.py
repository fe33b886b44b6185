"""Derived matrices in the user's cache folder: used when they fit, made again when they do not."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from random_models import random_checkpoint, random_config, random_tokens

from motet import _native
from motet.checkpoint import Checkpoint, ModelConfig, open_checkpoint, write_checkpoint
from motet.engine import derived
from motet.engine.native import Precision, native_model

CONFIG = random_config(3)


@pytest.fixture
def checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Checkpoint:
    """A small model on disk, whose matrices are worth keeping, and an empty cache folder."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(derived, "_WORTH_KEEPING", 1)
    return written(tmp_path / "model", seed=3)


def written(folder: Path, seed: int, config: ModelConfig = CONFIG) -> Checkpoint:
    made = random_checkpoint(config, seed)
    write_checkpoint(folder, made.config, made.tensors.values(), replace=folder.exists())
    return open_checkpoint(folder)


def kept_files(tmp_path: Path) -> list[Path]:
    return sorted((tmp_path / "cache" / "motet").iterdir())


@pytest.mark.parametrize("precision", ["fast", "fast4"])
def test_the_second_model_computes_the_same_from_the_file(
    checkpoint: Checkpoint, tmp_path: Path, precision: Precision
) -> None:
    tokens = random_tokens(checkpoint.config, 20, 0)
    first = native_model(checkpoint, precision=precision)
    assert {name: dtype for name, (dtype, _) in first.derived().items()} == {
        name: dtype
        for name in checkpoint.tensors
        if (dtype := derived.derived_dtype(name, precision))
    }
    (file,) = kept_files(tmp_path)
    made = file.stat().st_mtime_ns
    second = native_model(checkpoint, precision=precision)
    assert not second.derived()
    assert [each.stat().st_mtime_ns for each in kept_files(tmp_path)] == [made]
    logits = [model.step([(model.sequence(), tokens, 20)]) for model in (first, second)]
    assert np.array_equal(*logits)


@pytest.mark.parametrize("precision", ["fast", "fast4"])
def test_both_copies_of_a_large_head_are_kept(
    checkpoint: Checkpoint, tmp_path: Path, precision: Precision
) -> None:
    config = replace(CONFIG, vocabulary_size=_native.SEARCHED_VOCABULARY)
    large = written(tmp_path / "large", 3, config)
    tokens = random_tokens(config, 20, 0)
    first = native_model(large, precision=precision)
    kept = derived.kept_matrices(large, precision)
    for name, dtype in (("lm_head.weight", "Q8_0"), (derived.SEARCHED_HEAD, "INT4")):
        assert first.derived()[name][0] == kept[name][0] == dtype
        assert np.array_equal(first.derived()[name][1], kept[name][1])
    second = native_model(large, precision=precision)
    assert not second.derived()
    logits = [model.step([(model.sequence(), tokens, 20)]) for model in (first, second)]
    assert np.array_equal(*logits)


def test_another_model_in_its_place_is_derived_anew(checkpoint: Checkpoint, tmp_path: Path) -> None:
    native_model(checkpoint, precision="fast")
    (old,) = kept_files(tmp_path)
    other = written(checkpoint.path, seed=4)
    assert native_model(other, precision="fast").derived()
    (new,) = kept_files(tmp_path)
    assert new.name != old.name


@pytest.mark.parametrize("damage", [b"", b"\x00" * 100, b"x" * 5000])
def test_a_damaged_file_is_made_again(
    checkpoint: Checkpoint, tmp_path: Path, damage: bytes
) -> None:
    native_model(checkpoint, precision="fast")
    (file,) = kept_files(tmp_path)
    whole = file.read_bytes()
    file.write_bytes(damage)
    assert native_model(checkpoint, precision="fast").derived()
    assert file.read_bytes() == whole


def test_a_cache_that_cannot_be_written_does_not_matter(
    checkpoint: Checkpoint, tmp_path: Path
) -> None:
    (tmp_path / "cache").write_text("a file where a folder should be")
    assert native_model(checkpoint, precision="fast").derived()


def test_small_and_exact_models_leave_nothing(
    checkpoint: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    native_model(checkpoint, precision="exact")
    monkeypatch.undo()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    native_model(checkpoint, precision="fast")
    assert not (tmp_path / "cache").exists()
