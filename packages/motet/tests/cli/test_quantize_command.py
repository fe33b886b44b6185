"""`motet quantize` and `motet dequantize`: there and back, what is printed, and what is refused."""

import json
from pathlib import Path

import numpy as np
import pytest
from processes import COMMAND, Terminal, motet

from motet.checkpoint import open_checkpoint


@pytest.fixture(scope="module")
def wide(random_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("wide") / "model"
    done = motet("dequantize", random_model, target)
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr.startswith(f"Wrote {target}.\n")
    return target


def test_there_and_back(wide: Path, random_model: Path, tmp_path: Path) -> None:
    target = tmp_path / "back"
    done = motet("quantize", wide, target, "--method", "plain")
    assert (done.returncode, done.stderr) == (0, f"Wrote {target}.\n")
    assert "gate_up_proj              4.25   0.00000" in done.stdout
    first, second = open_checkpoint(random_model), open_checkpoint(target)
    for name, tensor in first.tensors.items():
        if not name.endswith(("_blocks", "_scales")):
            assert np.array_equal(second.tensors[name].data, tensor.data), name
    answer = motet("generate", "Hello", "--model", target, "--maximum-tokens", "5", "--json")
    assert answer.returncode == 4, answer.stderr  # cut after five tokens
    assert json.loads(answer.stdout)["messages"]


def test_everything_at_once(wide: Path, tmp_path: Path) -> None:
    """Calibrated from JSON lines, dual-scaled, as GGUF, compared on a text, reported as JSON."""
    calibration, trial = tmp_path / "calibration.jsonl", tmp_path / "trial.txt"
    calibration.write_text(f"{json.dumps({'tokens': list(range(300))})}\n\n[1, 2, 3]\n")
    trial.write_text("The quick brown fox jumps over the lazy dog. " * 5)
    target = tmp_path / "model.gguf"
    options = ("--method", "calibrated", "--calibration", calibration, "--dual-scaled")
    others = ("--attention", "mxfp4", "--embeddings", "int8", "--evaluate", trial, "--report", "-")
    done = motet("quantize", wide, target, *options, *others)
    assert (done.returncode, done.stderr) == (0, f"Wrote {target}.\n")
    report = json.loads(done.stdout)
    assert len(report["tensors"]) == 2 * (4 + 2)
    assert {each["bits"] for each in report["tensors"]} == {4.25}
    assert 0 < report["comparison"]["divergence"] < 0.5
    assert report["comparison"]["positions"] > 100
    assert open_checkpoint(target).tensors["lm_head.weight"].dtype == "Q8_0"
    shown = motet("quantize", wide, tmp_path / "model", "--evaluate", trial)
    assert "beside the source: divergence 0." in shown.stdout


def test_the_progress_in_a_terminal(wide: Path, tmp_path: Path) -> None:
    command = [*COMMAND, "quantize", str(wide), str(tmp_path / "model")]
    with Terminal(command) as terminal:
        terminal.wait_for("Writing")
        terminal.wait_for("Wrote")
        assert terminal.leave() == 0


def assert_refused(reason: str, *arguments: str | Path) -> None:
    done = motet(*arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("motet: ")
    assert reason in done.stderr
    assert done.stderr.count("\n") == 1


def test_what_is_refused(wide: Path, random_model: Path, tmp_path: Path) -> None:
    target, text = tmp_path / "out", tmp_path / "text.txt"
    text.write_text("")
    assert_refused("does not exist", "quantize", tmp_path / "nothing", target)
    assert_refused("not a gpt-oss model", "quantize", tmp_path, target)
    assert_refused("MXFP4 already", "quantize", random_model, target)
    assert_refused("are not MXFP4", "dequantize", wide, target)
    assert_refused("needs --calibration", "quantize", wide, target, "--method", "calibrated")
    assert_refused("is for --method", "quantize", wide, target, "--calibration", text)
    assert_refused("holds no text", "quantize", wide, target, "--evaluate", text)
    text.with_suffix(".jsonl").write_text("[9999]")
    assert_refused(
        "does not have", "quantize", wide, target, "--evaluate", text.with_suffix(".jsonl")
    )
    assert_refused(".gguf file", "quantize", wide, target, "--attention", "int8")
    assert_refused("not empty", "quantize", wide, random_model)
    assert_refused("no folder", "dequantize", random_model, tmp_path / "no" / "model")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["text.jsonl", "text.txt"]


def test_without_projective(wide: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Dual scaling says what is missing before anything is written."""
    (tmp_path / "projective.py").write_text("raise ImportError\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    assert_refused("pip install", "quantize", wide, tmp_path / "out", "--dual-scaled")
    assert not list(tmp_path.glob("out*"))
