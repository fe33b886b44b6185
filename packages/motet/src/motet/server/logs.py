"""Log lines: JSON, one object each, or words where a person looks on.

What people and models say is in them only if asked for.
"""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime

logger = logging.getLogger("motet.server")

# A path may hold what a terminal would obey.
_VISIBLE = dict.fromkeys((*range(32), *range(127, 160)), "?")


class JsonLines(logging.Formatter):
    """A record as one JSON object; `extra={"fields": {...}}` adds to it."""

    def format(self, record: logging.LogRecord) -> str:
        """The line, without its end."""
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "message": record.getMessage(),
            **getattr(record, "fields", {}),
        }
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


class PlainLines(logging.Formatter):
    """A record for a person at a terminal."""

    def format(self, record: logging.LogRecord) -> str:
        """The line, and what went wrong below it."""
        fields = getattr(record, "fields", {})
        shown = (f"{name}={value}" for name, value in fields.items())
        clock = datetime.fromtimestamp(record.created).strftime("%H:%M:%S")
        line = " ".join((clock, record.getMessage(), *shown)).translate(_VISIBLE)
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


def log_to_stderr(level: str) -> None:
    """Send the lines of the server to stderr, and of uvicorn what it warns of."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(PlainLines() if sys.stderr.isatty() else JsonLines())
    chosen = getattr(logging, level.upper())
    for name, least in (("motet", chosen), ("uvicorn", max(chosen, logging.WARNING))):
        named = logging.getLogger(name)
        named.handlers = [handler]
        named.setLevel(least)
        named.propagate = False
