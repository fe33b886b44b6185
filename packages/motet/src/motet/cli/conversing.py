"""The loop of `motet chat` and its two fronts: a terminal with line editing, and a pipe."""

import sys
from asyncio import Runner
from collections.abc import Iterator
from typing import Protocol

from prompt_toolkit import PromptSession
from prompt_toolkit.history import InMemoryHistory
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent
from rich.console import Console
from rich.text import Text

from motet import __version__
from motet.cli.answers import Answer, Outcome, PlainAnswer, TerminalAnswer, play
from motet.cli.documents import decode
from motet.cli.session import Model, Session
from motet.cli.terminal import complain, note, printable
from motet.errors import MotetError

COMMANDS = """\
/new            forget the conversation and begin again
/effort LEVEL   think less or more: low, medium, high
/exit           leave (so does Ctrl-D)
/help           this list; Ctrl-C stops an answer"""


class Front(Protocol):
    """Where messages come from and answers go to."""

    def lines(self) -> Iterator[str]:
        """What the person says, one message after the other."""

    def answer(self) -> Answer:
        """A place for the next answer."""

    def stopped(self) -> None:
        """Ctrl-C stopped an answer; raises if that should end the program."""


class PipeFront:
    """Lines in, final answers out: no prompts, no colours, no thoughts."""

    def lines(self) -> Iterator[str]:
        """The lines of standard input."""
        for line in sys.stdin.buffer:
            yield decode(line)

    def answer(self) -> Answer:
        """Final text alone."""
        return PlainAnswer()

    def stopped(self) -> None:
        """Nobody is there to go on."""
        raise KeyboardInterrupt


class TerminalFront:
    """A greeting, a prompt with line editing and history, and the whole turn on the screen."""

    def __init__(self, model: Model, *, hide_thinking: bool) -> None:
        self._console = Console(highlight=False)
        self._hide_thinking = hide_thinking
        self._model = model

    def lines(self) -> Iterator[str]:
        """Greet, then prompt until Ctrl-D, or Ctrl-C where nothing was typed."""
        self._greet()
        prompt: PromptSession[str] = PromptSession(
            history=InMemoryHistory(), key_bindings=_leave_or_clear()
        )
        while True:
            try:
                yield prompt.prompt("> ")
            except EOFError:
                return

    def answer(self) -> Answer:
        """The whole turn, thoughts included unless they are to be hidden."""
        return TerminalAnswer(self._console, hide_thinking=self._hide_thinking)

    def stopped(self) -> None:
        """The answer ends, the conversation goes on."""

    def _greet(self) -> None:
        title = Text(f"Motet {__version__}: {printable(self._model.title)}", style="bold")
        self._console.print(title, Text(f", {printable(self._model.place)}"), sep="")
        if self._model.skills:
            self._console.print(self._model.skills, markup=False)
        self._console.print(
            "/help lists the commands, Ctrl-C stops an answer, Ctrl-D leaves.\n", style="dim"
        )


def converse(runner: Runner, session: Session, front: Front) -> bool:
    """Talk until the person leaves; True if every message was answered without an error."""
    all_answered = True
    for line in front.lines():
        word, _, argument = line.strip().partition(" ")
        if word == "/exit":
            break
        try:
            if word.startswith("/") and word[1:].isalpha():
                obey(session, word, argument.strip())
            elif word:
                turn = session.turn(line.strip())
                outcome = play(runner, turn, front.answer())
                session.keep(turn)
                if outcome is Outcome.STOPPED:
                    front.stopped()
        except MotetError as error:
            complain(str(error))
            all_answered = False
    return all_answered


def obey(session: Session, command: str, argument: str) -> None:
    """Do what a line that begins with a slash asks for."""
    match command, argument:
        case "/help", _:
            note(COMMANDS)
        case "/new", _:
            session.restart()
            note("A new conversation.")
        case "/effort", ("low" | "medium" | "high") as effort:
            session.think(effort)
            note(f"Effort is {effort} from now on.")
        case "/effort", _:
            note("Say /effort low, /effort medium or /effort high.")
        case _:
            note(f"There is no command {command}; /help lists them.")


def _leave_or_clear() -> KeyBindings:
    """Ctrl-C clears what was typed, and leaves where nothing was."""
    bindings = KeyBindings()

    @bindings.add("c-c")
    def _(event: KeyPressEvent) -> None:
        if event.current_buffer.text:
            event.current_buffer.reset()
        else:
            event.app.exit(exception=EOFError)

    return bindings
