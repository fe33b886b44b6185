"""The one error of this room."""

from motet.errors import MotetError


class EngineError(MotetError):
    """A request that cannot be served, or a generation that failed; one sentence says why."""
