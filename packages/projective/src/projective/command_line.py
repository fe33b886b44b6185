"""The command `projective`: decompose a file's matrix and write what comes of it.

    projective decompose data.csv --out form.csv --factors factors.csv

prints a short report. Every error is one sentence on stderr and exit code 2; nothing is then
written. A form that exists only as a limit, or an iteration that has not converged, is written and
remarked upon.
"""

import argparse
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path

from projective.decomposition import (
    DEFAULT_MAX_PASSES,
    DEFAULT_TOLERANCE,
    Decomposition,
    decompose,
)
from projective.errors import ProjectiveError, ProjectiveWarning
from projective.iteration import METHODS
from projective.structure import Status
from projective.tables import Table, check_writable, read, write, write_factors


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    options = _parser().parse_args(arguments)
    try:
        _decompose(options)
    except ProjectiveError as error:
        print(error, file=sys.stderr)
        return 2
    except (OSError, MemoryError) as error:
        print(f"Stopped: {error or 'not enough memory'}.", file=sys.stderr)
        return 2
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="projective", description="Split a matrix into its scale and its scale-invariant form."
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    command = commands.add_parser(
        "decompose",
        help="decompose a file's matrix",
        description="Reads csv, tsv, parquet, npy, npz (SciPy), mtx and h5ad, as the ending says.",
    )
    command.add_argument("matrix", type=Path, help="the file to read")
    command.add_argument("--out", type=Path, help="write the form here, in any of these formats")
    command.add_argument("--factors", type=Path, help="write scale and factors here, as .csv")
    command.add_argument(
        "--zeros",
        choices=("observed", "missing"),
        default="observed",
        help="what zeros are; as missing ones they count in no mean (default: observed)",
    )
    command.add_argument("--tolerance", type=float, default=DEFAULT_TOLERANCE, metavar="T")
    command.add_argument("--max-passes", type=int, default=DEFAULT_MAX_PASSES, metavar="N")
    command.add_argument("--method", choices=tuple(METHODS), default="anderson")
    return parser


def _decompose(options: argparse.Namespace) -> None:
    if options.out is not None:
        check_writable(options.out)
    if options.factors is not None:
        check_writable(options.factors, factors=True)
    table = read(options.matrix)
    with warnings.catch_warnings(record=True) as remarks:
        warnings.simplefilter("always", ProjectiveWarning)
        result = decompose(
            table.matrix,
            zeros=options.zeros,
            tolerance=options.tolerance,
            max_passes=options.max_passes,
            method=options.method,
        )
    if result.status is Status.NONE:
        raise ProjectiveError(result.explanation)
    for remark in remarks:
        print(f"Note: {remark.message}", file=sys.stderr)
    print(_report(options.matrix, table, result))
    if options.out is not None:
        write(options.out, table, result)
        print(f"form        {options.out}")
    if options.factors is not None:
        write_factors(options.factors, table, result)
        print(f"factors     {options.factors}")


def _report(path: Path, table: Table, result: Decomposition) -> str:
    """What was found, in a few aligned lines."""
    rows, columns = result.shape
    record = result.convergence
    lines = [
        f"matrix      {path}, {rows} × {columns}",
        f"status      {result.status}: {result.explanation}",
        f"scale       {result.scale:.6g}",
        _extremes("row", result.row_factors.tolist(), table.row_names),
        _extremes("column", result.column_factors.tolist(), table.column_names),
        f"iteration   {record.passes} passes ({record.method}), residual {record.residual:.1e}",
    ]
    return "\n".join(lines)


def _extremes(axis: str, factors: list[float], names: list[str] | None) -> str:
    """The least and the largest factor, and whose they are."""
    places = range(len(factors))
    low, high = min(places, key=factors.__getitem__), max(places, key=factors.__getitem__)
    whose = [names[place] if names else f"{axis} {place}" for place in (low, high)]
    title = f"{axis}s".ljust(12)
    return f"{title}{factors[low]:.4g} ({whose[0]}) to {factors[high]:.4g} ({whose[1]})"
