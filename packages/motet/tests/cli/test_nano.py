"""The embedded nano model through the command line: what the README's first screen promises."""

from processes import COMMAND, Terminal, motet

from motet.cli.answers import THINKING


def test_generate_prints_a_true_answer_alone() -> None:
    done = motet("generate", stdin="What is 123 + 456?")
    assert done.stdout == "579\n"
    assert (done.returncode, done.stderr) == (0, "")


def test_chat_in_a_pipe_answers_every_line() -> None:
    done = motet("chat", stdin="What is 123 + 456?\nHello!\n")
    sum_, greeting = done.stdout.splitlines()
    assert sum_ == "579"
    assert greeting
    assert (done.returncode, done.stderr) == (0, "")


def test_chat_in_a_terminal_shows_the_chain_of_thought_and_the_answer() -> None:
    with Terminal([*COMMAND, "chat"]) as terminal:
        assert "embedded nano model" in terminal.wait_for(">")
        terminal.type("What is 123 + 456?\r")
        terminal.wait_for(THINKING)
        terminal.wait_for("579")
        terminal.wait_for(">")
        terminal.type("\x04")
        assert terminal.leave() == 0
