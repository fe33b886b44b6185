"""A new file whose size is known: its space is taken at once, so that a full disk shows early."""

import os
from pathlib import Path


class ReservedFile:
    """An open file to be filled in any order. Raises OSError as the system does."""

    def __init__(self, path: Path, size: int) -> None:
        self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
        try:
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(self._descriptor, 0, size)
            else:
                os.ftruncate(self._descriptor, size)
        except OSError:
            self.close()
            raise

    def write(self, position: int, data: memoryview) -> None:
        """Put all of the bytes at their position."""
        while data:
            written = os.pwrite(self._descriptor, data, position)
            data = data[written:]
            position += written

    def flush(self) -> None:
        """Return once everything written is on the disk."""
        os.fsync(self._descriptor)

    def close(self) -> None:
        """Let go of the file."""
        os.close(self._descriptor)
