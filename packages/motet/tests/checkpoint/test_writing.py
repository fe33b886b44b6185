"""Writing checkpoints: what appears is complete, and whatever goes wrong, nothing else is there."""

import dataclasses
import errno
import json
import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from checkpoint_files import small_config

from motet.checkpoint import (
    CheckpointError,
    Tensor,
    TensorStream,
    atomic,
    open_checkpoint,
    write_checkpoint,
)
from motet.checkpoint import tensors as tensors_module
from motet.checkpoint.random import random_tensors
from motet.checkpoint.tensors import Dtype
from motet.harmony.vocabulary import VOCABULARY_FILE, o200k_harmony

CONFIG = small_config()
TENSORS = list(random_tensors(CONFIG, seed=1))


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def assert_refused(
    folder: Path, tensors: list[Tensor | TensorStream] | list[Tensor], reason: str, **options: bool
) -> None:
    """The write fails for that reason and leaves the surroundings as they were."""
    before = sorted(folder.parent.rglob("*"))
    with pytest.raises(CheckpointError) as caught:
        write_checkpoint(folder, CONFIG, tensors, **options)
    assert reason in str(caught.value)
    assert "\n" not in str(caught.value)
    assert sorted(folder.parent.rglob("*")) == before


def assert_is_the_random_model(folder: Path) -> None:
    tensors = open_checkpoint(folder).tensors
    assert all(np.array_equal(tensors[tensor.name].data, tensor.data) for tensor in TENSORS)


# What is written


def test_one_file_and_its_configs(tmp_path: Path) -> None:
    write_checkpoint(tmp_path / "model", CONFIG, TENSORS)
    assert sorted(contents(tmp_path / "model")) == [
        "config.json",
        "generation_config.json",
        "model.safetensors",
    ]
    assert_is_the_random_model(tmp_path / "model")
    generation = json.loads((tmp_path / "model" / "generation_config.json").read_text())
    assert generation == {"do_sample": True}  # no vocabulary is known for 300 token ids


def test_any_order_and_any_memory_order(tmp_path: Path) -> None:
    shuffled = [
        dataclasses.replace(tensor, data=np.asfortranarray(tensor.data)) for tensor in TENSORS[::-1]
    ]
    write_checkpoint(tmp_path / "model", CONFIG, iter(shuffled))
    assert_is_the_random_model(tmp_path / "model")


@pytest.mark.parametrize("shard_bytes", [1, 20_000, 60_000])
def test_shards(tmp_path: Path, shard_bytes: int) -> None:
    write_checkpoint(tmp_path / "model", CONFIG, TENSORS, shard_bytes=shard_bytes)
    assert_is_the_random_model(tmp_path / "model")
    largest = max(tensor.nbytes for tensor in TENSORS)
    files = sorted((tmp_path / "model").glob("*.safetensors"))
    assert files[0].name == f"model-00001-of-{len(files):05}.safetensors"
    for file in files:
        assert file.stat().st_size <= max(shard_bytes, largest) + 8_000  # and the header
    index = json.loads((tmp_path / "model" / "model.safetensors.index.json").read_text())
    assert index["metadata"]["total_size"] == sum(tensor.nbytes for tensor in TENSORS)


def test_the_same_bytes_every_time(tmp_path: Path) -> None:
    write_checkpoint(tmp_path / "first", CONFIG, TENSORS)
    write_checkpoint(tmp_path / "second", CONFIG, random_tensors(CONFIG, seed=1))
    assert contents(tmp_path / "first") == contents(tmp_path / "second")


def test_a_cut_vocabulary(tmp_path: Path) -> None:
    vocabulary = o200k_harmony().first(500)
    config = small_config(vocabulary_size=vocabulary.size)
    write_checkpoint(tmp_path / "model", config, random_tensors(config, seed=1), vocabulary)
    assert json.loads((tmp_path / "model" / VOCABULARY_FILE).read_text()) == vocabulary.to_json()
    generation = json.loads((tmp_path / "model" / "generation_config.json").read_text())
    assert generation == {
        "do_sample": True,
        "bos_token_id": vocabulary.startoftext,
        "eos_token_id": [vocabulary.return_, vocabulary.endoftext, vocabulary.call],
        "pad_token_id": vocabulary.endoftext,
    }


def test_the_full_vocabulary_needs_no_file(tmp_path: Path) -> None:
    config = small_config(layers=1, hidden_size=32, vocabulary_size=o200k_harmony().size)
    write_checkpoint(tmp_path / "model", config, random_tensors(config, seed=1))
    assert VOCABULARY_FILE not in contents(tmp_path / "model")
    generation = json.loads((tmp_path / "model" / "generation_config.json").read_text())
    assert generation["eos_token_id"] == [200002, 199999, 200012]
    assert (generation["bos_token_id"], generation["pad_token_id"]) == (199998, 199999)
    assert open_checkpoint(tmp_path / "model").vocabulary is o200k_harmony()


def test_permissions_follow_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        write_checkpoint(tmp_path / "model", CONFIG, TENSORS)
    finally:
        os.umask(before)
    modes = {stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "model").iterdir()}
    assert modes == {0o640}
    assert stat.S_IMODE((tmp_path / "model").stat().st_mode) == 0o750


def test_streams_of_small_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tensors_module, "PIECE_BYTES", 1_000)
    pieces = list(TENSORS[0].pieces())
    assert len(pieces) == -(-300 * 128 // 896)  # seven rows of 128 bytes
    assert np.array_equal(np.concatenate(pieces), TENSORS[0].data)
    sizes: list[int] = []
    streams = (TensorStream(t.name, t.dtype, t.shape, t.pieces) for t in TENSORS)
    write_checkpoint(tmp_path / "model", CONFIG, streams, written=sizes.append)
    assert_is_the_random_model(tmp_path / "model")
    assert sum(sizes) == sum(tensor.nbytes for tensor in TENSORS)
    # One expert of a fused matrix is the largest piece.
    assert max(sizes) == max(1_000, 64 * 2 * 16)


# What is refused


def test_streams_that_do_not_fit(tmp_path: Path) -> None:
    norm = next(tensor for tensor in TENSORS if tensor.name == "model.norm.weight")
    others = [tensor for tensor in TENSORS if tensor is not norm]

    def refused(reason: str, *pieces: np.ndarray, dtype: Dtype = "BF16") -> None:
        stream = TensorStream(norm.name, dtype, norm.shape, lambda: iter(pieces))
        assert_refused(tmp_path / "model", [*others, stream], reason)

    row = np.zeros(40, np.uint16)
    refused("'model.norm.weight' ended after 40 of 64 rows", row)
    refused("a piece is uint16 [40] and ends at row 80", row, row)
    refused("a piece is uint16 [2, 32]", row.reshape(2, 20)[:, :1].repeat(32, axis=1))
    refused("a piece is float32 [64]", np.zeros(64, np.float32))
    refused("is F32 [64], the config demands BF16 [64]", row, dtype="F32")


def test_tensors_that_do_not_fit(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    norm = next(tensor for tensor in TENSORS if tensor.name == "model.norm.weight")
    others = [tensor for tensor in TENSORS if tensor is not norm]
    wide = Tensor(norm.name, "F32", norm.shape, norm.data.astype(np.float32))
    short = Tensor(norm.name, "BF16", (32,), norm.data[:32])
    lying = Tensor(norm.name, "BF16", norm.shape, norm.data[:32])
    swapped = Tensor(norm.name, "BF16", norm.shape, norm.data.astype(">u2"))
    assert_refused(folder, others, "'model.norm.weight' was not given")
    assert_refused(folder, [*TENSORS, norm], "'model.norm.weight' came twice")
    stranger = Tensor("a\nb", "BF16", norm.shape, norm.data)
    assert_refused(folder, [stranger], r"'a\nb' is not part of a model")
    assert_refused(folder, [*others, wide], "is F32 [64] (as float32 [64]), the config demands")
    assert_refused(folder, [*others, short], "is BF16 [32] (as uint16 [32]), the config demands")
    assert_refused(folder, [*others, lying], "is BF16 [64] (as uint16 [32]), the config demands")
    assert_refused(folder, [*others, swapped], "as >u2 [64]")


def test_a_vocabulary_of_another_size(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="409 token ids, the config says 300"):
        write_checkpoint(tmp_path / "model", CONFIG, TENSORS, o200k_harmony().first(400))


def test_folders_that_may_not_be_written(tmp_path: Path) -> None:
    assert_refused(tmp_path / "no" / "model", TENSORS, f"no folder {tmp_path / 'no'}, create it")
    (tmp_path / "file").write_text("precious")
    assert_refused(tmp_path / "file", TENSORS, "a file of that name exists")
    assert_refused(tmp_path / "file", TENSORS, "a file of that name exists", replace=True)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "diary.txt").write_text("precious")
    assert_refused(tmp_path / "full", TENSORS, "exists and is not empty")
    assert_refused(tmp_path / "full", TENSORS, "does not look like a model", replace=True)
    assert_refused(tmp_path / ("n" * 250), TENSORS, "File name too long")


def test_an_exception_of_the_caller_passes_and_leaves_nothing(tmp_path: Path) -> None:
    def failing() -> Iterator[Tensor]:
        yield from TENSORS[:5]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_checkpoint(tmp_path / "model", CONFIG, failing())
    assert list(tmp_path.iterdir()) == []


# Where a folder is already there


def test_an_empty_folder_is_filled(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "model")
    write_checkpoint(tmp_path / "link", CONFIG, TENSORS)
    assert (tmp_path / "link").is_symlink()
    assert_is_the_random_model(tmp_path / "model")


@pytest.mark.parametrize("exchange", [True, False])
def test_replacing_a_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, exchange: bool) -> None:
    if not exchange:
        monkeypatch.setattr(atomic, "_exchange", lambda first, second: False)
    folder = tmp_path / "model"
    write_checkpoint(folder, CONFIG, random_tensors(CONFIG, seed=2), shard_bytes=30_000)
    old = open_checkpoint(folder)
    write_checkpoint(folder, CONFIG, TENSORS, replace=True)
    assert list(tmp_path.iterdir()) == [folder]
    assert "model.safetensors.index.json" not in contents(folder)
    assert_is_the_random_model(folder)
    for tensor in random_tensors(CONFIG, seed=2):  # whoever has the old one open keeps it
        assert np.array_equal(old.tensors[tensor.name].data, tensor.data)


def test_a_model_rewritten_from_itself(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    write_checkpoint(folder, CONFIG, TENSORS)
    tensors = open_checkpoint(folder).tensors.values()
    write_checkpoint(folder, CONFIG, tensors, shard_bytes=30_000, replace=True)
    assert_is_the_random_model(folder)


def test_a_failing_replacement_keeps_the_old_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "model"
    write_checkpoint(folder, CONFIG, TENSORS)
    before = contents(folder)
    assert_refused(folder, TENSORS[:-1], "was not given", replace=True)
    rename = Path.rename

    def failing(self: Path, target: Path) -> Path:
        if target == folder and "old" not in self.name:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return rename(self, target)

    monkeypatch.setattr(atomic, "_exchange", lambda first, second: False)
    monkeypatch.setattr(Path, "rename", failing)
    assert_refused(folder, TENSORS, "Input/output error", replace=True)
    assert contents(folder) == before


def test_a_folder_filled_by_someone_else_meanwhile(tmp_path: Path) -> None:
    folder = tmp_path / "model"

    def slowly() -> Iterator[Tensor]:
        yield from TENSORS
        write_checkpoint(folder, CONFIG, random_tensors(CONFIG, seed=2))

    with pytest.raises(CheckpointError, match="not empty"):
        write_checkpoint(folder, CONFIG, slowly())
    assert list(tmp_path.iterdir()) == [folder]
    first = next(random_tensors(CONFIG, seed=2))
    assert np.array_equal(open_checkpoint(folder).tensors[first.name].data, first.data)


# A full disk


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 128 KiB; the small model needs 190."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=128k", "tmpfs", str(disk)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("only root may mount a file system")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def test_a_full_disk(small_disk: Path) -> None:
    folder = small_disk / "model"
    assert_refused(folder, TENSORS, "No space left on device; free some space")


def test_a_full_disk_when_replacing(small_disk: Path) -> None:
    config = small_config(layers=1, vocabulary_size=8)
    write_checkpoint(small_disk / "model", config, random_tensors(config, seed=1))
    before = contents(small_disk / "model")
    assert_refused(small_disk / "model", TENSORS, "No space left on device", replace=True)
    assert contents(small_disk / "model") == before


def test_a_disk_full_before_anything_is_written(small_disk: Path) -> None:
    with suppress(OSError):
        (small_disk / "ballast").write_bytes(bytes(1 << 20))
    assert_refused(small_disk / "model", TENSORS, "No space left on device")


LIMITED = """
import resource, sys
from checkpoint_files import small_config
from motet.checkpoint import CheckpointError, write_checkpoint
from motet.checkpoint.random import random_tensors

resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))
try:
    write_checkpoint(sys.argv[1], small_config(), random_tensors(small_config(), 1))
except CheckpointError as error:
    print(error)
"""


def test_a_limit_on_the_size_of_files(tmp_path: Path) -> None:
    result = subprocess.run(
        [sys.executable, "-c", LIMITED, str(tmp_path / "model")],
        capture_output=True,
        check=True,
        text=True,
        cwd=Path(__file__).parent,
    )
    assert "File too large; choose a disk" in result.stdout
    assert list(tmp_path.iterdir()) == []
