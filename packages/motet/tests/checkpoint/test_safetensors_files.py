"""The reader of safetensors headers: hostile ones are refused, whatever is in them."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from checkpoint_files import read_raw, small_config, write_raw, write_safetensors
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from motet.checkpoint import CheckpointError, open_checkpoint, write_checkpoint
from motet.checkpoint.random import random_tensors
from motet.checkpoint.safetensors import SafetensorsFile

CONFIG = small_config(layers=1, vocabulary_size=8)


def entry(shape: Any, offsets: Any, dtype: Any = "U8") -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": offsets}


@pytest.mark.parametrize(
    ("header", "reason"),
    [
        (b"", "announce a header of 0 bytes"),
        (b"not json", "not valid JSON"),
        (b"\xff" * 8, "not valid JSON"),
        (b"[" * 100_000, "not valid JSON"),
        (b'{"a": 1, "a": 2}', "the key 'a' occurs twice"),
        ([], "not a JSON object"),
        ({"a": 3}, "entry for tensor 'a' is malformed"),
        ({"\ud800\n": entry([4], None)}, r"'\ud800\n' is malformed"),
        ({"a": entry([4], [0])}, "is malformed"),
        ({"a": entry([-4], [0, 4])}, "is malformed"),
        ({"a": entry([True], [0, 1])}, "is malformed"),
        ({"a": entry([4.0], [0, 4])}, "is malformed"),
        ({"a": entry([1] * 33, [0, 1])}, "is malformed"),
        ({"a": entry([2**62] * 30, [0, 4])}, "the header gives it 4"),
        ({"a": entry([4], [0, 4], 8)}, "is malformed"),
        ({"a": entry([4], [0, 4], "U4")}, "unknown dtype 'U4'"),
        ({"a": entry([2**40, 2**40], [0, 4])}, "the header gives it 4"),
        ({"a": entry([3], [0, 4])}, "needs 3 bytes, the header gives it 4"),
        ({"a": entry([4], [4, 0])}, "needs 4 bytes, the header gives it -4"),
        ({"a": entry([9], [0, 9])}, "it is cut short"),
        ({"a": entry([4], [0, 4]), "b": entry([6], [2, 8])}, "overlaps the one before it"),
        ({"a": entry([4], [0, 4]), "b": entry([3], [5, 8])}, "follows a gap"),
        ({"a": entry([7], [0, 7])}, "its tensors end at byte"),
        ({}, "its tensors end at byte"),
    ],
)
def test_hostile_headers(tmp_path: Path, header: Any, reason: str) -> None:
    path = tmp_path / "hostile.safetensors"
    write_raw(path, header, b"12345678")
    with pytest.raises(CheckpointError) as caught:
        SafetensorsFile(path)
    message = str(caught.value)
    assert message.startswith(str(path))
    assert reason in message
    assert message.isascii()
    assert "\n" not in message


@pytest.mark.parametrize("length", [2**64 - 1, 2**63, 100_000_001, 100_000_000, 17])
def test_absurd_header_lengths(tmp_path: Path, length: int) -> None:
    path = tmp_path / "absurd.safetensors"
    path.write_bytes(length.to_bytes(8, "little") + b"{}" + b" " * 14)
    with pytest.raises(CheckpointError, match="header"):
        SafetensorsFile(path)


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="No such file"):
        SafetensorsFile(tmp_path / "nothing.safetensors")
    (tmp_path / "folder.safetensors").mkdir()
    with pytest.raises(CheckpointError, match="Is a directory"):
        SafetensorsFile(tmp_path / "folder.safetensors")


def test_scalars_and_empty_tensors(tmp_path: Path) -> None:
    tensors = {
        "empty": ("F32", np.zeros((0, 3), np.float32)),
        "matrix": ("BF16", np.arange(6, dtype=np.uint16).reshape(2, 3)),
        "scalar": ("F32", np.ones((), np.float32)),
    }
    write_safetensors(tmp_path / "few.safetensors", tensors)
    file = SafetensorsFile(tmp_path / "few.safetensors")
    for name, (_, data) in tensors.items():
        assert np.array_equal(file.data(name), data)
        assert file.data(name).shape == data.shape


def test_a_file_of_the_safetensors_library(tmp_path: Path) -> None:
    library = pytest.importorskip("safetensors.numpy")
    tensors = {"b": np.arange(5, dtype=np.uint8), "a": np.ones((2, 2), np.float16)}
    library.save_file(tensors, tmp_path / "theirs.safetensors", metadata={"format": "np"})
    file = SafetensorsFile(tmp_path / "theirs.safetensors")
    assert {name: file.data(name).tolist() for name in file.tensors} == {
        name: data.tolist() for name, data in tensors.items()
    }


# Damage by chance


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "model"
    write_checkpoint(folder, CONFIG, random_tensors(CONFIG, seed=1), shard_bytes=6_000)
    return folder


def document(model: Path, name: str) -> Path:
    """A file of the model by its name, or the first or last of its shards."""
    shards = sorted(model.glob("*.safetensors"))
    return {"first": shards[0], "last": shards[-1]}.get(name, model / name)


def touch_everything(folder: Path) -> None:
    """Open and read all data: must not fail in any other way than by CheckpointError."""
    try:
        checkpoint = open_checkpoint(folder)
    except CheckpointError:
        return
    for tensor in checkpoint.tensors.values():
        assert tensor.data.shape == tensor.shape
        int(tensor.data.sum())


FILES = st.sampled_from(["config.json", "model.safetensors.index.json", "first", "last"])
AGAINST_MODEL = settings(
    max_examples=150,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


@AGAINST_MODEL
@given(name=FILES, share=st.floats(0, 1, exclude_max=True))
def test_cut_anywhere(model: Path, name: str, share: float) -> None:
    file = document(model, name)
    content = file.read_bytes()
    without_last_line_break = len(content) - 1
    try:
        file.write_bytes(content[: int(share * without_last_line_break)])
        with pytest.raises(CheckpointError):
            open_checkpoint(model)
    finally:
        file.write_bytes(content)


@AGAINST_MODEL
@given(
    name=FILES, damage=st.lists(st.tuples(st.integers(0, 3_000), st.integers(0, 255)), min_size=1)
)
def test_changed_bytes(model: Path, name: str, damage: list[tuple[int, int]]) -> None:
    file = document(model, name)
    content = file.read_bytes()
    damaged = bytearray(content)
    for position, byte in damage:
        damaged[position % len(damaged)] = byte
    try:
        file.write_bytes(damaged)
        touch_everything(model)
    finally:
        file.write_bytes(content)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=6,
)


@AGAINST_MODEL
@given(name=FILES, value=JSON, data=st.data())
def test_changed_values(model: Path, name: str, value: Any, data: st.DataObject) -> None:
    """Well-formed JSON that says something else: any value anywhere in the documents."""
    file = document(model, name)
    content = file.read_bytes()
    values = json.loads(content) if file.suffix == ".json" else read_raw(file)[0]
    target = values
    while True:
        key = data.draw(
            st.sampled_from(list(target) if isinstance(target, dict) else range(len(target)))
        )
        if not isinstance(target[key], dict | list) or not target[key] or data.draw(st.booleans()):
            target[key] = value
            break
        target = target[key]
    try:
        if file.suffix == ".json":
            file.write_text(json.dumps(values))
        else:
            write_raw(file, values, read_raw(file)[1])
        touch_everything(model)
    finally:
        file.write_bytes(content)
