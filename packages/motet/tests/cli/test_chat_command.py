"""`motet chat` in a terminal and in a pipe, the real process."""

import sys
from pathlib import Path

from processes import COMMAND, Terminal, motet

CTRL_C, CTRL_D = "\x03", "\x04"
PROMPT = ">"
SLOW_CHAT = [sys.executable, str(Path(__file__).with_name("slow_chat.py"))]


def test_ctrl_c_stops_the_answer_and_keeps_what_was_said() -> None:
    with Terminal(SLOW_CHAT) as terminal:
        greeting = terminal.wait_for(PROMPT)
        assert "a slow model" in greeting
        assert "It counts." in greeting
        terminal.type("Count.\r")
        terminal.wait_for("one two and on")
        terminal.type(CTRL_C)
        terminal.wait_for("Stopped.")
        terminal.wait_for(PROMPT)
        terminal.type("How far did you get?\r")
        terminal.wait_for("I got to two.")
        terminal.wait_for(PROMPT)
        terminal.type(CTRL_D)
        assert terminal.leave() == 0


def test_ctrl_c_clears_what_was_typed_and_leaves_where_nothing_was() -> None:
    with Terminal(SLOW_CHAT) as terminal:
        terminal.wait_for(PROMPT)
        terminal.type("half a thou")
        terminal.wait_for("half a thou")
        terminal.type(f"{CTRL_C}/new\x7f\x7f\x7fhelp\r")
        terminal.wait_for("/effort LEVEL")
        terminal.wait_for(PROMPT)
        terminal.type(CTRL_C)
        assert terminal.leave() == 0


def test_a_real_model_is_stopped_too(random_model: Path) -> None:
    with Terminal(
        [*COMMAND, "chat", "--model", str(random_model), "--temperature", "0"]
    ) as terminal:
        assert random_model.name in terminal.wait_for(PROMPT)
        terminal.type("Hello\r")
        terminal.wait_for("Hello\n")
        terminal.wait_for("\n")
        terminal.type(CTRL_C)
        terminal.wait_for("Stopped.")
        terminal.wait_for(PROMPT)
        terminal.type(CTRL_D)
        assert terminal.leave() == 0


def test_a_pipe_has_no_greeting_no_prompt_and_no_colours(random_model: Path) -> None:
    done = motet(
        *("chat", "--model", random_model, "--temperature", "0", "--maximum-tokens", "8"),
        stdin="Hello\n\n/help\nHow are you?",
    )
    assert done.returncode == 0
    assert not done.stdout.startswith(PROMPT)
    assert "\x1b" not in done.stdout + done.stderr
    assert done.stderr.count("Cut after 8 tokens") == 2


def test_bytes_that_are_no_text_end_a_pipe(random_model: Path) -> None:
    done = motet("chat", "--model", random_model, stdin=b"\xff\n")
    assert (done.returncode, done.stdout) == (2, "")
    assert "UTF-8" in done.stderr


def test_a_model_that_is_not_there() -> None:
    done = motet("chat", "--model", "openai/gpt-oss-20b")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("motet: openai/gpt-oss-20b is not a folder")
    assert done.stderr.count("\n") == 1
