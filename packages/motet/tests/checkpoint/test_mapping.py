"""Whether a mapped file is still all there."""

import sys
from pathlib import Path

import pytest

from motet.checkpoint.mapping import MappedFile

pytestmark = pytest.mark.skipif(
    sys.platform == "win32", reason="Windows keeps mapped files from being deleted or cut"
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "file").write_bytes(bytes(range(100)))
    return tmp_path / "file"


def test_its_bytes_outlive_its_name(path: Path) -> None:
    mapped = MappedFile(path)
    path.unlink()
    path.write_bytes(b"short")
    assert mapped.whole
    assert mapped.bytes.tobytes() == bytes(range(100))
    assert not mapped.bytes.flags.writeable


@pytest.mark.parametrize(("size", "whole"), [(0, False), (99, False), (100, True), (101, True)])
def test_only_a_shorter_file_is_not_whole(path: Path, size: int, whole: bool) -> None:
    mapped = MappedFile(path)
    with path.open("r+b") as file:
        file.truncate(size)
    assert mapped.whole == whole
