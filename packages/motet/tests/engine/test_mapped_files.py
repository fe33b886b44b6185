"""What becomes of a model whose files change under it while they are mapped.

Where a bare process would die of a signal, real processes show that ours do not.
"""

import asyncio
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from random_models import random_checkpoint, random_config, random_tokens

from motet.checkpoint import Checkpoint, open_checkpoint, write_checkpoint
from motet.engine import EngineError, GenerationRequest, NativeEngine, SamplingParameters
from motet.engine.native import native_model
from motet.engine.readable import readable_weights

CONFIG = random_config(3)
GREEDY = SamplingParameters(temperature=0.0)
TOKENS = random_tokens(CONFIG, 40)
POSIX = pytest.mark.skipif(
    sys.platform == "win32", reason="Windows keeps mapped files from being deleted or cut"
)
pytestmark = POSIX


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """The weights of a model of which nothing has been read."""
    checkpoint = random_checkpoint(CONFIG)
    write_checkpoint(tmp_path / "model", CONFIG, checkpoint.tensors.values())
    return tmp_path / "model" / "model.safetensors"


def opened(file: Path) -> Checkpoint:
    return open_checkpoint(file.parent)


@pytest.mark.parametrize("replaced", [False, True])
def test_a_file_that_is_deleted_or_replaced_stays_as_it_was(file: Path, replaced: bool) -> None:
    checkpoint = opened(file)
    model = native_model(checkpoint)
    file.unlink()
    if replaced:
        file.write_bytes(b"something else")
    with readable_weights(checkpoint):
        found = model.step([(model.sequence(), TOKENS, 1)])
    whole = native_model(random_checkpoint(CONFIG))
    assert np.array_equal(found, whole.step([(whole.sequence(), TOKENS, 1)]))


@pytest.mark.skipif(sys.platform != "linux", reason="reads what Linux says of mappings")
def test_embeddings_that_were_read_are_given_back(tmp_path: Path) -> None:
    config = replace(CONFIG, vocabulary_size=20_000)
    source = random_checkpoint(config)
    write_checkpoint(tmp_path / "model", config, source.tensors.values())
    checkpoint = open_checkpoint(tmp_path / "model")
    embedding = checkpoint.tensors["model.embed_tokens.weight"].data
    middle = embedding.ctypes.data + embedding.nbytes // 2
    tokens = random_tokens(config, 64)
    model, whole = native_model(checkpoint), native_model(source)
    sequence, other = model.sequence(), whole.sequence()
    resident = []
    for part in np.split(tokens, 8):  # every 16 tokens
        found = model.step([(sequence, part, part.size)])
        assert np.array_equal(found, whole.step([(other, part, part.size)]))
        resident.append(resident_bytes_at(middle))
    assert all(resident[::2])
    assert not any(resident[1::2])


def resident_bytes_at(address: int) -> int:
    """How much of the mapping that this address is in lies in memory for this process."""
    found = False
    for line in Path("/proc/self/smaps").read_text().splitlines():
        if match := re.match(r"([0-9a-f]+)-([0-9a-f]+) ", line):
            found = int(match[1], 16) <= address < int(match[2], 16)
        elif found and line.startswith("Rss:"):
            return int(line.split()[1]) * 1024
    raise AssertionError("there is no such mapping")


@pytest.mark.parametrize("precision", ["exact", "fast"])
def test_a_file_cut_short_before_it_is_loaded(file: Path, precision: str) -> None:
    checkpoint = opened(file)
    with file.open("r+b") as stream:
        stream.truncate(4096)
    with pytest.raises(EngineError, match=r"model\.safetensors became shorter .*open the model"):
        native_model(checkpoint, precision=precision)  # type: ignore[arg-type]


@pytest.mark.parametrize("left", [0, 4096, -1], ids=["nothing", "a page", "all but a byte"])
async def test_a_file_cut_short_while_it_is_in_use(file: Path, left: int) -> None:
    size = file.stat().st_size
    engine, other = NativeEngine(opened(file)), NativeEngine(random_checkpoint(CONFIG))
    few = GenerationRequest(TOKENS.tolist(), GREEDY, maximum_tokens=10)
    wanted = [piece async for piece in other.generate(few)]
    stream = engine.generate(replace(few, maximum_tokens=4000))
    await anext(stream)
    with file.open("r+b") as opened_file:
        opened_file.truncate(left % size)
    with pytest.raises(EngineError, match=r"model\.safetensors became shorter .*open the model"):
        async for _ in stream:
            pass
    with pytest.raises(EngineError, match="became shorter"):
        await anext(engine.generate(few))
    after = [piece async for piece in other.generate(few)]
    assert sum(after[1:], after[0]) == sum(wanted[1:], wanted[0])
    await asyncio.gather(engine.close(), other.close())
    engine.clear_cache()
    assert engine.statistics().key_value_bytes == 0


def test_zeros_once_read_in_place_of_weights_are_not_forgotten(file: Path) -> None:
    checkpoint = opened(file)
    models = [native_model(checkpoint), native_model(checkpoint, precision="fast")]
    sequences = [model.sequence() for model in models]
    content = file.read_bytes()
    with file.open("r+b") as stream:
        stream.truncate(0)
        for _ in range(2):
            for model, sequence in zip(models, sequences, strict=True):
                with pytest.raises(OSError, match="no longer be read"):
                    model.step([(sequence, TOKENS, 1)])
                assert sequence.length == 0
            stream.seek(0)
            stream.write(content)  # as if nothing had happened
            stream.flush()
    again = native_model(opened(file))
    whole = native_model(random_checkpoint(CONFIG))
    assert np.array_equal(
        again.step([(again.sequence(), TOKENS, 1)]), whole.step([(whole.sequence(), TOKENS, 1)])
    )


PRELUDE = """
import faulthandler, mmap, os, signal, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from random_models import random_checkpoint, random_config
from motet.engine.native import native_model

def read_beyond_the_end():
    path = Path(sys.argv[2])
    path.write_bytes(bytes(2 * mmap.PAGESIZE))
    with path.open("r+b") as file:
        mapped = mmap.mmap(file.fileno(), 0)
        file.truncate(1)
    return mapped[mmap.PAGESIZE]
"""


@pytest.mark.parametrize(
    ("program", "code", "complaint"),
    [
        ("native_model(MODEL); read_beyond_the_end()", "killed", ""),
        ("native_model(MODEL); os.kill(os.getpid(), signal.SIGBUS)", "killed", ""),
        (
            "faulthandler.enable(); native_model(MODEL); read_beyond_the_end()",
            "killed",
            "Bus error",
        ),
        (
            "signal.signal(signal.SIGBUS, lambda *_: print('heard', file=sys.stderr));"
            "native_model(MODEL); os.kill(os.getpid(), signal.SIGBUS)",
            "goes on",
            "heard",
        ),
        (
            "signal.signal(signal.SIGBUS, signal.SIG_IGN);"
            "native_model(MODEL); os.kill(os.getpid(), signal.SIGBUS)",
            "goes on",
            "",
        ),
    ],
)
def test_other_bus_errors_take_their_usual_way(
    program: str, code: str, complaint: str, tmp_path: Path
) -> None:
    script = PRELUDE + program.replace("MODEL", "random_checkpoint(random_config(3))")
    run = [sys.executable, "-c", script, str(Path(__file__).parent), str(tmp_path / "file")]
    done = subprocess.run(run, capture_output=True, text=True, timeout=120)
    assert (done.returncode == 0) == (code == "goes on"), done.stderr
    assert complaint in done.stderr
