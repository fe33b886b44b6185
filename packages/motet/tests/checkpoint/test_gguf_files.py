"""The reader of GGUF: files of the gguf library, hostile ones, and damage by chance."""

import struct
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
from gguf_files import finish, huggingface_arrays, llama_tensors, write_gguf_file
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from motet.checkpoint import CheckpointError, open_checkpoint
from motet.checkpoint.gguf import GgufFile
from motet.checkpoint.gguf.file import GGML_TYPES


def test_the_sizes_of_the_types() -> None:
    for number, kind in GGML_TYPES.items():
        if kind.name != "MXFP4_PAIRS":  # Ollama's own
            theirs = gguf.GGMLQuantizationType(number)
            assert (kind.name, (kind.values, kind.size)) == (
                theirs.name,
                gguf.GGML_QUANT_SIZES[theirs],
            )


def test_every_kind_of_metadata(tmp_path: Path) -> None:
    path = tmp_path / "kinds.gguf"
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_uint8("u8", 200)
    writer.add_int8("i8", -100)
    writer.add_uint16("u16", 60_000)
    writer.add_int16("i16", -30_000)
    writer.add_uint32("u32", 4_000_000_000)
    writer.add_int32("i32", -2_000_000_000)
    writer.add_uint64("u64", 2**63)
    writer.add_int64("i64", -(2**62))
    writer.add_float32("f32", 0.5)
    writer.add_float64("f64", 0.1)
    writer.add_bool("yes", True)
    writer.add_bool("no", False)
    writer.add_string("text", "schön\n")
    writer.add_array("strings", ["a", "", "β"])
    writer.add_array("numbers", [1, -2, 3])
    writer.add_array("floats", [0.5, 0.25])
    writer.add_array("flags", [True, False])
    writer.add_tensor("t", np.arange(6, dtype=np.float32).reshape(2, 3))
    finish(writer)
    metadata = dict(GgufFile(path).metadata)
    arrays = {key: metadata.pop(key).tolist() for key in ("numbers", "floats", "flags")}
    assert arrays == {"numbers": [1, -2, 3], "floats": [0.5, 0.25], "flags": [True, False]}
    assert metadata == {
        "general.architecture": "llama",
        "u8": 200,
        "i8": -100,
        "u16": 60_000,
        "i16": -30_000,
        "u32": 4_000_000_000,
        "i32": -2_000_000_000,
        "u64": 2**63,
        "i64": -(2**62),
        "f32": 0.5,
        "f64": 0.1,
        "yes": True,
        "no": False,
        "text": "schön\n",
        "strings": ["a", "", "β"],
    }


def test_tensors_as_the_library_reads_them(tmp_path: Path) -> None:
    path = write_gguf_file(tmp_path / "model.gguf", llama_tensors(huggingface_arrays()))
    file = GgufFile(path)
    theirs = {tensor.name: tensor for tensor in gguf.GGUFReader(path).tensors}
    assert file.tensors.keys() == theirs.keys()
    for name, tensor in theirs.items():
        stored = file.tensors[name]
        assert stored.shape == tuple(reversed(tensor.shape.tolist()))
        assert stored.type.name == tensor.tensor_type.name
        assert stored.start == tensor.data_offset
        data = file.data(name)
        assert data.shape[-1] == stored.row_bytes
        assert data.tobytes() == tensor.data.tobytes()
        assert not data.flags.writeable


# Hostile files, written by hand


def string(text: bytes) -> bytes:
    return struct.pack("<Q", len(text)) + text


def pair(key: bytes, kind: int, value: bytes) -> bytes:
    return string(key) + struct.pack("<I", kind) + value


def tensor(
    name: bytes = b"t", shape: tuple[int, ...] = (8,), kind: int = 24, offset: int = 0
) -> bytes:
    dimensions = struct.pack(f"<I{len(shape)}Q", len(shape), *shape)
    return string(name) + dimensions + struct.pack("<IQ", kind, offset)


def content(
    pairs: list[bytes] = [],  # noqa: B006
    tensors: list[bytes] = [],  # noqa: B006
    *,
    version: int = 3,
    counts: tuple[int, int] | None = None,
    data: bytes = bytes(64),
) -> bytes:
    head = b"GGUF" + struct.pack("<IQQ", version, *(counts or (len(tensors), len(pairs))))
    head += b"".join([*pairs, *tensors])
    return head + bytes(-len(head) % 32) + data


U32, STRING, ARRAY = 4, 8, 9


@pytest.mark.parametrize(
    ("bytes_", "reason"),
    [
        (b"", "it is empty"),
        (b"GGU", "the magic number needs 4 bytes where 3 are left"),
        (b"GGML" + bytes(60), "this is not a GGUF file"),
        (content(version=1), "it has the version 1"),
        (content(version=3 << 24), "of a big-endian computer"),
        (b"GGUF" + struct.pack("<I", 3), "the number of tensors needs 8 bytes"),
        (content(counts=(2**63, 0)), "it announces 9223372036854775808 tensors"),
        (content(counts=(0, 2**40)), "and 1099511627776 keys"),
        (content(counts=(0, 90_000)), "occurs twice"),
        (content([struct.pack("<Q", 2**62)]), "is 4611686018427387904 bytes long"),
        (content([struct.pack("<Q", 60_000)]), "needs 60000 bytes"),
        (content([pair(b"\xff", U32, bytes(4))]), "is not UTF-8"),
        (content([pair(b"k\n", 99, b"")]), r"'k\n' has the unknown type 99"),
        (content([pair(b"k", U32, bytes(4))] * 2), "the key 'k' occurs twice"),
        (content([pair(b"k", 7, b"\2")]), "a boolean that is neither 0 nor 1"),
        (content([pair(b"k", STRING, struct.pack("<Q", 2**63))]), "needs 9223372036854775808"),
        (content([pair(b"k", STRING, string(b"\xff"))]), "is not UTF-8"),
        (content([pair(b"k", ARRAY, struct.pack("<IQ", 0, 2**60))]), "needs 1152921504606846976"),
        (content([pair(b"k", ARRAY, struct.pack("<IQ", 12, 2**64 - 1))]), "it is cut short"),
        (content([pair(b"k", ARRAY, struct.pack("<IQ", ARRAY, 1))]), "unknown type 9"),
        (
            content([pair(b"k", ARRAY, struct.pack("<IQ", STRING, 2**40))]),
            "announces 1099511627776",
        ),
        (content([pair(b"k", ARRAY, struct.pack("<IQ", STRING, 1000))]), "breaks off after"),
        (
            content([pair(b"k", ARRAY, struct.pack("<IQQ", STRING, 1, 2**64 - 1))]),
            "breaks off after 0",
        ),
        (
            content([pair(b"k", ARRAY, struct.pack("<IQ", STRING, 1) + string(b"\xff"))]),
            "a string that is not UTF-8",
        ),
        (content([pair(b"general.alignment", U32, struct.pack("<I", 48))]), "a power of two"),
        (content([pair(b"general.alignment", U32, bytes(4))]), "a power of two"),
        (content([pair(b"general.alignment", STRING, string(b"32"))]), "is '32'"),
        (content(tensors=[tensor(shape=())]), "has 0 dimensions"),
        (content(tensors=[tensor(shape=(1,) * 5)]), "has 5 dimensions"),
        (content(tensors=[string(b"t") + struct.pack("<I", 2**32 - 1)]), "has 4294967295 dim"),
        (content(tensors=[tensor(kind=5)]), "unknown ggml type 5"),
        (content(tensors=[tensor(kind=8, shape=(33,))]), "of type Q8_0 has the impossible shape"),
        (content(tensors=[tensor(shape=(0, 4))]), "impossible shape"),
        (content(tensors=[tensor(shape=(2**62, 2**62))]), "ends at byte"),
        (content(tensors=[tensor(shape=(65,))]), "it is cut short: tensor 't' ends"),
        (content(tensors=[tensor(offset=2**64 - 32)]), "it is cut short"),
        (content(tensors=[tensor(offset=8)]), "not aligned to 32 bytes"),
        (content(tensors=[tensor(b"a", (40,)), tensor(b"b", offset=32)]), "overlaps"),
        (content(tensors=[tensor(), tensor(offset=32)]), "tensor 't' occurs twice"),
    ],
)
def test_hostile_files(tmp_path: Path, bytes_: bytes, reason: str) -> None:
    path = tmp_path / "hostile.gguf"
    path.write_bytes(bytes_)
    with pytest.raises(CheckpointError) as caught:
        GgufFile(path)
    message = str(caught.value)
    assert message.startswith(str(path))
    assert reason in message
    assert message.isascii()
    assert "\n" not in message


def test_files_made_by_hand_are_right_but_for_what_is_wrong(tmp_path: Path) -> None:
    path = tmp_path / "right.gguf"
    path.write_bytes(content([pair(b"k", U32, bytes(4))], [tensor(), tensor(b"u", offset=32)]))
    file = GgufFile(path)
    assert file.metadata == {"k": 0}
    assert {name: file.data(name).shape for name in file.tensors} == {"t": (1, 8), "u": (1, 8)}


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="No such file"):
        GgufFile(tmp_path / "nothing.gguf")


# Damage by chance


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("models") / "model.gguf"
    return write_gguf_file(path, llama_tensors(huggingface_arrays())).read_bytes()


DETERMINISTIC = settings(
    max_examples=150,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


def touch_everything(path: Path) -> None:
    """Open and read all data: must not fail in any other way than by CheckpointError."""
    try:
        checkpoint = open_checkpoint(path)
    except CheckpointError:
        return
    for stored in checkpoint.tensors.values():
        int(stored.data.view(np.uint8).sum())


@DETERMINISTIC
@given(share=st.floats(0, 1, exclude_max=True))
def test_cut_anywhere(model: bytes, tmp_path: Path, share: float) -> None:
    path = tmp_path / "cut.gguf"
    path.write_bytes(model[: int(share * (len(model) - 31))])  # the last padding may be missing
    with pytest.raises(CheckpointError):
        open_checkpoint(path)


@DETERMINISTIC
@given(
    damage=st.lists(st.tuples(st.integers(0, 4_500), st.integers(0, 255)), min_size=1, max_size=8)
)
def test_changed_bytes(model: bytes, tmp_path: Path, damage: list[tuple[int, int]]) -> None:
    damaged = bytearray(model)
    for position, byte in damage:
        damaged[position % len(damaged)] = byte
    path = tmp_path / "changed.gguf"
    path.write_bytes(damaged)
    touch_everything(path)


@DETERMINISTIC
@given(rest=st.binary(max_size=200), counts=st.tuples(st.integers(0, 3), st.integers(0, 3)))
def test_garbage(tmp_path: Path, rest: bytes, counts: Any) -> None:
    path = tmp_path / "garbage.gguf"
    path.write_bytes(b"GGUF" + struct.pack("<IQQ", 3, *counts) + rest)
    touch_everything(path)
