"""The wheel alone, in an empty environment, answers."""

import subprocess
import sys
import venv
from pathlib import Path

PACKAGE = Path(__file__).parents[1]


def run(*command: str | Path) -> str:
    """Standard output of a command that must succeed."""
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_an_installed_wheel_answers_without_the_checkout(tmp_path: Path) -> None:
    run(sys.executable, "-m", "build", "--wheel", "--outdir", tmp_path, PACKAGE)
    (wheel,) = tmp_path.glob("motet-*.whl")
    assert wheel.stat().st_size < 25_000_000

    environment = tmp_path / "environment"
    venv.create(environment, with_pip=True)
    run(environment / "bin" / "pip", "install", "--quiet", wheel)
    answer = run(environment / "bin" / "motet", "generate", "What is 123 + 456?")
    assert "579" in answer

    installed = run(environment / "bin" / "pip", "list", "--format", "freeze")
    assert "torch" not in installed
