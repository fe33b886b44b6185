"""Log lines: one JSON object each, or one harmless line for a person."""

import json
import logging
import sys

from motet.server.logs import JsonLines, PlainLines


def record(**fields: object) -> logging.LogRecord:
    try:
        raise ValueError("broken")
    except ValueError:
        made = logging.LogRecord("motet", logging.ERROR, "", 0, "failed", None, sys.exc_info())
    made.fields = fields
    return made


def test_a_line_is_one_json_object() -> None:
    line = JsonLines().format(record(path="/v1/\n\x1b[2J", status=500))
    assert "\n" not in line
    read = json.loads(line)
    assert (read["level"], read["message"], read["status"]) == ("error", "failed", 500)
    assert read["path"] == "/v1/\n\x1b[2J"
    assert "ValueError: broken" in read["error"]


def test_a_line_for_a_person_cannot_command_the_terminal() -> None:
    line, *trace = PlainLines().format(record(path="/v1/\n\x1b[2J\x9b")).split("\n")
    assert "path=/v1/??[2J?" in line
    assert trace[-1] == "ValueError: broken"
