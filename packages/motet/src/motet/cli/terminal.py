"""What keeps a terminal safe and a waiting person informed.

Text that people, files or models wrote may hold escape sequences. On its way to a terminal every
control character is replaced by a visible one; a pipe gets the text as it is.
"""

import sys
from threading import Timer
from types import TracebackType
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from rich.progress import Progress

PATIENCE_SECONDS = 1.0

# C0 controls have pictures in Unicode from U+2400 on, DEL has its own, C1 controls have none.
_VISIBLE = (
    {code: 0x2400 + code for code in range(0x20)}
    | {0x7F: 0x2421}
    | dict.fromkeys(range(0x80, 0xA0), 0xFFFD)
    | {ord("\t"): "\t", ord("\n"): "\n", ord("\r"): None}
)


def printable(text: str) -> str:
    """The text with every control character but tab and newline made visible or dropped."""
    return text.translate(_VISIBLE)


def write(text: str, stream: TextIO | None = None) -> None:
    """Write to the stream (standard output) at once, harmlessly if it is a terminal."""
    stream = stream or sys.stdout
    stream.write(printable(text) if stream.isatty() else text)
    stream.flush()


def note(sentence: str) -> None:
    """Tell the person something beside the output."""
    write(f"{sentence}\n", sys.stderr)


def complain(sentence: str) -> None:
    """Report an error by name."""
    note(f"motet: {sentence}")


class Waiting:
    """A moving line on stderr while something takes more than a second; gone afterwards.

    Only a terminal shows it. `stop` may be called early and more than once.
    """

    def __init__(self, what: str) -> None:
        self._what = what
        self._progress: Progress | None = None
        self._timer = Timer(PATIENCE_SECONDS, self._show)
        self._timer.daemon = True

    def start(self) -> "Waiting":
        """Begin to wait."""
        if sys.stderr.isatty():
            self._timer.start()
        return self

    def __enter__(self) -> "Waiting":
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """Take the line away."""
        self._timer.cancel()
        if self._timer.is_alive():
            self._timer.join()
        if self._progress:
            self._progress.stop()
            self._progress = None

    def _show(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

        self._progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=24),
            TimeElapsedColumn(),
            console=Console(stderr=True),
            transient=True,
        )
        self._progress.add_task(printable(self._what), total=None)
        self._progress.start()
