"""The program as a whole: versions, wrong use, closed pipes, full disks."""

import subprocess
import sys
from pathlib import Path

import pytest
from processes import COMMAND, motet

import motet as package


def test_version_needs_nothing_heavy() -> None:
    assert motet("--version").stdout == f"motet {package.__version__}\n"
    heavy = "numpy", "rich", "tiktoken", "regex", "prompt_toolkit", "motet.harmony"
    probe = f"import sys, motet.cli.main; print([name for name in {heavy} if name in sys.modules])"
    loaded = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True)
    assert loaded.stdout == "[]\n"


@pytest.mark.parametrize(
    "arguments",
    [
        ["sing"],
        ["--sing"],
        ["generate", "--effort", "huge", "Hi"],
        ["inspect"],
        ["harmony", "sing"],
    ],
)
def test_wrong_use_is_explained(arguments: list[str]) -> None:
    done = motet(*arguments)
    assert done.returncode == 2
    assert "Usage" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_reader_that_goes_away_is_no_error() -> None:
    many = "[200008]\n" * 20_000
    command = " ".join([*COMMAND, "harmony", "parse", "--jsonl", "| head -n 1"])
    done = subprocess.run(command, shell=True, input=many, capture_output=True, text=True)
    assert done.stdout.count("\n") == 1
    assert done.stderr == ""


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a device that is always full")
def test_a_full_disk_is_one_sentence() -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [*COMMAND, "harmony", "parse"],
            input="[200008]",
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
        )
    assert done.returncode == 2
    assert done.stderr.startswith("motet: ")
    assert done.stderr.count("\n") == 1
