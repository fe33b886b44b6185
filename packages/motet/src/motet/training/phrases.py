"""The words and wordings of the exercises, which live in TOML files beside the code."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any


@cache
def phrase_book(name: str) -> Mapping[str, Any]:
    """The tables of `data/<name>.toml`."""
    path = files("motet.training") / "data" / f"{name}.toml"
    return tomllib.loads(path.read_text(encoding="utf-8"))


@cache
def phrases(name: str, kind: str) -> tuple[str, ...]:
    """The list `kind` of `data/<name>.toml`."""
    return tuple(phrase_book(name)[kind])
