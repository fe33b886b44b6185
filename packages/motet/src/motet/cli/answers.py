"""How one turn of the model appears: bare in a pipe, whole as JSON, set out in a terminal.

An `Answer` is fed the events of one turn and closed with the turn itself. None loses an answer:
where no text reached the channel `final`, the bare kind prints what there is and says so. The chain
of thought is shown as the model wrote it, and marked so. Remarks on the turn go to stderr.
"""

from asyncio import CancelledError, Runner, current_task, get_running_loop
from collections.abc import Iterator
from contextlib import aclosing, contextmanager, suppress
from dataclasses import asdict
from enum import IntEnum
from signal import SIGINT
from typing import Protocol

from rich.console import Console
from rich.text import Text

from motet.agent import Turn
from motet.cli.documents import json_text
from motet.cli.terminal import Waiting, note, printable, write
from motet.engine import FinishReason
from motet.harmony import (
    ANALYSIS,
    FINAL,
    HarmonyEvent,
    MessageEnded,
    MessageStarted,
    TextDelta,
)

THINKING = "thinking (unfiltered)"


class Outcome(IntEnum):
    """How a turn ended, as the exit code that `generate` gives it."""

    ANSWERED = 0
    CALLED = 3
    INCOMPLETE = 4
    STOPPED = 130


def outcome(turn: Turn) -> Outcome:
    """How a turn that is over ended."""
    if turn.finish is None:
        return Outcome.STOPPED
    if turn.finish is FinishReason.LENGTH:
        return Outcome.INCOMPLETE
    if turn.messages and turn.messages[-1].recipient:
        return Outcome.CALLED
    return Outcome.ANSWERED if final_text(turn).strip() else Outcome.INCOMPLETE


def remark(turn: Turn) -> str | None:
    """One sentence on a turn that did not end in a whole answer."""
    match outcome(turn):
        case Outcome.ANSWERED:
            return None
        case Outcome.CALLED:
            return f"The model called {turn.messages[-1].recipient} and waits for its result."
        case Outcome.STOPPED:
            return "Stopped."
        case Outcome.INCOMPLETE if turn.finish is FinishReason.LENGTH:
            return f"Cut after {turn.generated_tokens} tokens, at the limit or the context's end."
        case Outcome.INCOMPLETE:
            return "The model ended without a final answer."


def final_text(turn: Turn) -> str:
    """The messages on the channel `final`, one below the other."""
    return "\n".join(message.text for message in turn.messages if message.channel == FINAL)


class Answer(Protocol):
    """Shows the events of one turn as they come."""

    def show(self, event: HarmonyEvent, /) -> None:
        """Show one event."""

    def close(self, turn: Turn, /) -> None:
        """Show what is left when the turn is over, was stopped or failed."""


def play(runner: Runner, turn: Turn, answer: Answer) -> Outcome:
    """Run a turn to its end or to Ctrl-C, showing it as it comes."""

    async def follow() -> None:
        with _cancelled_by_interrupt():
            async with aclosing(turn.events()) as events:
                async for event in events:
                    answer.show(event)

    try:
        with suppress(KeyboardInterrupt, CancelledError):
            runner.run(follow())
    finally:
        for event in turn.unread:
            answer.show(event)
        answer.close(turn)
    if sentence := remark(turn):
        note(sentence)
    return outcome(turn)


@contextmanager
def _cancelled_by_interrupt() -> Iterator[None]:
    """Cancel this task at Ctrl-C.

    The handler that `Runner` sets does not wake an event loop that is just about to wait; one
    added to the loop does.
    """
    task, loop = current_task(), get_running_loop()
    assert task is not None
    loop.add_signal_handler(SIGINT, task.cancel)
    try:
        yield
    finally:
        loop.remove_signal_handler(SIGINT)


class PlainAnswer:
    """The final answer alone on standard output; everything about it on stderr."""

    def __init__(self) -> None:
        self._final = False
        self._unfinished_line = False

    def show(self, event: HarmonyEvent, /) -> None:
        """Write the text of final messages as it comes."""
        match event:
            case MessageStarted():
                self._end_line()
                self._final = event.channel == FINAL
            case TextDelta() if self._final and event.text:
                write(event.text)
                self._unfinished_line = not event.text.endswith("\n")

    def close(self, turn: Turn, /) -> None:
        """End the line; print what never reached `final`, and say what was wrong."""
        self._end_line()
        if final_text(turn).strip():
            return
        said = [message.text for message in turn.messages if message.text.strip()]
        for text in said:
            write(f"{text}\n")
        if said:
            note("No text reached the final channel; what the model did say is printed.")

    def _end_line(self) -> None:
        if self._unfinished_line:
            write("\n")
        self._unfinished_line = False


class JsonAnswer:
    """The whole turn as one JSON object on standard output, messages in openai-harmony's shape."""

    def show(self, _event: HarmonyEvent, /) -> None:
        """Wait for the end."""

    def close(self, turn: Turn, /) -> None:
        """Print everything there is to know about the turn."""
        report = {
            "messages": [message.to_json() for message in turn.messages],
            "repairs": [asdict(repair) for repair in turn.repairs],
            "finish_reason": turn.finish,
            "prompt_tokens": turn.prompt_tokens,
            "generated_tokens": turn.generated_tokens,
            "forced_tokens": turn.forced_tokens,
            "ended_thinking": turn.ended_thinking,
        }
        write(f"{json_text(report, indent=2)}\n")


class TerminalAnswer:
    """The whole turn in a terminal: thoughts dimmed and marked, calls named, the answer plain."""

    def __init__(self, console: Console, *, hide_thinking: bool) -> None:
        self._console = console
        self._waiting = Waiting("thinking").start()
        self._hide_thinking = hide_thinking
        self._style: str | None = ""
        self._inside = False

    def show(self, event: HarmonyEvent, /) -> None:
        """Show one event; a hidden thought keeps the line that says it is thinking."""
        match event:
            case MessageStarted():
                self._begin(event.channel, event.recipient)
            case TextDelta() if self._style is not None:
                self._print(event.text, self._style)
                self._inside = True
            case MessageEnded():
                self._end()

    def close(self, _turn: Turn, /) -> None:
        """Leave the screen as the next prompt wants it."""
        self._end()
        self._waiting.stop()

    def _begin(self, channel: str | None, recipient: str | None) -> None:
        self._style = "dim" if recipient or channel == ANALYSIS else ""
        if recipient:
            self._heading(f"calls {recipient}")
        elif channel == ANALYSIS and self._hide_thinking:
            self._style = None
        elif channel == ANALYSIS:
            self._heading(THINKING)

    def _end(self) -> None:
        if self._inside:
            self._print("\n\n")
        self._inside = False

    def _heading(self, text: str) -> None:
        self._print(f"{text}\n", "dim italic")

    def _print(self, text: str, style: str = "") -> None:
        self._waiting.stop()
        self._console.print(Text(printable(text)), style=style, end="", soft_wrap=True)
