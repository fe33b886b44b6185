"""Opening gpt-oss models in GGUF: llama.cpp's names and Ollama's, and all that is refused."""

import dataclasses
import shutil
from pathlib import Path

import gguf
import numpy as np
import pytest
from gguf_files import (
    CONFIG,
    Stored,
    bf16,
    huggingface_arrays,
    llama_tensors,
    mxfp4,
    renamed,
    write_gguf_file,
)

from motet.checkpoint import CheckpointError, from_bf16, open_checkpoint
from motet.checkpoint.gguf import huggingface_tensors
from motet.checkpoint.inspection import inspect_checkpoint

ARRAYS = huggingface_arrays()
TENSORS = llama_tensors(ARRAYS)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return write_gguf_file(tmp_path / "model.gguf", TENSORS)


def assert_same_model(path: Path) -> None:
    """Everything but the rounded matrices comes back as in the Hugging Face layout."""
    for tensor in huggingface_tensors(open_checkpoint(path)):
        if tensor.dtype != "F32":
            assert np.array_equal(tensor.data, ARRAYS[tensor.name]), tensor.name


# What can be opened


def test_a_model_of_llama_cpp(model: Path) -> None:
    checkpoint = open_checkpoint(model)
    assert checkpoint.config == CONFIG
    assert (checkpoint.layout, checkpoint.path, checkpoint.files) == ("gguf", model, (model,))
    experts = "model.layers.1.mlp.experts"
    gate, down = (
        checkpoint.tensors[f"{experts}.gate_proj"],
        checkpoint.tensors[f"{experts}.down_proj"],
    )
    assert (gate.dtype, gate.shape, gate.data.shape) == ("MXFP4", (3, 32, 64), (3, 32, 34))
    assert (down.dtype, down.shape, down.data.shape) == ("MXFP4", (3, 64, 32), (3, 64, 17))
    table = checkpoint.tensors["model.embed_tokens.weight"]
    assert (table.dtype, table.shape, table.data.shape) == ("Q8_0", (300, 64), (300, 68))
    assert table.data.tobytes() == TENSORS["token_embd.weight"][0].tobytes()
    sinks = checkpoint.tensors["model.layers.0.self_attn.sinks"]
    assert np.array_equal(sinks.data, from_bf16(ARRAYS[sinks.name]))
    assert len(checkpoint.tensors) == 3 + 2 * 19
    assert not any(tensor.data.flags.writeable for tensor in checkpoint.tensors.values())
    assert_same_model(model)


def test_matrices_in_bfloat16_come_back_unchanged(tmp_path: Path) -> None:
    model = write_gguf_file(tmp_path / "model.gguf", llama_tensors(ARRAYS, dense=bf16))
    tensors = {tensor.name: tensor for tensor in huggingface_tensors(open_checkpoint(model))}
    assert tensors.keys() == ARRAYS.keys()
    for name, array in ARRAYS.items():
        assert tensors[name].dtype in ("BF16", "U8")
        assert np.array_equal(tensors[name].data, array), name


def test_what_is_no_bfloat16_comes_back_as_float32(tmp_path: Path) -> None:
    third = np.full(64, 1 / 3, dtype=np.float32)
    stored = TENSORS | {"output_norm.weight": (third, None)}
    model = write_gguf_file(tmp_path / "model.gguf", stored)
    tensors = {tensor.name: tensor for tensor in huggingface_tensors(open_checkpoint(model))}
    assert tensors["model.norm.weight"].dtype == "F32"
    assert np.array_equal(tensors["model.norm.weight"].data, third)
    theirs = gguf.quants.dequantize(
        stored["blk.0.attn_q.weight"][0], gguf.GGMLQuantizationType.Q8_0
    )
    assert np.array_equal(tensors["model.layers.0.self_attn.q_proj.weight"].data, theirs)


OLLAMA_NAMES = [
    ("attn_output", "attn_out"),
    ("attn_sinks.weight", "attn_sinks"),
    ("post_attention_norm", "ffn_norm"),
]


def test_the_names_of_ollama(tmp_path: Path) -> None:
    stored = renamed(TENSORS, OLLAMA_NAMES)
    path = tmp_path / "sha256-0123"  # as Ollama names its files
    write_gguf_file(path, stored, architecture="gptoss")
    assert open_checkpoint(path).config == CONFIG
    assert_same_model(path)


def fused(stored: Stored, *, pairs: bool = False) -> Stored:
    """Query, key and value in one, gate and up interleaved: Ollama's first converter."""
    result = {
        name: tensor
        for name, tensor in renamed(stored, OLLAMA_NAMES).items()
        if not any(
            part in name for part in ("attn_q.", "attn_k.", "attn_v.", "gate_exps", "up_exps")
        )
    }
    for layer in range(CONFIG.layers):
        for kind in ("weight", "bias"):
            parts = [stored[f"blk.{layer}.attn_{part}.{kind}"] for part in "qkv"]
            whole = np.concatenate([array for array, _ in parts])
            result[f"blk.{layer}.attn_qkv.{kind}"] = whole, parts[0][1]
        for ours, theirs in (("gate_up_proj", "gate_up_exps"), ("down_proj", "down_exps")):
            name = f"model.layers.{layer}.mlp.experts.{ours}"
            blocks, scales = ARRAYS[f"{name}_blocks"], ARRAYS[f"{name}_scales"]
            data, number = mxfp4(blocks, scales)
            if pairs:
                data = np.concatenate([scales[..., np.newaxis], blocks], axis=-1)
                data = data.reshape(*scales.shape[:-1], -1)
            result[f"blk.{layer}.ffn_{theirs}.weight"] = data, number
            result[f"blk.{layer}.ffn_{theirs}.bias"] = from_bf16(ARRAYS[f"{name}_bias"]), None
    return result


def test_fused_tensors(tmp_path: Path) -> None:
    model = write_gguf_file(tmp_path / "model.gguf", fused(TENSORS), architecture="gptoss")
    checkpoint = open_checkpoint(model)
    experts = checkpoint.tensors["model.layers.0.mlp.experts.gate_up_proj"]
    assert (experts.dtype, experts.shape) == ("MXFP4", (3, 64, 64))
    assert checkpoint.tensors["model.layers.0.self_attn.v_proj.bias"].shape == (32,)
    assert_same_model(model)


def test_the_first_mxfp4_of_ollama(tmp_path: Path) -> None:
    model = write_gguf_file(
        tmp_path / "model.gguf", fused(TENSORS, pairs=True), architecture="gptoss"
    )
    content = bytearray(model.read_bytes())
    for name in (b"ffn_gate_up_exps.weight", b"ffn_down_exps.weight"):
        place = 0
        while (place := content.find(name, place)) >= 0:
            place += len(name) + 4 + 3 * 8  # three dimensions
            assert content[place] == gguf.GGMLQuantizationType.MXFP4
            content[place] = 4
    model.write_bytes(content)
    experts = open_checkpoint(model).tensors["model.layers.0.mlp.experts.down_proj"]
    assert experts.dtype == "MXFP4_PAIRS"
    assert_same_model(model)


def test_a_folder_with_one_file(model: Path) -> None:
    assert open_checkpoint(model.parent).config == CONFIG


# Split sets


def write_split(folder: Path, counts: tuple[int, ...] = (2, 2)) -> list[Path]:
    names = list(TENSORS)
    paths = []
    for number, part in enumerate((names[:10], names[10:])):
        path = folder / f"model-{number + 1:05}-of-00002.gguf"

        def adjust(writer: gguf.GGUFWriter, number: int = number) -> None:
            writer.add_uint16("split.no", number)
            writer.add_uint16("split.count", counts[number])
            writer.add_int32("split.tensors.count", len(names))

        paths.append(write_gguf_file(path, {name: TENSORS[name] for name in part}, adjust=adjust))
    return paths


def test_a_split_set(tmp_path: Path) -> None:
    first, second = write_split(tmp_path)
    for path in (first, second, tmp_path):
        assert open_checkpoint(path).files == (first, second)
        assert_same_model(path)


def test_split_sets_that_are_not_whole(tmp_path: Path) -> None:
    first, second = write_split(tmp_path)
    lone = tmp_path / "lone.gguf"
    first.rename(lone)
    with pytest.raises(
        CheckpointError, match="it is part 1 of 2, its name and neighbours say 1 of 1"
    ):
        open_checkpoint(lone)
    with pytest.raises(CheckpointError, match=r"model-00001-of-00002\.gguf is missing"):
        open_checkpoint(second)
    shutil.copy(second, first)
    with pytest.raises(CheckpointError, match="it is part 2 of 2"):
        open_checkpoint(second)
    write_split(tmp_path, counts=(2, 3))
    with pytest.raises(CheckpointError, match="it is part 2 of 3"):
        open_checkpoint(first)
    absurd = tmp_path / "model-00001-of-99999.gguf"
    shutil.copy(second, absurd)
    with pytest.raises(CheckpointError, match="no such part"):
        open_checkpoint(absurd)


def test_several_models_in_a_folder(model: Path) -> None:
    shutil.copy(model, model.with_name("other.gguf"))
    with pytest.raises(
        CheckpointError, match=r"more than one GGUF model, such as model\.gguf and other"
    ):
        open_checkpoint(model.parent)


# What is refused


def without(name: str) -> Stored:
    return {other: tensor for other, tensor in TENSORS.items() if other != name}


NORM = "output_norm.weight"
Q4_0 = (np.zeros((64, 36), np.uint8), gguf.GGMLQuantizationType.Q4_0)


@pytest.mark.parametrize(
    ("stored", "reason"),
    [
        (without("blk.1.attn_k.bias"), "tensor 'blk.1.attn_k.bias' is missing"),
        (without("output.weight"), "tensor 'output.weight' is missing"),
        (TENSORS | {"blk.2.x": TENSORS[NORM]}, "'blk.2.x' is not part of a gpt-oss model"),
        (
            TENSORS | {NORM: (np.ones(32, np.float32), None)},
            "'output_norm.weight' is F32 [32], the metadata demand [64]",
        ),
        (TENSORS | {"blk.0.attn_q.weight": Q4_0}, "'blk.0.attn_q.weight' is Q4_0, Motet reads F32"),
        (
            TENSORS | {NORM: (np.zeros(68, np.uint8), gguf.GGMLQuantizationType.Q8_0)},
            "'output_norm.weight' is Q8_0, Motet reads F32, F16 or BF16 there",
        ),
    ],
)
def test_tensors_that_do_not_fit(tmp_path: Path, stored: Stored, reason: str) -> None:
    model = write_gguf_file(tmp_path / "model.gguf", stored)
    with pytest.raises(CheckpointError) as caught:
        open_checkpoint(model)
    assert str(caught.value).startswith(f"{model}: ")
    assert reason in str(caught.value)
    report = inspect_checkpoint(model)
    assert report.problem == str(caught.value)
    assert report.files == (("model.gguf", model.stat().st_size),)


def test_experts_that_are_not_mxfp4_have_no_original_bytes(tmp_path: Path) -> None:
    name = "blk.0.ffn_down_exps.weight"
    model = write_gguf_file(
        tmp_path / "model.gguf", TENSORS | {name: (np.ones((3, 64, 32), np.float16), None)}
    )
    checkpoint = open_checkpoint(model)
    with pytest.raises(CheckpointError, match="the experts are F16"):
        list(huggingface_tensors(checkpoint))


def test_a_vocabulary_that_nobody_names(model: Path) -> None:
    with pytest.raises(CheckpointError, match="the file names none"):
        _ = open_checkpoint(model).vocabulary


def test_inspection(model: Path) -> None:
    report = inspect_checkpoint(model)
    rows = dict(report.rows())
    assert report.whole
    assert rows["Layout"] == "GGUF (llama.cpp)"
    assert dict(report.encodings) == {
        kind: sum(
            array.nbytes
            for array, theirs in TENSORS.values()
            if (theirs.name if theirs else "F32") == kind
        )
        for kind in ("MXFP4", "Q8_0", "F32")
    }
    assert report.tensor_bytes == sum(array.nbytes for array, _ in TENSORS.values())
    assert "Q8_0" in rows["Encodings"]
    assert dataclasses.replace(report, encodings=()).rows()[4] == ("Encodings", "unknown")
