"""Weights in small pages of memory come into large ones, and nothing else changes.

Small pages are made as a download makes them: the file is written in small pieces.
"""

import asyncio
import mmap
import os
import re
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from random_models import random_checkpoint, random_config, random_tokens

from motet import _native
from motet.checkpoint import Checkpoint, open_checkpoint, write_checkpoint
from motet.engine import EngineError, GenerationRequest, NativeEngine, SamplingParameters
from motet.engine.native import native_model
from motet.engine.readable import readable_weights

if sys.platform != "linux":
    pytest.skip("only Linux keeps files in large pages", allow_module_level=True)

LARGE_PAGE = 2 << 20
CONFIG = replace(
    random_config(3), hidden_size=512, intermediate_size=512, experts=8, vocabulary_size=16_000
)
TOKENS = random_tokens(CONFIG, 64)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """The weights of a model, in the system's cache in small pages."""
    folder = tmp_path / "model"
    write_checkpoint(folder, CONFIG, random_checkpoint(CONFIG).tensors.values())
    path = folder / "model.safetensors"
    content = path.read_bytes()
    path.unlink()
    with path.open("wb", buffering=0) as stream:
        for start in range(0, len(content), 16_384):
            stream.write(content[start : start + 16_384])
    return path


@pytest.fixture
def large_pages(tmp_path: Path) -> None:
    """Skips where this file system has none, as most had before Linux 6.16."""
    probe = tmp_path / "probe"
    with probe.open("w+b") as stream:
        stream.write(bytes(2 * LARGE_PAGE))
        stream.flush()
        os.fsync(stream.fileno())
        os.posix_fadvise(stream.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        mapped = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
    mapped.madvise(mmap.MADV_HUGEPAGE)
    assert not any(mapped[::4096])
    if not bytes_in_large_pages(probe):
        pytest.skip("the file system or Linux keeps no files in large pages here")


def bytes_in_large_pages(path: Path) -> int:
    """How much of this file this process has mapped in large pages."""
    total = 0
    found = False
    for line in Path("/proc/self/smaps").read_text().splitlines():
        if re.match(r"[0-9a-f]+-[0-9a-f]+ ", line):
            found = line.endswith(str(path))
        elif found and line.startswith("FilePmdMapped:"):
            total += int(line.split()[1]) * 1024
    return total


def opened(file: Path) -> Checkpoint:
    return open_checkpoint(file.parent)


def logits(model: _native.Model) -> bytes:
    return model.step([(model.sequence(), TOKENS, TOKENS.size)]).tobytes()


@pytest.mark.usefixtures("large_pages")
@pytest.mark.parametrize("precision", ["exact", "fast"])
def test_what_was_read_in_small_pages_comes_in_large_ones(file: Path, precision: str) -> None:
    checkpoint = opened(file)
    model = native_model(checkpoint, precision=precision)  # type: ignore[arg-type]
    before = logits(model)
    assert bytes_in_large_pages(file) == 0
    while model.bring_large_pages():
        pass
    # All but the ends of the mapping and of the embeddings, which stay in small pages.
    head = checkpoint.tensors["lm_head.weight"].nbytes
    assert bytes_in_large_pages(file) >= head - 2 * LARGE_PAGE
    assert logits(model) == before
    assert not model.bring_large_pages()


@pytest.mark.usefixtures("large_pages")
async def test_an_engine_sees_to_it_when_it_is_idle(file: Path) -> None:
    engine = NativeEngine(opened(file))
    request = GenerationRequest(TOKENS.tolist(), SamplingParameters(), maximum_tokens=3)
    async for _ in engine.generate(request):
        pass
    deadline = time.monotonic() + 60
    while not bytes_in_large_pages(file) and time.monotonic() < deadline:
        await asyncio.sleep(0.01)
    assert bytes_in_large_pages(file)
    await engine.close()


def test_a_file_that_is_gone_stays_as_it_was(file: Path) -> None:
    model = native_model(opened(file))
    before = logits(model)
    file.unlink()
    file.write_bytes(b"something else")
    assert not model.bring_large_pages()
    assert logits(model) == before


def test_a_file_cut_short_is_noticed_by_the_next_step(file: Path) -> None:
    checkpoint = opened(file)
    model = native_model(checkpoint)
    logits(model)
    with file.open("r+b") as stream:
        stream.truncate(4096)
    while model.bring_large_pages():
        pass
    with pytest.raises(EngineError, match="became shorter"), readable_weights(checkpoint):
        logits(model)


def test_weights_in_memory_stay_where_they_are() -> None:
    model = native_model(random_checkpoint(CONFIG))
    before = logits(model)
    assert not model.bring_large_pages()
    assert logits(model) == before
