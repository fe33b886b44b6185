"""Every setting of a server, in one class: name, type, default, and what it means.

A setting is given as a flag of `motet serve`, as `MOTET_NAME` in the environment, or by its name in
a TOML file (`--config`); the first of these that names it counts. docs/server.md shows the table
that `settings_table` makes of this class. Light on purpose: the command line reads it for its help.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, Field, dataclass, field, fields
from pathlib import Path
from typing import Annotated, Any, Literal, get_type_hints

from annotated_types import Ge, Le

from motet.errors import MotetError

PREFIX = "MOTET_"
IN_MEMORY = ("sqlite://", "sqlite:///:memory:")
_LOOPBACK = ("localhost", "127.0.0.1", "::1")


class SettingsError(MotetError):
    """A setting that cannot be used; says which and why."""


def about(meaning: str, shown: str | None = None) -> dict[str, str | None]:
    """What a setting means and, where the default is worked out, what it comes to."""
    return {"help": meaning, "shown": shown}


@dataclass
class Settings:
    """How a server runs."""

    model: Path | None = field(
        default=None,
        metadata=about(
            "A folder with a gpt-oss checkpoint, or a GGUF file.", "the embedded nano model"
        ),
    )
    engine: list[str] = field(
        default_factory=list,
        metadata=about(
            "Address of a vLLM, SGLang, llama.cpp or Motet server that runs the model instead.",
            "this machine",
        ),
    )
    name: list[str] = field(
        default_factory=list,
        metadata=about("A name the model answers to; the first one is shown.", "the folder's name"),
    )
    precision: Literal["fast", "fast4", "exact"] = field(
        default="fast",
        metadata=about(
            "8-bit activations; half of attention in 4 bits too; or float32 throughout."
        ),
    )
    threads: Annotated[int, Ge(1), Le(256)] | None = field(
        default=None, metadata=about("Processor threads for the model.", "the processors there are")
    )
    key_value_limit: Annotated[int, Ge(2**20)] | None = field(
        default=None,
        metadata=about(
            "Bytes for the keys and values of all requests and of the prefix cache.",
            "half of the memory beside the weights",
        ),
    )
    maximum_waiting: Annotated[int, Ge(1)] = field(
        default=256,
        metadata=about(
            "Requests that may wait for their turn; any further one is answered with 429."
        ),
    )
    speculation: bool = field(
        default=False,
        metadata=about("Let the engine try guessed tokens where that saves time."),
    )
    host: str = field(
        default="127.0.0.1", metadata=about("Address to listen on; 0.0.0.0 is every one.")
    )
    port: Annotated[int, Ge(0), Le(65535)] = field(
        default=8000, metadata=about("Port to listen on; 0 takes a free one, which the log names.")
    )
    keys: Path | None = field(
        default=None,
        metadata=about("File of hashed API keys; without keys nobody is asked.", "none"),
    )
    requests_per_key: Annotated[int, Ge(0)] = field(
        default=0,
        metadata=about(
            "Requests one key may have at once, where its line says no other number; 0 is any."
        ),
    )
    allowed_hosts: list[str] = field(
        default_factory=list,
        metadata=about(
            "Names this server may be called by (Host header).",
            "any; localhost alone if it listens there only",
        ),
    )
    cors_origins: list[str] = field(
        default_factory=list,
        metadata=about("Web origins whose pages may use this server; * is any.", "none"),
    )
    maximum_body: Annotated[int, Ge(1024)] = field(
        default=32 * 2**20, metadata=about("Bytes a request may have.", "32 MiB")
    )
    request_seconds: Annotated[float, Ge(0)] = field(
        default=3600.0, metadata=about("Seconds after which an answer is broken off; 0 is never.")
    )
    drain_seconds: Annotated[int, Ge(0)] = field(
        default=30,
        metadata=about("Seconds that running requests are given when the server is to end."),
    )
    store: str = field(
        default="sqlite://",
        metadata=about(
            "SQLAlchemy URL for responses and conversations, such as sqlite:////var/lib/motet.db.",
            "in memory",
        ),
    )
    store_hours: Annotated[float, Ge(0)] = field(
        default=720.0, metadata=about("Hours after which stored responses are deleted; 0 is never.")
    )
    remembered_turns: Annotated[int, Ge(0)] = field(
        default=4096,
        metadata=about(
            "Turns ending in a call whose exact tokens are kept in memory for the next request."
        ),
    )
    log_level: Literal["debug", "info", "warning", "error"] = field(
        default="info", metadata=about("From where on log lines are written.")
    )
    log_prompts: bool = field(
        default=False,
        metadata=about("Log what is asked and answered; otherwise no such word is logged."),
    )

    @property
    def is_local(self) -> bool:
        """Whether only this machine can reach the server."""
        return self.host in _LOOPBACK

    @property
    def hosts(self) -> list[str]:
        """The names of the Host header that are answered."""
        if self.allowed_hosts:
            return self.allowed_hosts
        return [*_LOOPBACK[:2], "[::1]"] if self.is_local else ["*"]


def read_settings(
    flags: Mapping[str, Any],
    config: Path | None = None,
    environment: Mapping[str, str] = os.environ,
) -> Settings:
    """The settings that flags, environment and file give together. Raises SettingsError."""
    from pydantic import TypeAdapter, ValidationError

    values = _from_file(config) if config else {}
    values |= dict(_from_environment(environment))
    values |= {name: value for name, value in flags.items() if value is not None and value != []}
    try:
        return TypeAdapter(Settings).validate_python(values)
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(str(part) for part in first["loc"][:1])
        raise SettingsError(
            f"The setting {name} cannot be {first['input']!r}: {first['msg']}."
        ) from error


def _from_file(path: Path) -> dict[str, Any]:
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsError(f"{path} cannot be read: {error.strerror}.") from error
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise SettingsError(f"{path} is not TOML: {error}.") from error
    known = {each.name for each in fields(Settings)}
    if unknown := sorted(values.keys() - known):
        raise SettingsError(f"{path} sets {unknown[0]}, which is none of {', '.join(known)}.")
    return values


def _from_environment(environment: Mapping[str, str]) -> Iterator[tuple[str, Any]]:
    for each in fields(Settings):
        text = environment.get(f"{PREFIX}{each.name.upper()}")
        if text is not None:
            yield each.name, text.split(",") if _is_list(each) else text


def _is_list(each: Field[Any]) -> bool:
    return each.default_factory is not MISSING


def setting_types() -> dict[str, Any]:
    """The types of all settings, with their bounds."""
    return get_type_hints(Settings, include_extras=True)


def shown_default(each: Field[Any]) -> str:
    """The default, in words."""
    return str(each.metadata["shown"] or each.default)


def settings_table() -> str:
    """The table of docs/server.md."""
    lines = ["| flag | environment | file | default | meaning |", "|---|---|---|---|---|"]
    for each in fields(Settings):
        flag, variable = f"--{each.name.replace('_', '-')}", f"{PREFIX}{each.name.upper()}"
        lines.append(
            f"| `{flag}` | `{variable}` | `{each.name}` | {shown_default(each)} "
            f"| {each.metadata['help']} |"
        )
    return "\n".join(lines) + "\n"
