"""Settings and keys: where they come from, which one counts, what is refused."""

import re
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from motet.server.errors import ApiError
from motet.server.keys import read_keys
from motet.server.settings import Settings, SettingsError, read_settings, settings_table

DOCUMENT = Path(__file__).parents[4] / "docs" / "server.md"


def test_flags_count_before_the_environment_and_that_before_the_file(tmp_path: Path) -> None:
    config = tmp_path / "motet.toml"
    config.write_text('port = 1\nhost = "a"\nname = ["x"]\nstore = "sqlite:///f"\n')
    environment = {"MOTET_PORT": "2", "MOTET_HOST": "b", "MOTET_NAME": "y,z", "MOTET_KEYS": "k"}
    flags = {"port": 3, "host": None, "name": []}
    settings = read_settings(flags, config, environment)
    assert (settings.port, settings.host, settings.name) == (3, "b", ["y", "z"])
    assert (settings.store, settings.keys) == ("sqlite:///f", Path("k"))
    assert read_settings({}, None, {}) == Settings()


@pytest.mark.parametrize(
    ("environment", "text", "complaint"),
    [
        ({"MOTET_PORT": "many"}, "", "port"),
        ({"MOTET_PORT": "70000"}, "", "port"),
        ({}, "port = -1", "port"),
        ({}, "prot = 1", "prot"),
        ({}, "port = ", "not TOML"),
        ({"MOTET_PRECISION": "half"}, "", "precision"),
        ({"MOTET_KEY_VALUE_LIMIT": "none"}, "", "key_value_limit"),
        ({"MOTET_MAXIMUM_WAITING": "0"}, "", "maximum_waiting"),
        ({"MOTET_LOG_PROMPTS": "perhaps"}, "", "log_prompts"),
    ],
)
def test_bad_settings_are_named(
    tmp_path: Path, environment: dict[str, str], text: str, complaint: str
) -> None:
    config = tmp_path / "motet.toml"
    config.write_text(text)
    with pytest.raises(SettingsError, match=complaint):
        read_settings({}, config, environment)


def test_the_documentation_has_the_table_of_settings() -> None:
    assert settings_table() in DOCUMENT.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("host", "hosts"), [("127.0.0.1", ["localhost", "127.0.0.1", "[::1]"]), ("0.0.0.0", ["*"])]
)
def test_a_local_server_answers_to_local_names_alone(host: str, hosts: list[str]) -> None:
    assert Settings(host=host).hosts == hosts
    assert Settings(host=host, allowed_hosts=["me"]).hosts == ["me"]


def test_keys_come_hashed_from_a_file_and_plain_from_the_environment(tmp_path: Path) -> None:
    path = tmp_path / "keys"
    hashed = {name: sha256(name.encode()).hexdigest() for name in ("one", "two")}
    path.write_text(f"# ours\nann {hashed['one']}\n\nbob {hashed['two']} 3  # a guest\n")
    settings = Settings(keys=path, requests_per_key=7)
    ring = read_keys(settings, {"MOTET_API_KEYS": "three, four"})
    for key, name, requests in (("one", "ann", 7), ("two", "bob", 3), ("four", "environment-2", 7)):
        owner = ring.owner(f"Bearer {key}")
        assert (owner.name, owner.requests) == (name, requests)
    for wrong in (None, "", "Bearer", "Bearer five", "Basic one", f"Bearer {hashed['one']}"):
        with pytest.raises(ApiError) as caught:
            ring.owner(wrong)
        assert caught.value.status == 401
    assert read_keys(Settings(), {}).owner(None).name == "anonymous"


@pytest.mark.parametrize("line", ["ann", "ann plain-key", f"ann {'0' * 64} x", f"a b {'0' * 64}"])
def test_bad_lines_of_keys_are_named(tmp_path: Path, line: str) -> None:
    path = tmp_path / "keys"
    path.write_text(f"# first\n{line}\n")
    with pytest.raises(SettingsError, match=re.escape(f"{path}, line 2")):
        read_keys(Settings(keys=path), {})
    with pytest.raises(SettingsError, match="cannot be read"):
        read_keys(Settings(keys=tmp_path / "none"), {})


@pytest.mark.parametrize("url", ["nonsense", "sqlite:////no/such/folder/x.db", "oracle9://x"])
def test_a_store_that_cannot_be_opened_is_named(url: str) -> None:
    from motet.server.store import Store

    with pytest.raises(SettingsError, match="cannot be opened"):
        Store(url, 1)


def test_an_engine_with_statistics_adds_its_figures() -> None:
    from dataclasses import dataclass, field

    from scripted import PatientEngine

    from motet.server.metrics import Metrics

    @dataclass
    class Totals:
        steps: int = 5

    @dataclass
    class Statistics:
        waiting: int = 2
        totals: Totals = field(default_factory=Totals)

    class Counted(PatientEngine):
        def statistics(self) -> Any:
            return Statistics()

    text = Metrics(Counted(())).text().decode()
    assert "motet_engine_waiting 2.0" in text
    assert "motet_engine_steps_total 5.0" in text
