"""The one error the harmony room raises for bad input."""

from motet.errors import MotetError


class HarmonyError(MotetError):
    """A vocabulary, conversation or message given to this room is not well formed."""
