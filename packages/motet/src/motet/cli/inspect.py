"""`motet inspect`: what a checkpoint is, whether it is whole, and what running it takes.

With `--speed` it measures the machine for three seconds and says how fast the model could at best
run on it; `motet bench model` says how fast it does.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from motet.cli.documents import json_text
from motet.cli.terminal import Waiting, write

if TYPE_CHECKING:
    from motet.checkpoint import ModelConfig
    from motet.checkpoint.inspection import CheckpointReport


def inspect(
    path: Annotated[
        Path, typer.Argument(metavar="PATH", help="A folder with a checkpoint, or a GGUF file.")
    ],
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the report as JSON, also of a broken checkpoint.")
    ] = False,
    speed: Annotated[
        bool, typer.Option("--speed", help="Measure the machine, and say how fast it could be.")
    ] = False,
) -> None:
    """Print what a checkpoint is, whether it is whole, and what memory it needs.

    Exit code 2 and one sentence on stderr if it is broken.
    """
    from motet.checkpoint import CheckpointError
    from motet.checkpoint.inspection import inspect_checkpoint

    with Waiting(f"Looking at {path}"):
        report = inspect_checkpoint(path)
    limits = _speed_limits(report.config) if speed else {}
    if as_json:
        speeds = {"speed_limits": limits} if speed else {}
        write(f"{json_text(report_json(report) | speeds, indent=2)}\n")
    if report.problem:
        raise CheckpointError(report.problem)
    if not as_json:
        write("".join(f"{line}\n" for line in report.lines()))
        for name, limit in limits.items():
            write(f"At most here: {name:<28}{limit:>10,.1f} tokens/s\n")


def _speed_limits(config: "ModelConfig") -> dict[str, float]:
    """What this machine's memory and arithmetic allow, in tokens a second."""
    from motet.engine.benchmark import measure_machine
    from motet.engine.cost import step_cost

    with Waiting("Measuring the machine"):
        machine = measure_machine()
    deep = min(8192, config.context_length // 2)
    limits = {}
    for precision in ("fast", "fast4"):
        for name, tokens, depth in (("prompt of 512", 512, 0), ("answer", 1, 0), ("", 1, deep)):
            cost = step_cost(config, sequences=1, tokens=tokens, depth=depth, precision=precision)
            label = f"{name or f'answer at {deep}'}, {precision}"
            limits[label] = tokens / machine.limit(cost, precision)
    return limits


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
