"""JSON in and out, and text from standard input: bad bytes and bad JSON become one sentence."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from motet.errors import MotetError


class InputError(MotetError):
    """What was handed to a command cannot be read."""


def read_source(path: Path | None) -> bytes:
    """The bytes of a file, or of standard input for None or `-`."""
    if path is None or str(path) == "-":
        return sys.stdin.buffer.read()
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}.") from error


def read_lines(path: Path | None) -> Iterator[bytes]:
    """The lines of a file or of standard input, each as soon as it is there."""
    if path is None or str(path) == "-":
        yield from sys.stdin.buffer
        return
    try:
        with path.open("rb") as lines:
            yield from lines
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}.") from error


def decode(data: bytes) -> str:
    """UTF-8 to text."""
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"The input is not UTF-8 text (byte {error.start}).") from error


def parse_json(data: bytes) -> Any:
    """One JSON value; NaN and infinities, which JSON does not have, are refused."""
    try:
        return json.loads(decode(data), parse_constant=_refuse)
    except RecursionError as error:
        raise InputError("The input is nested too deeply.") from error
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
        raise InputError(f"The input is not JSON: {error.msg} ({place}).") from error
    except ValueError as error:
        raise InputError(f"The input is not JSON: {error}.") from error


def json_text(value: Any, *, indent: int | None = None) -> str:
    """JSON that any terminal and any encoding can take, readable where it can be."""
    unicode_output = sys.stdout.encoding.lower() in ("utf-8", "utf8")
    text = json.dumps(value, ensure_ascii=not unicode_output, indent=indent)
    # JSON escapes C0 controls itself; the 8-bit ones would still speak to a terminal.
    return text.translate({code: f"\\u{code:04x}" for code in range(0x7F, 0xA0)})


def _refuse(constant: str) -> None:
    raise InputError(f"The input is not JSON: {constant} is no JSON number.")
