"""Matrices in files: CSV, TSV, Parquet, `.npy`, `.npz` (SciPy sparse), MatrixMarket, h5ad.

A `Table` is a matrix with what must come back unchanged: the names of rows and columns, and the
object that a richer format was read into. Reading gives one clear sentence when a file is not what
its ending says; writing goes through a file beside the target, so that none is left half-written.
"""

import csv
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from scipy import io, sparse

from projective.atomic import replacing
from projective.decomposition import Decomposition
from projective.errors import ProjectiveError
from projective.inputs import open_npy

EXTRAS = {".parquet": ("pyarrow", "parquet"), ".h5ad": ("anndata", "h5ad")}
MISSING = frozenset(["", "na", "n/a", "nan", "null", "none", "?"])


@dataclass(frozen=True, slots=True)
class Table:
    """A matrix and its names; `header` is above the row names, `origin` a richer object."""

    matrix: Any
    row_names: list[str] | None = None
    column_names: list[str] | None = None
    header: str = ""
    origin: Any = None


def read(path: Path) -> Table:
    """A file's matrix; the ending says what kind of file it is."""
    reader: Callable[[Path], Table] = _by_ending(path, READERS, "read")
    if not path.is_file():
        raise ProjectiveError(f"There is no file {path}.")
    try:
        return reader(path)
    except ProjectiveError:
        raise
    except Exception as error:  # whatever a format's library raises, the file is what is wrong
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ProjectiveError(f"{path} cannot be read: {reason}") from error


def write(path: Path, table: Table, decomposition: Decomposition) -> None:
    """Write the form under the names of the table it was read from."""
    writer = _by_ending(path, WRITERS, "written")
    if path.suffix == ".npy" and not sparse.issparse(table.matrix):
        decomposition.save_normalized(path)
        return
    form = replace(table, matrix=decomposition.normalized)
    with replacing(path) as partial:
        writer(partial, form, decomposition)


def check_writable(path: Path, *, factors: bool = False) -> None:
    """Find out before the work whether its result can be written."""
    _by_ending(path, {".csv": None} if factors else WRITERS, "written")
    if path.suffix.lower() in EXTRAS:
        _needed(*EXTRAS[path.suffix.lower()])
    if not path.parent.is_dir():
        raise ProjectiveError(f"There is no folder {path.parent} to write {path.name} into.")


def write_factors(path: Path, table: Table, decomposition: Decomposition) -> None:
    """Scale, row factors and column factors as CSV: axis, name, factor."""
    with replacing(path) as partial, partial.open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(["axis", "name", "factor"])
        rows.writerow(["scale", "", repr(decomposition.scale)])
        for axis, names, factors in (
            ("row", table.row_names, decomposition.row_factors),
            ("column", table.column_names, decomposition.column_factors),
        ):
            for place, factor in enumerate(factors.tolist()):
                rows.writerow([axis, names[place] if names else place, repr(factor)])


def _by_ending(path: Path, kinds: dict[str, Any], what: str) -> Any:
    if path.suffix.lower() not in kinds:
        raise ProjectiveError(
            f"{path} cannot be {what}: its ending must be one of {', '.join(sorted(kinds))}."
        )
    return kinds[path.suffix.lower()]


def _read_text(delimiter: str) -> Callable[[Path], Table]:
    def reader(path: Path) -> Table:
        with path.open(newline="", encoding="utf-8-sig") as file:
            lines = [line for line in csv.reader(file, delimiter=delimiter) if line]
        return _table(path, lines)

    return reader


def _table(path: Path, lines: list[list[str]]) -> Table:
    """Find out whether lines of text begin with names of columns and of rows."""
    if not lines:
        raise ProjectiveError(f"{path} is empty.")
    width = len(lines[0])
    for number, line in enumerate(lines, 1):
        if len(line) != width:
            raise ProjectiveError(f"{path}, line {number}: {len(line)} cells and not {width}.")
    named_columns = not all(map(_is_number, lines[0][1:] or lines[0]))
    if not _is_number(lines[0][0]):  # a corner above a column of numbers
        named_columns |= all(_is_number(line[0]) for line in lines[1:])
    body = lines[1:] if named_columns else lines
    named_rows = width > 1 and not all(_is_number(line[0]) for line in body)
    first = int(named_rows)
    values = np.empty((len(body), width - first))
    for row, line in enumerate(body):
        for column, cell in enumerate(line[first:]):
            if not _is_number(cell):
                where = f"line {row + 1 + named_columns}, column {column + 1 + first}"
                raise ProjectiveError(f"{path}, {where}: {cell!r} is not a number.")
            values[row, column] = np.nan if cell.strip().lower() in MISSING else float(cell)
    return Table(
        values,
        [line[0] for line in body] if named_rows else None,
        lines[0][first:] if named_columns else None,
        lines[0][0] if named_columns and named_rows else "",
    )


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return cell.strip().lower() in MISSING
    return True


def _write_text(delimiter: str) -> Callable[[Path, Table, Decomposition], None]:
    def writer(path: Path, table: Table, _: Decomposition) -> None:
        matrix = _filled(table.matrix)
        with path.open("w", newline="", encoding="utf-8") as file:
            lines = csv.writer(file, delimiter=delimiter)
            if table.column_names is not None:
                corner = [table.header] if table.row_names is not None else []
                lines.writerow([*corner, *table.column_names])
            for place, row in enumerate(matrix):
                cells = ["" if np.isnan(value) else repr(value) for value in row.tolist()]
                lines.writerow([table.row_names[place], *cells] if table.row_names else cells)

    return writer


def _filled(matrix: Any) -> Any:
    """A form as a plain array, missing cells NaN."""
    if sparse.issparse(matrix):
        return matrix.toarray()
    return np.ma.filled(np.ma.asarray(matrix), np.nan)


def _read_npy(path: Path) -> Table:
    return Table(open_npy(path))


def _write_npy(path: Path, table: Table, _: Decomposition) -> None:
    np.save(path, _filled(table.matrix))


def _read_npz(path: Path) -> Table:
    return Table(sparse.load_npz(path))


def _write_npz(path: Path, table: Table, _: Decomposition) -> None:
    sparse.save_npz(path, sparse.csr_array(table.matrix))


def _read_market(path: Path) -> Table:
    return Table(io.mmread(path))


def _write_market(path: Path, table: Table, _: Decomposition) -> None:
    io.mmwrite(path, table.matrix if sparse.issparse(table.matrix) else _filled(table.matrix))


def _read_parquet(path: Path) -> Table:
    arrow, parquet = _needed("pyarrow", "parquet"), _needed("pyarrow.parquet", "parquet")
    table = parquet.read_table(path)
    numbers = [name for name in table.column_names if _is_numeric(arrow, table.schema, name)]
    if not numbers:
        raise ProjectiveError(f"{path} has no column of numbers.")
    columns = [table[name].to_numpy().astype(np.float64) for name in numbers]
    return Table(np.column_stack(columns), column_names=numbers, origin=table)


def _is_numeric(arrow: Any, schema: Any, name: str) -> bool:
    kind = schema.field(name).type
    return bool(arrow.types.is_floating(kind) or arrow.types.is_integer(kind))


def _write_parquet(path: Path, table: Table, _: Decomposition) -> None:
    arrow, parquet = _needed("pyarrow", "parquet"), _needed("pyarrow.parquet", "parquet")
    names = table.column_names or [str(place) for place in range(table.matrix.shape[1])]
    columns = dict(zip(names, _filled(table.matrix).T, strict=True))
    if isinstance(table.origin, arrow.Table):  # columns of text stay where they were
        columns = {
            name: columns.get(name, table.origin[name]) for name in table.origin.column_names
        }
    elif table.row_names is not None:
        columns = {table.header or "name": table.row_names, **columns}
    parquet.write_table(arrow.table(columns), path)


def _read_h5ad(path: Path) -> Table:
    data = _needed("anndata", "h5ad").read_h5ad(path)
    return Table(data.X, list(data.obs_names), list(data.var_names), origin=data)


def _write_h5ad(path: Path, table: Table, decomposition: Decomposition) -> None:
    anndata = _needed("anndata", "h5ad")
    form = table.matrix if sparse.issparse(table.matrix) else _filled(table.matrix)
    if isinstance(table.origin, anndata.AnnData):
        data = table.origin.copy()
        data.X = form
    else:
        data = anndata.AnnData(form)
    data.obs["projective_row_factor"] = decomposition.row_factors
    data.var["projective_column_factor"] = decomposition.column_factors
    data.uns["projective_scale"] = decomposition.scale
    data.write_h5ad(path)


def _needed(module: str, extra: str) -> Any:
    """A module that belongs to an extra."""
    try:
        return __import__(module, fromlist=["*"])
    except ImportError as error:
        raise ProjectiveError(f'This format needs: pip install "projective[{extra}]"') from error


READERS: dict[str, Callable[[Path], Table]] = {
    ".csv": _read_text(","),
    ".tsv": _read_text("\t"),
    ".npy": _read_npy,
    ".npz": _read_npz,
    ".mtx": _read_market,
    ".parquet": _read_parquet,
    ".h5ad": _read_h5ad,
}
WRITERS: dict[str, Callable[[Path, Table, Decomposition], None]] = {
    ".csv": _write_text(","),
    ".tsv": _write_text("\t"),
    ".npy": _write_npy,
    ".npz": _write_npz,
    ".mtx": _write_market,
    ".parquet": _write_parquet,
    ".h5ad": _write_h5ad,
}
