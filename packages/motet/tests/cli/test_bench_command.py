"""`motet bench`: synthetic and converted models, and what it refuses to do."""

import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from processes import COMMAND, Terminal, motet

from motet.checkpoint import ModelConfig, open_checkpoint, published
from motet.checkpoint.gguf import huggingface_tensors
from motet.cli import main
from motet.engine import benchmark
from motet.harmony import Vocabulary


@pytest.fixture
def converted(random_model: Path, tmp_path: Path) -> Path:
    target = tmp_path / "model.gguf"
    done = motet("bench", "convert", random_model, target)
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr == f"Wrote {target}.\n"
    return target


def test_a_converted_model(
    converted: Path, random_model: Path, small_vocabulary: Vocabulary
) -> None:
    checkpoint = open_checkpoint(converted)
    original = open_checkpoint(random_model)
    assert checkpoint.config == original.config
    assert checkpoint.vocabulary == small_vocabulary
    for tensor in huggingface_tensors(checkpoint):
        if tensor.dtype != "F32":
            assert np.array_equal(tensor.data, original.tensors[tensor.name].data), tensor.name
    assert [path.name for path in converted.parent.iterdir()] == ["model.gguf"]


def test_the_progress_in_a_terminal(random_model: Path, tmp_path: Path) -> None:
    target = tmp_path / "model.gguf"
    command = [*COMMAND, "bench", "convert", str(random_model), str(target)]
    with Terminal(command) as terminal:
        terminal.wait_for("Writing")
        terminal.wait_for("Wrote")
        assert terminal.leave() == 0
    assert target.is_file()


def test_inspecting_it(converted: Path) -> None:
    done = motet("inspect", converted)
    assert (done.returncode, done.stderr) == (0, "")
    assert "GGUF (llama.cpp)" in done.stdout
    assert "MXFP4" in done.stdout


def test_talking_to_it(converted: Path) -> None:
    options = ("--model", converted, "--maximum-tokens", "12", "--temperature", "0", "--json")
    done = motet("generate", "Hello", *options)
    assert done.returncode == 4, done.stderr  # a random model that is cut after twelve tokens
    assert json.loads(done.stdout)["messages"]


def test_measuring_a_model(random_model: Path) -> None:
    sizes = ("--prompts", "8", "--depths", "100", "--batches", "2", "--rounds", "1")
    done = motet("bench", "model", random_model, *sizes, "--json")
    assert (done.returncode, done.stderr) == (0, "")
    report = json.loads(done.stdout)
    assert [phase["name"] for phase in report["phases"]] == ["prompt 8", "answer at 100", "batch 2"]
    assert all(0 < phase["share"] < 1 for phase in report["phases"])
    assert all(phase["read_bytes"] > 0 for phase in report["phases"])
    assert report["machine"]["read_bytes"] > 1e8
    assert report["derived_bytes"] > 0
    shown = motet("bench", "model", random_model, *sizes, "--precision", "exact")
    assert (shown.returncode, shown.stderr) == (0, "")
    assert "answer at 100" in shown.stdout
    few = motet("bench", "model", random_model, *sizes, "--prompts", "", "--batches", "")
    assert "prompt" not in few.stdout
    assert_refused("--depths is '1,x'", "model", random_model, "--depths", "1,x")
    assert_refused("--batches is '1'", "model", random_model, "--batches", "1")


def assert_refused(reason: str, *arguments: str | Path) -> None:
    done = motet("bench", *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("motet: ")
    assert reason in done.stderr
    assert done.stderr.count("\n") == 1


def test_what_is_refused(converted: Path, random_model: Path, tmp_path: Path) -> None:
    before = converted.read_bytes()
    assert_refused("exists already", "convert", random_model, converted)
    assert_refused("exists already", "synth", converted, "--shape", "20b")
    assert converted.read_bytes() == before
    assert_refused("is GGUF already", "convert", converted, tmp_path / "other.gguf")
    assert_refused("is not a gpt-oss model", "convert", tmp_path / "..", tmp_path / "other.gguf")
    nowhere = tmp_path / "no" / "model"
    for form in ("safetensors", "gguf"):
        assert_refused("no folder", "synth", nowhere, "--shape", "120b", "--format", form)
    assert_refused("not empty", "synth", tmp_path, "--shape", "20b", "--layers", "1")
    assert [path.name for path in tmp_path.iterdir()] == ["model.gguf"]


@pytest.mark.parametrize("arguments", [["--shape", "7b"], [], ["--shape", "20b", "--layers", "0"]])
def test_wrong_use(tmp_path: Path, arguments: list[str]) -> None:
    done = motet("bench", "synth", tmp_path / "model", *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert not list(tmp_path.iterdir())


@pytest.fixture
def small_shapes(monkeypatch: pytest.MonkeyPatch) -> None:
    """The published models, but for the sizes that make them large."""
    whole = published.published_config

    def small(shape: published.Shape, layers: int | None = None) -> ModelConfig:
        return replace(
            whole(shape, layers or 2),
            hidden_size=32,
            intermediate_size=32,
            attention_heads=2,
            key_value_heads=1,
            head_dim=32,
        )

    monkeypatch.setattr(published, "published_config", small)


def synth(monkeypatch: pytest.MonkeyPatch, *arguments: str | Path) -> None:
    """The command in this process, as the real shapes are too large for a test."""
    monkeypatch.setattr(sys, "argv", ["motet", "bench", "synth", *map(str, arguments)])
    with pytest.raises(SystemExit) as ended:
        main.main()
    assert ended.value.code == 0


@pytest.mark.usefixtures("small_shapes")
def test_the_same_weights_in_both_formats(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synth(monkeypatch, tmp_path / "folder", "--shape", "20b", "--layers", "1", "--seed", "7")
    synth(monkeypatch, tmp_path / "m.gguf", "--shape", "20b", "--layers", "1", "--seed", "7")
    folder, file = open_checkpoint(tmp_path / "folder"), open_checkpoint(tmp_path / "m.gguf")
    assert (folder.layout, file.layout) == ("huggingface", "gguf")
    assert folder.config == file.config
    assert (file.config.layers, file.config.experts) == (1, 32)
    assert file.vocabulary == folder.vocabulary
    for tensor in huggingface_tensors(file):
        if tensor.dtype != "F32":
            assert np.array_equal(tensor.data, folder.tensors[tensor.name].data), tensor.name
    assert sorted(path.name for path in tmp_path.iterdir()) == ["folder", "m.gguf"]


@pytest.mark.usefixtures("small_shapes")
def test_another_seed_and_a_format_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = "model.layers.0.mlp.experts.down_proj_blocks"
    blocks = []
    for seed in ("1", "2"):
        target = tmp_path / f"seed-{seed}"
        synth(monkeypatch, target, "--shape", "120b", "--layers", "1", "--seed", seed)
        blocks.append(open_checkpoint(target).tensors[name].data)
    assert not np.array_equal(*blocks)


def test_memory_that_cannot_be_had_to_measure_with(
    random_model: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(benchmark, "_MEMORY_BYTES", 1 << 60)
    monkeypatch.setattr(sys, "argv", ["motet", "bench", "model", str(random_model)])
    with pytest.raises(SystemExit) as ended:
        main.main()
    assert ended.value.code == 2
    assert f"{1 << 30} GiB of it must be free: MemoryError" in capsys.readouterr().err
