"""`motet inspect`: what a checkpoint is, whether it is whole, and what running it takes."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from motet.cli.documents import json_text
from motet.cli.terminal import Waiting, write

if TYPE_CHECKING:
    from motet.checkpoint.inspection import CheckpointReport


def inspect(
    path: Annotated[
        Path, typer.Argument(metavar="PATH", help="A folder with a checkpoint, or a GGUF file.")
    ],
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the report as JSON, also of a broken checkpoint.")
    ] = False,
) -> None:
    """Print what a checkpoint is, whether it is whole, and what memory it needs.

    Exit code 2 and one sentence on stderr if it is broken.
    """
    from motet.checkpoint import CheckpointError
    from motet.checkpoint.inspection import inspect_checkpoint

    with Waiting(f"Looking at {path}"):
        report = inspect_checkpoint(path)
    if as_json:
        write(f"{json_text(report_json(report), indent=2)}\n")
    if report.problem:
        raise CheckpointError(report.problem)
    if not as_json:
        write("".join(f"{line}\n" for line in report.lines()))


def report_json(report: "CheckpointReport") -> dict[str, Any]:
    """The report for programs; sizes in bytes."""
    from dataclasses import asdict

    values = asdict(report)
    return values | {
        "path": str(report.path),
        "files": dict(report.files),
        "encodings": dict(report.encodings),
        "whole": report.whole,
        "parameters": report.parameters,
        "active_parameters": report.active_parameters,
        "tensor_bytes": report.tensor_bytes,
        "memory_at_full_context": report.memory_needed(report.config.context_length),
    }
