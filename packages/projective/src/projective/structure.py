"""Whether a pattern of non-zeros has a scale-invariant form, decided before any iteration.

The squares of the form must have given row sums R and column sums C on exactly the pattern. That is
a flow from the rows to the columns along the non-zeros: if none saturates R and C there is no form;
if one does and every non-zero lies on a cycle of the residual graph (its ends are in one strongly
connected component) the form is exact; otherwise the remaining non-zeros are forced to vanish, and
the form exists only as a limit (Brualdi 1968; Menon and Schneider 1969; Rothblum and Schneider
1989).

Feasibility grows with the pattern. So a thin random sample of the non-zeros often proves the whole:
the flow is sought in the sample first, and only where that proves nothing in more of the matrix.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

import numpy as np
from scipy import sparse
from scipy.sparse import csgraph

from projective.capacities import integer_capacities
from projective.cells import Cells, Indices, Inventory, Vector

# Non-zeros of each row and column in the first sample, and how much more there are in each next.
FIRST_SAMPLE = 4
GROWTH = 8
ROUNDING = 1e-9
NAMED = 6


class Status(StrEnum):
    """Whether the scale-invariant form exists."""

    EXACT = "exact"
    LIMIT = "limit"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class Structure:
    """What the pattern of non-zeros allows, and which rows and columns stand in the way.

    Rows and columns with the same label are connected by non-zeros that stay; labels are None where
    all are connected. At fault are, if the form is a limit, rows and columns with a non-zero that
    vanishes; if there is none, rows and columns of zeros, or rows with more than the only columns
    that they reach can hold (columns and rows, if `crowded` is "columns").
    """

    status: Status
    row_labels: Indices | None = None
    column_labels: Indices | None = None
    rows_at_fault: tuple[int, ...] = ()
    columns_at_fault: tuple[int, ...] = ()
    crowded: str = ""

    @property
    def explanation(self) -> str:
        """One sentence for a person, with the remedy."""
        rows, columns = _named("row", self.rows_at_fault), _named("column", self.columns_at_fault)
        both = " and ".join(name for name in (rows, columns) if name)
        remedy = "drop or merge some, or take zeros as missing."
        if self.status is Status.EXACT:
            return "The scale-invariant form exists."
        if self.status is Status.LIMIT:
            return f"The form exists only as a limit: non-zeros where {both} cross vanish in it."
        if not self.crowded:
            return f"No scale-invariant form exists: only zeros in {both}; {remedy}"
        few, many = (rows, columns) if self.crowded == "rows" else (columns, rows)
        reach = f"in {many} alone" if many else "in so few places"
        return f"No scale-invariant form exists: {few} with non-zeros {reach}; {remedy}"

    def transposed(self) -> "Structure":
        """The same of the transposed matrix."""
        return replace(
            self,
            row_labels=self.column_labels,
            column_labels=self.row_labels,
            rows_at_fault=self.columns_at_fault,
            columns_at_fault=self.rows_at_fault,
            crowded={"rows": "columns", "columns": "rows", "": ""}[self.crowded],
        )


def _named(noun: str, places: tuple[int, ...]) -> str:
    """Such as "rows 0, 3 and 7"; a long list is cut."""
    if not places:
        return ""
    if len(places) == 1:
        return f"{noun} {places[0]}"
    if len(places) > NAMED:
        shown = ", ".join(map(str, places[:NAMED]))
        return f"{noun}s {shown} and {len(places) - NAMED} more"
    return f"{noun}s {', '.join(map(str, places[:-1]))} and {places[-1]}"


def analyse(
    cells: Cells, found: Inventory, row_weights: Vector, column_weights: Vector
) -> Structure:
    """Decide whether the form exists; reads the matrix at most a few times."""
    rows = row_weights * found.row_observed
    columns = column_weights * found.column_observed
    if found.positive:  # the pattern itself has these row and column sums
        return Structure(Status.EXACT) if found.complete else _components(cells, found)
    empty_rows = np.flatnonzero((rows > 0) & (found.row_support == 0))
    empty_columns = np.flatnonzero((columns > 0) & (found.column_support == 0))
    if len(empty_rows) or len(empty_columns):
        return _fault(Status.NONE, empty_rows, empty_columns)
    return _by_reach(cells, rows, columns) or _by_flow(cells, found, rows, columns)


def _fault(status: Status, rows: Indices, columns: Indices, crowded: str = "") -> Structure:
    return Structure(
        status,
        rows_at_fault=tuple(rows.tolist()),
        columns_at_fault=tuple(columns.tolist()),
        crowded=crowded,
    )


def _samples(cells: Cells, found: Inventory) -> Iterator[tuple[Indices, Indices, bool]]:
    """Growing samples of the non-zeros, and whether a sample is all of them."""
    size = FIRST_SAMPLE
    total = int(found.row_support.sum())
    while True:
        rates = [
            np.minimum(1.0, size / np.maximum(support, 1))
            for support in (found.row_support, found.column_support)
        ]
        rows, columns = cells.edges(rates[0], rates[1])
        whole = len(rows) == total
        yield rows, columns, whole
        if whole:
            return
        size *= GROWTH


def _components(cells: Cells, found: Inventory) -> Structure:
    """The connected parts of a pattern of which all stays."""
    m, n = cells.shape
    used = np.r_[found.row_support > 0, found.column_support > 0]
    labels = np.zeros(m + n, np.intp)
    for rows, columns, _ in _samples(cells, found):
        graph = sparse.csr_array((np.ones(len(rows)), (rows, m + columns)), shape=(m + n, m + n))
        labels = csgraph.connected_components(graph, directed=False)[1].astype(np.intp)
        if len(np.unique(labels[used])) <= 1:
            return Structure(Status.EXACT)
    return Structure(Status.EXACT, labels[:m], labels[m:])


def _by_reach(cells: Cells, rows: Vector, columns: Vector) -> Structure | None:
    """Decide by what each row and column reaches, where that is enough.

    In a block of zeros S × T, S has at most the weight that some column misses and T what some row
    misses; where the two largest misses stay below the whole, no block of zeros is too large.
    """
    by_row, by_column = cells.support_sums(rows, columns)
    crowded = np.flatnonzero(by_row < rows * (1 - ROUNDING))
    if len(crowded):
        return _fault(Status.NONE, crowded, np.empty(0, np.intp), "rows")
    crowded = np.flatnonzero(by_column < columns * (1 - ROUNDING))
    if len(crowded):
        return _fault(Status.NONE, np.empty(0, np.intp), crowded, "columns")
    total = rows.sum()
    missed_by_row = 1 - by_row[rows > 0].min() / total
    missed_by_column = 1 - by_column[columns > 0].min() / total
    if missed_by_row + missed_by_column < 1 - ROUNDING:
        return Structure(Status.EXACT)
    return None


def _by_flow(cells: Cells, found: Inventory, rows: Vector, columns: Vector) -> Structure:
    """Decide by a maximum flow."""
    supply, demand = integer_capacities(rows, columns)
    structure = Structure(Status.EXACT)
    for row, column, whole in _samples(cells, found):
        flow = _maximum_flow(supply, demand, row, column)
        if int(flow.sum()) == int(supply.sum()):
            structure = _by_cycles(flow, row, column, rows > 0, columns > 0)
            if structure.row_labels is None:
                return structure
        elif whole:
            return _crowded(supply, flow, row, column, len(demand))
    return structure


def _maximum_flow(supply: Any, demand: Any, row: Indices, column: Indices) -> Any:
    """The flow along each non-zero, as many as `row`."""
    m, n = len(supply), len(demand)
    source, sink = m + n, m + n + 1
    heads = np.concatenate([np.full(m, source), row, m + np.arange(n)])
    tails = np.concatenate([np.arange(m), m + column, np.full(n, sink)])
    capacities = np.concatenate([supply, np.minimum(supply[row], demand[column]), demand])
    graph = sparse.csr_array((capacities, (heads, tails)), shape=(m + n + 2,) * 2, dtype=np.int32)
    flow = csgraph.maximum_flow(graph, source, sink, method="dinic").flow
    return np.asarray(flow[row, m + column]).astype(np.int64).ravel()


def _by_cycles(flow: Any, row: Indices, column: Indices, rows: Any, columns: Any) -> Structure:
    """Given a flow that saturates, see which non-zeros can carry some of it."""
    m, n = len(rows), len(columns)
    carrying = flow > 0
    heads = np.concatenate([row, m + column[carrying]])
    tails = np.concatenate([m + column, row[carrying]])
    graph = sparse.csr_array((np.ones(len(heads)), (heads, tails)), shape=(m + n, m + n))
    labels = csgraph.connected_components(graph, directed=True, connection="strong")[1]
    labels = labels.astype(np.intp)
    if len(np.unique(labels[np.r_[rows, columns]])) == 1:
        return Structure(Status.EXACT)
    vanishing = labels[row] != labels[m + column]
    structure = Structure(Status.EXACT)
    if vanishing.any():
        structure = _fault(Status.LIMIT, np.unique(row[vanishing]), np.unique(column[vanishing]))
    return replace(structure, row_labels=labels[:m], column_labels=labels[m:])


def _crowded(supply: Any, flow: Any, row: Indices, column: Indices, n: int) -> Structure:
    """The rows that a maximum flow leaves with a rest, and all that they reach."""
    m = len(supply)
    sent = np.bincount(row, weights=flow, minlength=m)
    carrying = flow > 0
    source = m + n
    unsent = np.flatnonzero(sent < supply)
    heads = np.concatenate([np.full(len(unsent), source), row, m + column[carrying]])
    tails = np.concatenate([unsent, m + column, row[carrying]])
    graph = sparse.csr_array((np.ones(len(heads)), (heads, tails)), shape=(m + n + 1,) * 2)
    reached = csgraph.breadth_first_order(graph, source, return_predecessors=False)
    reached = np.sort(reached[reached != source])
    return _fault(Status.NONE, reached[reached < m], reached[reached >= m] - m, "rows")
