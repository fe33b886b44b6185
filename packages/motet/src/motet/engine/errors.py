"""The one error of this room."""

from motet.errors import MotetError


class EngineError(MotetError):
    """A request that cannot be served, or a generation that failed; one sentence says why."""


class EngineBusy(EngineError):  # noqa: N818  (it says what is so, not what went wrong)
    """A request turned away because too many wait already; the same one may be served later."""
