"""What `motet bench model` prints: the machine, the model, a line for each phase."""

from __future__ import annotations

import resource
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from motet.checkpoint import open_checkpoint
from motet.checkpoint.inspection import show_bytes
from motet.cli.documents import json_text
from motet.cli.terminal import Waiting, write
from motet.engine.benchmark import Figure, Machine, measure, measure_machine, phases
from motet.engine.native import Precision, native_model
from motet.engine.readable import readable_weights


def measure_model(
    path: Path,
    *,
    prompts: Sequence[int],
    depths: Sequence[int],
    batches: Sequence[int],
    rounds: int,
    precision: Precision,
    threads: int | None,
    as_json: bool,
) -> None:
    """Measure and print as it goes, or everything at the end as JSON."""
    with Waiting("Measuring the machine"):
        machine = measure_machine(threads)
    with Waiting(f"Opening {path}"):
        started = time.perf_counter()
        checkpoint = open_checkpoint(path)
        model = native_model(checkpoint, precision=precision, threads=machine.threads)
        start = time.perf_counter() - started
    derived = sum(blocks.nbytes for _, blocks in model.derived().values())
    if not as_json:
        write(_heading(machine, model.instruction_set, precision, start, derived))
    figures = []
    for phase in phases(prompts, depths, batches):
        with Waiting(f"Measuring {phase.name}"), readable_weights(checkpoint):
            figure = measure(model, checkpoint.config, phase, machine, precision, rounds)
        figures.append(figure)
        if not as_json:
            write(_line(figure))
    if as_json:
        report = {
            "machine": asdict(machine) | {"instruction_set": model.instruction_set},
            "precision": precision,
            "start_seconds": start,
            "derived_bytes": derived,
            "peak_resident_bytes": _peak_resident_bytes(),
            "phases": [_as_json(figure) for figure in figures],
        }
        write(f"{json_text(report, indent=2)}\n")
    else:
        write(f"peak memory {show_bytes(_peak_resident_bytes())}, mapped files included\n")


def _heading(
    machine: Machine, instruction_set: str, precision: str, start: float, derived: int
) -> str:
    return (
        f"{machine.threads} threads, {instruction_set}:"
        f" memory {machine.read_bytes / 1e9:.1f} GB/s,"
        f" int8 {machine.int8_operations / 1e9:.0f} GOPS,"
        f" float32 {machine.float_operations / 1e9:.0f} GFLOPS\n"
        f"{precision}: opened in {start:.1f} s, {show_bytes(derived)} derived\n\n"
        f"{'':<16}{'tokens/s':>10}{'limit':>10}{'share':>8}\n"
    )


def _line(figure: Figure) -> str:
    return (
        f"{figure.phase.name:<16}{figure.tokens_per_second:>10.1f}{figure.limit:>10.1f}"
        f"{figure.share:>8.0%}\n"
    )


def _as_json(figure: Figure) -> dict[str, Any]:
    return (
        asdict(figure.phase)
        | asdict(figure.cost)
        | {
            "operations_per_second": figure.operations_per_second,
            "tokens_per_second": figure.tokens_per_second,
            "limit_tokens_per_second": figure.limit,
            "share": figure.share,
            "read_bytes": figure.read_bytes,
        }
    )


def _peak_resident_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
