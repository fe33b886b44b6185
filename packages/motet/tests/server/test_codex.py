"""Codex CLI from npm against the real process: a whole turn with a tool call, its words scripted.

Codex is taken from the path or, once, from npm into the user's cache folder.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from scripted import Writing
from server_process import ServerProcess

from motet.engine.remote import ServerKind
from motet.harmony import o200k_harmony

sys.path.append(str(Path(__file__).parents[1] / "engine"))
from fake_servers import FakeServer, Plan

VERSION = "0.171.0"
V = o200k_harmony()
CONFIG = """
model = "gpt-oss-test"
model_provider = "motet"
[model_providers.motet]
name = "Motet"
base_url = "{url}"
wire_api = "responses"
"""


@pytest.fixture(scope="module")
def codex() -> str:
    """The program; skips where it cannot be had."""
    if found := shutil.which("codex"):
        return found
    npm = shutil.which("npm")
    if not npm or not shutil.which("node"):
        pytest.skip("neither codex nor node and npm are installed")
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = cache / "motet" / "tests" / f"codex-{VERSION}"
    program = folder / "node_modules" / ".bin" / "codex"
    if not program.exists():
        install = [npm, "install", "--prefix", str(folder), f"@openai/codex@{VERSION}"]
        done = subprocess.run(install, capture_output=True, text=True, timeout=600)
        if done.returncode:
            pytest.skip(f"npm cannot install @openai/codex: {done.stderr.strip()[-300:]}")
    return str(program)


def test_codex_runs_a_command_and_hears_the_answer(codex: str, tmp_path: Path) -> None:
    work, home = tmp_path / "work", tmp_path / "home"
    work.mkdir()
    home.mkdir()
    empty = Writing(vocabulary=V)
    command = json.dumps({"cmd": "echo made by codex > made.txt && cat made.txt"})
    with FakeServer(ServerKind.MOTET, V) as engine:
        engine.card["context_length"] = 131_072
        engine.plans += [
            Plan([0], "length"),
            Plan(empty.thought("I must make a file.").call("exec_command", command).tokens),
            Plan(empty.thought("It is there.").answer("The file is made.").tokens),
        ]
        with ServerProcess("--engine", engine.url) as server:
            (home / "config.toml").write_text(CONFIG.format(url=server.url))
            options = ("--json", "--skip-git-repo-check", "--sandbox", "danger-full-access")
            done = subprocess.run(
                [codex, "exec", *options, "Make a file."],
                cwd=work,
                env={**os.environ, "CODEX_HOME": str(home)},
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=120,
            )
            statuses = [line["status"] for line in server.log if line["message"] == "request"]
    assert done.returncode == 0, done.stderr
    events = [json.loads(line) for line in done.stdout.splitlines()]
    items = [event["item"] for event in events if event["type"] == "item.completed"]
    (ran,) = [item for item in items if item["type"] == "command_execution"]
    assert ran["exit_code"] == 0
    assert items[-1]["text"] == "The file is made."
    assert (work / "made.txt").read_text() == "made by codex\n"
    assert statuses == [200, 200]
    told = V.decode(engine.requests[-1]["prompt"])
    assert "made by codex" in told
    assert "I must make a file." in told  # its thought is in the prompt while the loop runs
