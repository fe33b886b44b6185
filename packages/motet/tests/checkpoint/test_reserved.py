"""A file of known size: every byte at its place, and blocks written whole."""

import os
from pathlib import Path
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from motet.checkpoint import reserved
from motet.checkpoint.reserved import ReservedFile

BLOCK = 16


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reserved, "_BLOCK", BLOCK)


@given(
    lengths=st.lists(st.integers(0, 3 * BLOCK), max_size=12),
    gap=st.integers(0, BLOCK),
    order=st.randoms(use_true_random=False),
)
def test_pieces_in_any_order_end_where_they_belong(
    tmp_path_factory: pytest.TempPathFactory, lengths: list[int], gap: int, order: Random
) -> None:
    content = bytearray(gap)
    pieces = []
    for number, length in enumerate(lengths):
        pieces.append((len(content), bytes([number + 1] * length)))
        content += pieces[-1][1]
    order.shuffle(pieces)
    path = tmp_path_factory.mktemp("reserved") / "file"
    file = ReservedFile(path, max(1, len(content)))
    for position, data in pieces:
        file.write(position, memoryview(data))
    file.flush()
    file.close()
    assert path.read_bytes() == (bytes(content) or bytes(1))


def test_what_comes_piece_by_piece_is_written_in_whole_blocks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = []
    pwrite = os.pwrite

    def watched(descriptor: int, data: memoryview, position: int) -> int:
        written.append((position, len(data)))
        return pwrite(descriptor, data, position)

    monkeypatch.setattr(os, "pwrite", watched)
    file = ReservedFile(tmp_path / "file", 100)
    for position in range(5, 100, 5):
        file.write(position, memoryview(bytes(5)))
    file.flush()
    file.close()
    assert written == [(5, 11), *((start, BLOCK) for start in range(16, 96, BLOCK)), (96, 4)]
