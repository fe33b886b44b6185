"""The one error of this room, and the one place that turns the system's errors into it."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from motet.errors import MotetError

_ADVICE = {
    errno.ENOSPC: "; free some space or choose another disk",
    errno.EDQUOT: "; free some space or choose another disk",
    errno.EFBIG: "; choose a disk and a shell without a limit on the size of files",
    errno.EACCES: "; check the permissions",
    errno.EROFS: "; choose another disk",
}


class CheckpointError(MotetError):
    """A checkpoint that cannot be read, written or trusted.

    The message is one sentence naming the file, the tensor or key, the difference, and what to do.
    """


@contextmanager
def system_errors(action: str, path: Path) -> Iterator[None]:
    """Re-raise any OSError as `cannot <action> <path>: <reason>; <what to do>`."""
    try:
        yield
    except OSError as error:
        reason = (error.strerror or str(error)) + _ADVICE.get(error.errno or 0, "")
        raise CheckpointError(f"cannot {action} {path}: {reason}") from error
