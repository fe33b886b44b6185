"""`motet inspect` on whole, broken and missing checkpoints."""

import json
import shutil
from pathlib import Path

import pytest
from processes import motet

from motet.harmony import Vocabulary


def test_a_whole_checkpoint(random_model: Path, small_vocabulary: Vocabulary) -> None:
    done = motet("inspect", random_model)
    assert (done.returncode, done.stderr) == (0, "")
    assert str(random_model) in done.stdout
    assert str(small_vocabulary.size) in done.stdout

    report = json.loads(motet("inspect", "--json", random_model).stdout)
    assert report["whole"] is True
    assert report["config"]["experts"] == 4
    assert report["files"].keys() == {file.name for file in random_model.glob("*.safetensors")}
    assert report["memory_at_full_context"] > report["tensor_bytes"] > 0


def test_the_speed_a_machine_allows(random_model: Path) -> None:
    report = json.loads(motet("inspect", "--json", "--speed", random_model).stdout)
    limits = report["speed_limits"]
    assert len(limits) == 6
    assert limits["answer, fast4"] > limits["answer, fast"] > 0
    shown = motet("inspect", "--speed", random_model).stdout
    assert shown.count("tokens/s") == 6


@pytest.fixture
def broken_model(random_model: Path, tmp_path: Path) -> Path:
    folder = tmp_path / "broken"
    shutil.copytree(random_model, folder)
    shard = next(folder.glob("*.safetensors"))
    shard.write_bytes(shard.read_bytes()[:-100])
    return folder


@pytest.mark.parametrize("command", [["inspect"], ["generate", "Hello", "--model"]])
def test_a_truncated_shard_is_named(broken_model: Path, command: list[str]) -> None:
    done = motet(*command, broken_model)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("motet: ")
    assert done.stderr.count("\n") == 1
    assert next(broken_model.glob("*.safetensors")).name in done.stderr


def test_a_broken_checkpoint_has_a_json_report_too(broken_model: Path) -> None:
    done = motet("inspect", "--json", broken_model)
    report = json.loads(done.stdout)
    assert report["whole"] is False
    assert done.stderr == f"motet: {report['problem']}\n"
    assert done.returncode == 2


def test_no_model_at_all(tmp_path: Path) -> None:
    done = motet("inspect", tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert str(tmp_path) in done.stderr
    assert done.stderr.count("\n") == 1
