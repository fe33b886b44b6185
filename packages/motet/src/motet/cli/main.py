"""The `motet` program: its commands, its version and how it ends.

Exit codes: 0 done, 2 wrong use or bad input, 3 the model called a function, 4 the model gave no
whole final answer, 130 interrupted.
"""

import os
import sys
from io import TextIOWrapper
from typing import Annotated

import typer

from motet.cli.bench import bench
from motet.cli.chat import chat
from motet.cli.generate import generate
from motet.cli.harmony import harmony
from motet.cli.inspect import inspect
from motet.cli.quantize import dequantize, quantize
from motet.cli.serve import serve
from motet.cli.terminal import complain
from motet.errors import MotetError

app = typer.Typer(pretty_exceptions_enable=False, add_completion=False, no_args_is_help=True)
app.command()(chat)
app.command()(generate)
app.command()(serve)
app.command()(inspect)
app.command()(quantize)
app.command()(dequantize)
app.add_typer(harmony, name="harmony")
app.add_typer(bench, name="bench")


def print_version(wanted: bool) -> None:
    """Print the version and end, if it was asked for."""
    if wanted:
        from motet import __version__

        typer.echo(f"motet {__version__}")
        raise typer.Exit


@app.callback()
def motet(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=print_version, is_eager=True, help="Print the version and exit."
        ),
    ] = False,
) -> None:
    """Run, talk to and look into OpenAI's gpt-oss models and their relatives."""


def main() -> None:
    """Run the command line; every error a person can cause ends in one sentence and code 2."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        app(prog_name="motet")
    except MotetError as error:
        complain(str(error))
    except OSError as error:
        complain(f"{error.filename or 'writing the output'}: {error.strerror or error}")
        # What could not be written must not be tried again while Python shuts down.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    sys.exit(2)
