"""Log lines as JSON, one object each. What people and models say is in them only if asked for."""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime

logger = logging.getLogger("motet.server")


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


def log_to_stderr(level: str) -> None:
    """Send the lines of the server to stderr, and of uvicorn what it warns of."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines())
    chosen = getattr(logging, level.upper())
    for name, least in (("motet", chosen), ("uvicorn", max(chosen, logging.WARNING))):
        named = logging.getLogger(name)
        named.handlers = [handler]
        named.setLevel(least)
        named.propagate = False
