"""A file mapped into memory: its bytes without reading them, and whether they are all still there.

A mapped file may be renamed, replaced or deleted without harm. If it is cut short, the bytes beyond
its new end are gone, and the system ends a process that reads them (SIGBUS). The native engine
survives that; whoever computes with mapped bytes asks `whole` before trusting a result.
"""

import mmap
from contextlib import suppress
from pathlib import Path

import numpy as np
from numpy.typing import NDArray


class MappedFile:
    """The bytes of a file, as they were and as long as it was when it was opened.

    Raises OSError, and ValueError for an empty file, which cannot be mapped.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        with path.open("rb") as file:
            self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        if hasattr(mmap, "MADV_HUGEPAGE"):
            # What comes from the disk for this mapping comes in large pages, where the system has
            # them for files: that is faster by far, and so is reading weights from memory then.
            with suppress(OSError):
                self._map.madvise(mmap.MADV_HUGEPAGE)
        self.bytes: NDArray[np.uint8] = np.frombuffer(self._map, np.uint8)

    @property
    def whole(self) -> bool:
        """Whether the file is still as long as it was: a system call of a few microseconds."""
        return self._map.size() >= len(self._map)

    def release(self) -> None:
        """Give the pages that were read back to the system; they are read again when touched."""
        if hasattr(self._map, "madvise"):
            self._map.madvise(mmap.MADV_DONTNEED)
