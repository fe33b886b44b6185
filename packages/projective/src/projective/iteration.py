"""Three ways to balance rows and columns; all count their passes over the matrix.

`alternating` is the published algorithm: rows, columns, rows, columns. `anderson` takes the same
steps and extrapolates from the last few of them, going back to a plain step whenever the convex
objective has grown. `newton` solves each Newton step by conjugate gradients. The measured numbers
of passes, and so the reason for the default, are in the package's README.
"""

from collections.abc import Callable

import numpy as np

from projective.balance import Balance, Point
from projective.cells import Vector

WINDOW = 20
RCOND = 1e-12
# A step that has changed by less than this share has only been rounded.
NOISE = 1e-9
# The longest step of a logarithm: a column's factor may change by e^3 at once.
LONGEST_STEP = 6.0
# What rounding may add to the objective, beside its size.
ROUNDING = 1e-13
# Below this residual a grown objective may be rounding; above, it is the truth.
SURE = 1e-4


def alternating(balance: Balance, tolerance: float, max_passes: int) -> Point:
    """Row step, column step, until every column's root mean square is within `tolerance` of 1."""
    point = balance.at(balance.start)
    while point.residual > tolerance and balance.passes < max_passes:
        point = balance.at(point.eta - point.log_columns)
    return point


def anderson(balance: Balance, tolerance: float, max_passes: int) -> Point:
    """Alternating steps, extrapolated over the last `WINDOW` of them."""
    point = best = balance.at(balance.start)
    memory = _Memory(balance.column_targets)
    while best.residual > tolerance and balance.passes < max_passes:
        following = balance.at(point.eta + memory.step_from(point))
        if memory.moves and _has_grown(following, point):
            memory.forget()
            if balance.passes == max_passes:
                break
            following = balance.at(point.eta - point.log_columns)
        memory.remember(point, following)
        point = following
        best = min(best, point, key=lambda each: each.residual)
    return best


class _Memory:
    """The last `WINDOW` moves, and how the alternating step changed with each (Anderson, type II).

    The normal equations are solved, and not the least squares problem itself: they need no copy of
    the window, and a step that is less than best is still a step.
    """

    def __init__(self, weights: Vector) -> None:
        self._root = np.sqrt(weights)
        self.moves: list[tuple[Vector, Vector]] = []
        self._gram = np.empty((0, 0))
        self._longest = LONGEST_STEP

    def forget(self) -> None:
        """Begin anew."""
        self.moves.clear()
        self._gram = np.empty((0, 0))
        self._longest = LONGEST_STEP

    def remember(self, point: Point, following: Point) -> None:
        """Take in one move; the oldest gives way."""
        if len(self.moves) == WINDOW:
            del self.moves[0]
            self._gram = self._gram[1:, 1:]
        change = point.log_columns - following.log_columns
        self.moves.append((following.eta - point.eta + change, change * self._root))
        self._gram = np.pad(self._gram, (0, 1))
        self._gram[-1] = self._gram[:, -1] = self._products(self.moves[-1][1])

    def _products(self, vector: Vector) -> Vector:
        return np.array([changed @ vector for _, changed in self.moves])

    def step_from(self, point: Point) -> Vector:
        """The step for which the mixture of past steps leaves the least residual.

        Where no past move has changed the step, the point lies on a plateau: two parts of the
        matrix are hardly connected yet. Then the plain step goes on, each time twice as long.
        """
        step = -point.log_columns
        if not self.moves:
            return _shortened(step, LONGEST_STEP)
        lengths = np.sqrt(np.diag(self._gram))
        told = np.flatnonzero(lengths > NOISE * np.linalg.norm(step * self._root))
        if not len(told):
            self._longest *= 2
            return np.asarray(step * (self._longest / np.abs(step).max()))
        self._longest = LONGEST_STEP
        lengths = lengths[told]
        gram = self._gram[np.ix_(told, told)] / np.outer(lengths, lengths)
        wanted = self._products(step * self._root)[told] / lengths
        mixture = np.linalg.lstsq(gram, wanted, rcond=RCOND)[0] / lengths
        for share, place in zip(mixture, told, strict=True):
            step -= share * self.moves[place][0]
        return _shortened(step, LONGEST_STEP)


def _has_grown(following: Point, point: Point) -> bool:
    """Whether a step made the objective worse, beyond rounding, and the residual too."""
    allowed = ROUNDING * (1 + abs(point.objective))
    if not np.isfinite(following.objective):
        return True
    worse = following.objective > point.objective + allowed
    return worse and following.residual > min(point.residual, SURE)


def _shortened(step: Vector, most: float) -> Vector:
    """A step no component of which is longer than `most`."""
    longest = float(np.abs(step).max(initial=0.0))
    return step * min(1.0, most / longest) if longest > 0 else step


def newton(balance: Balance, tolerance: float, max_passes: int) -> Point:
    """Damped Newton steps, each solved by conjugate gradients on the Schur complement."""
    point = balance.at(balance.start)
    while point.residual > tolerance and balance.passes < max_passes:
        limit = max_passes - balance.passes
        direction = _shortened(_conjugate_gradients(balance, point, limit), LONGEST_STEP)
        point = _line_search(balance, point, direction, max_passes)
    return point


def _conjugate_gradients(balance: Balance, point: Point, limit: int) -> Vector:
    """Solve Hessian @ direction = −gradient, as exactly as this far from the solution is useful."""
    preconditioner = 1 / np.where(balance.column_targets > 0, balance.column_targets, 1)
    rest = -balance.gradient(point)
    direction, conjugate = np.zeros_like(rest), np.zeros_like(rest)
    energy = first = float(rest @ (preconditioner * rest))
    before = np.inf
    forcing = min(0.25, np.sqrt(point.residual)) ** 2
    for _ in range(min(limit, len(rest) + 5)):
        if energy <= forcing * first:
            break
        conjugate = preconditioner * rest + (energy / before) * conjugate
        product = balance.curvature(point, conjugate)
        bend = float(conjugate @ product)
        if bend <= 0:
            break
        direction += energy / bend * conjugate
        rest -= energy / bend * product
        before, energy = energy, float(rest @ (preconditioner * rest))
    return direction


def _line_search(balance: Balance, point: Point, direction: Vector, max_passes: int) -> Point:
    """Halve a step until the objective, or else the residual, has become smaller."""
    following = balance.at(point.eta + direction)
    while _has_grown(following, point) and balance.passes < max_passes:
        direction = direction / 2
        following = balance.at(point.eta + direction)
        if np.abs(direction).max() < _smallest_step(point):
            break
    return following


def _smallest_step(point: Point) -> float:
    """Steps shorter than this change nothing at a point."""
    return float(np.spacing(1 + np.abs(point.eta).max()))


METHODS: dict[str, Callable[[Balance, float, int], Point]] = {
    "anderson": anderson,
    "alternating": alternating,
    "newton": newton,
}
