"""A folder or a file that appears complete or not at all.

Files are written into a temporary sibling, flushed to the disk and renamed into place. An existing
folder is swapped with the new one in a single step where the system can (Linux's renameat2), and by
two renames elsewhere; whoever has the old files mapped keeps them.
"""

import ctypes
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from motet.checkpoint.errors import CheckpointError, system_errors

_HERE = -100  # AT_FDCWD
_EXCHANGE = 2  # RENAME_EXCHANGE


@contextmanager
def new_folder(path: Path, *, replace: bool, mark: str) -> Iterator[Path]:
    """A temporary folder to fill, which becomes `path` on leaving, or vanishes on any exception.

    An existing folder that is not empty is refused, or with `replace` given up with all it holds;
    then it has to have a file named `mark`, so that a slip cannot delete anything else.
    Raises CheckpointError.
    """
    with system_errors("write", path):
        path = path.resolve()
        check_target(path, replace, mark)
        temporary = path.with_name(f".{path.name}.partial-{secrets.token_hex(4)}")
        temporary.mkdir()
    try:
        yield temporary
        with system_errors("write", path):
            flush_names(temporary)
            if replace and path.is_dir() and any(path.iterdir()):
                _swap(temporary, path)
            else:
                temporary.rename(path)  # which the system refuses if it is no longer empty
            flush_names(path.parent)
    finally:
        # What the swap put here is the old folder; without a swap, it is the unfinished one.
        shutil.rmtree(temporary, ignore_errors=True)


@contextmanager
def new_file(path: Path) -> Iterator[Path]:
    """The name of a temporary file to make, which becomes `path` on leaving, or vanishes.

    Whoever makes the file flushes it. Raises CheckpointError if `path` exists or cannot be made.
    """
    with system_errors("write", path):
        path = path.resolve()
        _check_parent(path)
        _check_absent(path)
        temporary = path.with_name(f".{path.name}.partial-{secrets.token_hex(4)}")
    try:
        yield temporary
        with system_errors("write", path):
            _check_absent(path)
            temporary.rename(path)
            flush_names(path.parent)
    finally:
        with suppress(OSError):  # gone already, or was never possible
            temporary.unlink()


def flush_names(path: Path) -> None:
    """Make the names of the files in a folder durable."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def check_target(path: Path, replace: bool = False, mark: str = "") -> None:
    """Raise CheckpointError unless a folder may be made of that name; see `new_folder`."""
    _check_parent(path)
    if not path.exists():
        return
    if not path.is_dir():
        raise CheckpointError(f"cannot write {path}: a file of that name exists, choose another")
    if not any(path.iterdir()):
        return
    if not replace:
        raise CheckpointError(
            f"cannot write {path}: the folder exists and is not empty, choose another name"
        )
    if not (path / mark).is_file():
        raise CheckpointError(
            f"cannot replace {path}: without a {mark} it does not look like a model,"
            " choose another name"
        )


def _check_parent(path: Path) -> None:
    if not path.parent.is_dir():
        raise CheckpointError(f"cannot write {path}: there is no folder {path.parent}, create it")


def _check_absent(path: Path) -> None:
    if path.exists():
        raise CheckpointError(f"cannot write {path}: it exists already, choose another name")


def _swap(temporary: Path, path: Path) -> None:
    if not _exchange(temporary, path):
        aside = temporary.with_name(f"{temporary.name}.old")
        path.rename(aside)
        try:
            temporary.rename(path)
        except OSError:
            aside.rename(path)
            raise
        shutil.rmtree(aside, ignore_errors=True)


def _exchange(first: Path, second: Path) -> bool:
    """Swap two folders in one step; False where the system or the file system cannot."""
    try:
        renameat2 = ctypes.CDLL(None).renameat2
    except (AttributeError, OSError):
        return False
    arguments = (_HERE, os.fsencode(first), _HERE, os.fsencode(second), _EXCHANGE)
    return bool(renameat2(*arguments) == 0)
