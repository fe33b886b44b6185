"""The equations of a decomposition as one convex function of the columns' factors.

With y_j = exp(η_j) in the place of 1/c_j², the rows' factors follow at once (each row's mean square
becomes 1), and what is left is to minimise

    g(η) = Σ_i R_i log(mean over j of a_ij² y_j) − Σ_j C_j η_j,

whose gradient is the columns' surplus; R and C are the weights observed in rows and columns. A pass
over the matrix gives g, its gradient and the alternating step; another kind of pass multiplies its
Hessian (the Schur complement of the full one) by a vector.
"""

from dataclasses import dataclass

import numpy as np

from projective.cells import Cells, Inventory, Vector, safe_log

# Above this residual single precision's rounding does not matter.
SINGLE_RESIDUAL = 1e-4


@dataclass(frozen=True, slots=True)
class Point:
    """What a pass at η has found."""

    eta: Vector  # [n]
    log_rows: Vector  # [m] logarithm of each row's mean square before the row step
    log_columns: Vector  # [n] logarithm of each column's mean square after the row step
    objective: float
    residual: float  # largest |root mean square − 1| of a column after the row step


class Balance:
    """The function g of a matrix; counts its passes and keeps the residual after each."""

    def __init__(
        self,
        cells: Cells,
        found: Inventory,
        row_weights: Vector,
        column_weights: Vector,
        tolerance: float,
    ) -> None:
        self._cells = cells
        self._tolerance = tolerance
        self._dead = (found.row_observed == 0).astype(np.float64)
        self._row_observed = found.row_observed + self._dead
        self._columns = found.column_observed > 0
        self._log_weights = safe_log(column_weights)
        self._ones = np.ones(cells.shape[1])
        self.row_targets = row_weights * found.row_observed
        self.column_targets = column_weights * found.column_observed
        self.start = np.where(self._columns, -2 * found.log_column_largest, 0.0)
        self.residuals: list[float] = []
        self.passes = 0

    def at(self, eta: Vector) -> Point:
        """One pass: the row step at η, then the columns' mean squares.

        Single precision serves far from the solution; it does not have the last word.
        """
        single = not self.residuals or self.residuals[-1] > SINGLE_RESIDUAL
        point = self._pass(eta, single)
        if single and self._cells.has_single and point.residual <= self._tolerance:
            return self._pass(eta, False)
        return point

    def _pass(self, eta: Vector, single: bool) -> Point:
        row_sums, log_offsets = np.empty((2, self._cells.shape[0]))

        def row_step(rows: slice, sums: Vector, offsets: Vector | float) -> Vector:
            row_sums[rows] = sums
            log_offsets[rows] = offsets
            return np.asarray(self.row_targets[rows] / (sums + self._dead[rows]))

        sums = self._cells.sweep(eta + self._log_weights, self._ones, row_step, single)
        log_rows = safe_log((row_sums + self._dead) / self._row_observed) + log_offsets
        targets = np.where(self._columns, self.column_targets, 1.0)
        log_columns = safe_log(np.where(self._columns, sums / targets, 1.0))
        residual = float(np.abs(np.expm1(log_columns / 2)).max(initial=0.0))
        self.passes += 1
        self.residuals.append(residual)
        objective = float(self.row_targets @ log_rows - self.column_targets @ eta)
        return Point(eta, log_rows, log_columns, objective, residual)

    def gradient(self, point: Point) -> Vector:
        """Each column's surplus over its target."""
        return self.column_targets * np.expm1(point.log_columns)

    def curvature(self, point: Point, direction: Vector) -> Vector:
        """One pass: the Hessian of g at a point times a direction."""

        def row_step(rows: slice, sums: Vector, offsets: Vector | float) -> Vector:
            scale = self._row_observed[rows] * np.exp(point.log_rows[rows] - offsets)
            return np.asarray(self.row_targets[rows] * sums / scale**2)

        self.passes += 1
        single = point.residual > SINGLE_RESIDUAL
        crossed = self._cells.sweep(point.eta + self._log_weights, direction, row_step, single)
        return self.column_targets * np.exp(point.log_columns) * direction - crossed
