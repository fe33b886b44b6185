"""Models that are loaded and let go leave nothing behind, however often."""

import asyncio
import json
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from this_machine import not_sanitized

from motet import _native
from motet.checkpoint import open_checkpoint
from motet.checkpoint.gguf import write_gguf
from motet.engine import GenerationRequest, NativeEngine
from motet.nano import embedded_nano_path

ROUNDS, WARM_UP = 34, 4  # of six models each: 204

LOADING = """
import asyncio, ctypes, gc, json, os, sys
from pathlib import Path
from motet.checkpoint import open_checkpoint
from motet.engine import GenerationRequest, NativeEngine

async def use(path, precision):
    engine = NativeEngine(open_checkpoint(path), precision=precision, threads=2)
    async for _ in engine.generate(GenerationRequest([1, 2, 3], maximum_tokens=3)):
        pass
    await engine.close()

def held():
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)  # what the allocator keeps for later is not held
    return {
        "files": len(os.listdir("/proc/self/fd")),
        "threads": len(os.listdir("/proc/self/task")),
        "mappings": len(Path("/proc/self/maps").read_text().splitlines()),
        "memory": int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE"),
    }

for round in range(int(sys.argv[1])):
    for path in sys.argv[3:]:
        for precision in ("fast", "fast4", "exact"):
            asyncio.run(use(path, precision))
    if round + 1 == int(sys.argv[2]):
        before = held()
print(json.dumps([before, held()]))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads what Linux says of a process")
@not_sanitized(reason="AddressSanitizer keeps freed memory for a while")
def test_two_hundred_models_come_and_go(tmp_path: Path) -> None:
    nano = open_checkpoint(embedded_nano_path())
    file = tmp_path / "nano.gguf"
    write_gguf(file, nano.config, nano.tensors, nano.cut_vocabulary)
    run = [sys.executable, "-c", LOADING, str(ROUNDS), str(WARM_UP), str(nano.path), str(file)]
    done = subprocess.run(run, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    before, after = json.loads(done.stdout)
    assert (after["files"], after["threads"]) == (before["files"], before["threads"])
    assert after["mappings"] < before["mappings"] + 20  # the allocator's own come and go
    assert after["memory"] < before["memory"] + 2_000_000  # 11 kB of a model would be too much


def test_a_closed_engine_has_left_the_model(monkeypatch: pytest.MonkeyPatch) -> None:
    at_work, done = threading.Event(), threading.Event()

    def bring_large_pages(model: _native.Model) -> bool:
        at_work.set()
        time.sleep(0.2)
        done.set()
        return False

    async def use() -> None:
        engine = NativeEngine(open_checkpoint(embedded_nano_path()))
        async for _ in engine.generate(GenerationRequest([1, 2, 3], maximum_tokens=1)):
            pass
        assert await asyncio.to_thread(at_work.wait, 10)
        await engine.close()
        assert done.is_set()

    monkeypatch.setattr(_native.Model, "bring_large_pages", bring_large_pages)
    asyncio.run(use())
