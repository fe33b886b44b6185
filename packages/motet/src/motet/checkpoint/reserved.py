"""A new file whose size is known: its space is taken at once, so that a full disk shows early.

It is written in whole aligned blocks where that is possible. The system then keeps it in its cache
in large pages, and a model that is run from there is read faster than in small ones.
"""

import os
from pathlib import Path

_BLOCK = 2 << 20


class ReservedFile:
    """An open file to be filled in any order. Raises OSError as the system does."""

    def __init__(self, path: Path, size: int) -> None:
        self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
        self._begun = bytearray()  # the beginning of a block, whose rest is to come
        self._begun_at = 0
        try:
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(self._descriptor, 0, size)
            else:
                os.ftruncate(self._descriptor, size)
        except OSError:
            self.close()
            raise

    def write(self, position: int, data: memoryview) -> None:
        """Put all of the bytes at their position, in the end when `flush` is called."""
        if position != self._begun_at + len(self._begun):
            self._write_begun()
            self._begun_at = position
        head = min(-position % _BLOCK, len(data))
        self._begun += data[:head]
        if (position + head) % _BLOCK:
            return
        self._write_begun()
        whole = (len(data) - head) // _BLOCK * _BLOCK
        self._write(position + head, data[head : head + whole])
        self._begun_at = position + head + whole
        self._begun += data[head + whole :]

    def flush(self) -> None:
        """Return once everything written is on the disk."""
        self._write_begun()
        os.fsync(self._descriptor)

    def close(self) -> None:
        """Let go of the file."""
        os.close(self._descriptor)

    def _write_begun(self) -> None:
        self._write(self._begun_at, memoryview(bytes(self._begun)))
        self._begun.clear()

    def _write(self, position: int, data: memoryview) -> None:
        while data:
            written = os.pwrite(self._descriptor, data, position)
            data = data[written:]
            position += written
