"""Opening checkpoints: both layouts, sharded or not, and everything that can be wrong with one."""

import json
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from checkpoint_files import (
    PUBLISHED_20B,
    original_values,
    read_raw,
    small_config,
    stored_tensors,
    write_original,
    write_raw,
    write_safetensors,
)

from motet.checkpoint import CheckpointError, ModelConfig, open_checkpoint, write_checkpoint
from motet.checkpoint.layout import tensor_specs
from motet.checkpoint.random import random_tensors
from motet.harmony.vocabulary import VOCABULARY_FILE, o200k_harmony

CONFIG = small_config()
DAMAGED_TENSOR = "model.layers.1.mlp.experts.down_proj_blocks"


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "whole"
    write_checkpoint(folder, CONFIG, random_tensors(CONFIG, seed=1))
    return folder


@pytest.fixture
def model(pristine: Path, tmp_path: Path) -> Path:
    """A model in one file, to be damaged."""
    return Path(shutil.copytree(pristine, tmp_path / "model"))


@pytest.fixture
def sharded(tmp_path: Path) -> Path:
    folder = tmp_path / "sharded"
    write_checkpoint(folder, CONFIG, random_tensors(CONFIG, seed=1), shard_bytes=30_000)
    assert len(list(folder.glob("*.safetensors"))) >= 3
    return folder


def assert_holds_the_random_model(folder: Path) -> None:
    checkpoint = open_checkpoint(folder)
    expected = list(random_tensors(checkpoint.config, seed=1))
    assert list(checkpoint.tensors) == [tensor.name for tensor in expected]
    for tensor in expected:
        found = checkpoint.tensors[tensor.name]
        assert (found.name, found.dtype, found.shape) == (tensor.name, tensor.dtype, tensor.shape)
        assert np.array_equal(found.data, tensor.data)
        assert not found.data.flags.writeable
        assert not found.data.flags.owndata
    assert checkpoint.tensor_bytes == sum(tensor.nbytes for tensor in expected)


def refusal(folder: Path | str) -> str:
    with pytest.raises(CheckpointError) as caught:
        open_checkpoint(folder)
    message = str(caught.value)
    assert "\n" not in message
    assert len(message) < 600
    return message


# What is read


def test_one_file(model: Path) -> None:
    assert_holds_the_random_model(model)
    checkpoint = open_checkpoint(str(model))
    assert (checkpoint.layout, checkpoint.path) == ("huggingface", model)
    assert checkpoint.files == (model / "model.safetensors",)
    assert checkpoint.config == CONFIG


def test_shards_with_an_index(sharded: Path) -> None:
    assert_holds_the_random_model(sharded)
    (sharded / "extra.safetensors").write_bytes(b"not named by the index, so not looked at")
    assert_holds_the_random_model(sharded)


def test_shards_without_an_index(sharded: Path) -> None:
    (sharded / "model.safetensors.index.json").unlink()
    assert_holds_the_random_model(sharded)


@pytest.mark.parametrize("opened", ["", "original"])
def test_the_original_layout(tmp_path: Path, opened: str) -> None:
    config = small_config(attention_heads=8, key_value_heads=1, experts=5)
    write_original(tmp_path / "original", config, random_tensors(config, seed=1))
    assert_holds_the_random_model(tmp_path / opened)
    checkpoint = open_checkpoint(tmp_path / opened)
    assert (checkpoint.layout, checkpoint.config) == ("original", config)
    query = checkpoint.tensors["model.layers.0.self_attn.q_proj.weight"].data
    key = checkpoint.tensors["model.layers.0.self_attn.k_proj.weight"].data
    assert query.ctypes.data + query.nbytes == key.ctypes.data  # slices of one matrix, no copies


def test_both_layouts_in_one_folder(model: Path) -> None:
    write_original(model / "original", CONFIG, random_tensors(CONFIG, seed=2))
    assert open_checkpoint(model).layout == "huggingface"
    (model / "model.safetensors").unlink()
    assert open_checkpoint(model).layout == "original"


def test_large_tensors_start_at_cache_lines(pristine: Path) -> None:
    for tensor in open_checkpoint(pristine).tensors.values():
        assert tensor.nbytes % 64 or tensor.data.ctypes.data % 64 == 0


def test_the_vocabulary(tmp_path: Path, model: Path) -> None:
    vocabulary = o200k_harmony().first(300)
    config = small_config(vocabulary_size=vocabulary.size)
    folder = tmp_path / "cut"
    write_checkpoint(folder, config, random_tensors(config, seed=1), vocabulary)
    assert open_checkpoint(folder).vocabulary.to_json() == vocabulary.to_json()
    with pytest.raises(CheckpointError, match=f"300 token ids.*no {VOCABULARY_FILE}"):
        _ = open_checkpoint(model).vocabulary
    (model / VOCABULARY_FILE).write_text(json.dumps(vocabulary.to_json()))
    assert "it has 309 token ids, the config says 300" in refusal(model)
    (model / VOCABULARY_FILE).write_text('{"base": "unheard-of"}')
    assert VOCABULARY_FILE in refusal(model)


# What is refused: folders


def test_no_model_at_all(tmp_path: Path, model: Path) -> None:
    assert "does not exist" in refusal(tmp_path / "nowhere")
    assert "does not exist" in refusal("a\0b")
    assert "is a file: pass the folder" in refusal(model / "model.safetensors")
    (tmp_path / "empty").mkdir()
    assert "is not a gpt-oss model: there is no config.json" in refusal(tmp_path / "empty")
    assert "File name too long" in refusal(tmp_path / ("n" * 300))


def test_a_config_alone(model: Path) -> None:
    (model / "model.safetensors").unlink()
    assert "has a config but no .safetensors files" in refusal(model)


def test_contradicting_configs(model: Path) -> None:
    (model / "original").mkdir()
    values = original_values(CONFIG) | {"sliding_window": 6}
    (model / "original" / "config.json").write_text(json.dumps(values))
    message = refusal(model)
    assert "contradict each other: sliding_window is 5 in the first and 6 in the second" in message


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b"", "not valid JSON"),
        (b"\xff\xfe", "not valid JSON"),
        (b"[" * 100_000, "not valid JSON"),
        (b"1" * 5_000, "not valid JSON"),
        (b"[]", "has to be a JSON object, it is []"),
        (b"{}", "the key model_type is missing"),
        (b'{"num_experts": 3}', "the key num_hidden_layers is missing"),
        (b'{"model_type": "llama"}', "model_type is 'llama', it has to be 'gpt_oss'"),
    ],
)
def test_a_config_that_is_none(model: Path, text: bytes, reason: str) -> None:
    (model / "config.json").write_bytes(text)
    message = refusal(model)
    assert reason in message
    assert str(model / "config.json") in message


# What is refused: shards and index


def test_a_missing_shard(sharded: Path) -> None:
    shard = sorted(sharded.glob("*.safetensors"))[1]
    shard.unlink()
    message = refusal(sharded)
    assert str(shard) in message
    assert "is missing" in message


@pytest.mark.parametrize("keep", [0, 4, 8, 5_000, -1])
def test_a_truncated_shard(sharded: Path, keep: int) -> None:
    shard = sorted(sharded.glob("*.safetensors"))[1]
    shard.write_bytes(shard.read_bytes()[:keep])
    message = refusal(sharded)
    assert str(shard) in message
    assert "download it again" in message


def test_an_index_that_lies(sharded: Path) -> None:
    index = sharded / "model.safetensors.index.json"
    values = json.loads(index.read_text())
    last = max(values["weight_map"].values())

    def with_place(place: object) -> str:
        places = values["weight_map"] | {"model.norm.weight": place}
        index.write_text(json.dumps({"weight_map": places}))
        return refusal(sharded)

    first = min(values["weight_map"].values())
    assert first != last
    assert f"'model.norm.weight' is in {first}, which does not have it" in with_place(first)
    assert "'../model.safetensors' is not the name of a file" in with_place("../model.safetensors")
    assert "is missing" in with_place("a\0b")
    assert "weight_map has to map" in with_place(3)
    index.write_text("{}")
    assert "weight_map has to map" in refusal(sharded)
    index.write_text('{"weight_map": {}}')
    assert "tensor 'model.embed_tokens.weight' is missing" in refusal(sharded)


def test_the_same_tensor_in_two_files(model: Path) -> None:
    shutil.copy(model / "model.safetensors", model / "copy.safetensors")
    assert "is also in" in refusal(model)


# What is refused: tensors


Stored = dict[str, tuple[str, np.ndarray]]


def drop(stored: Stored) -> None:
    del stored[DAMAGED_TENSOR]


def reshape(stored: Stored) -> None:
    dtype, data = stored[DAMAGED_TENSOR]
    stored[DAMAGED_TENSOR] = (dtype, data.reshape(3, -1))


def retype(stored: Stored) -> None:
    stored[DAMAGED_TENSOR] = ("I8", stored[DAMAGED_TENSOR][1])


def widen(stored: Stored) -> None:
    name = "model.norm.weight"
    stored[name] = ("F32", stored[name][1].astype(np.float32))


def add(stored: Stored) -> None:
    stored["model.layers.2.input_layernorm.weight"] = stored["model.norm.weight"]


def dequantise(stored: Stored) -> None:
    for name in list(stored):
        if name.endswith(("_blocks", "_scales")):
            del stored[name]
            stored[name[:-7]] = ("BF16", np.zeros((3, 64, 64), np.uint16))


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (drop, f"tensor '{DAMAGED_TENSOR}' is missing"),
        (reshape, f"'{DAMAGED_TENSOR}' is U8 [3, 1024], the config demands U8 [3, 64, 1, 16]"),
        (retype, f"'{DAMAGED_TENSOR}' is I8 [3, 64, 1, 16], the config demands U8"),
        (widen, "'model.norm.weight' is F32 [64], the config demands BF16 [64]"),
        (add, "'model.layers.2.input_layernorm.weight' is not part of a gpt-oss model"),
        (dequantise, "the experts are not MXFP4: there is a tensor"),
    ],
)
def test_tensors_that_do_not_fit(
    model: Path, damage: Callable[[Stored], None], reason: str
) -> None:
    stored = stored_tensors(random_tensors(CONFIG, seed=1))
    damage(stored)
    write_safetensors(model / "model.safetensors", stored)
    assert reason in refusal(model)


def test_a_config_that_contradicts_the_tensors(model: Path) -> None:
    values = json.loads((model / "config.json").read_text())
    (model / "config.json").write_text(json.dumps(values | {"vocab_size": 301}))
    message = refusal(model)
    assert "'model.embed_tokens.weight' is BF16 [300, 64], the config demands BF16 [301" in message


def test_dequantised_experts_in_the_original_layout(tmp_path: Path) -> None:
    write_original(tmp_path / "original", CONFIG, random_tensors(CONFIG, seed=1))
    file = tmp_path / "original" / "model.safetensors"
    header, data = read_raw(file)
    header["block.0.mlp.mlp1_weight"] = header.pop("block.0.mlp.mlp1_weight.blocks")
    write_raw(file, header, data)
    assert "the experts are not MXFP4" in refusal(tmp_path)


def test_unaligned_tensors(model: Path) -> None:
    file = model / "model.safetensors"
    content = file.read_bytes()
    end = 8 + int.from_bytes(content[:8], "little")
    file.write_bytes((end - 7).to_bytes(8, "little") + content[8:end] + b" " + content[end:])
    assert "which is no multiple of its 2-byte values" in refusal(model)


def resident_bytes() -> int:
    pages = Path("/proc/self/statm").read_text().split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_opening_reads_no_data(tmp_path: Path) -> None:
    """A hollow gpt-oss-20b: 13.8 GB of file size, of which only the header is on the disk."""
    config = ModelConfig.from_original(PUBLISHED_20B)
    header, position = {}, 0
    for spec in tensor_specs(config):
        offsets = [position, position + spec.nbytes]
        header[spec.name] = {"dtype": spec.dtype, "shape": spec.shape, "data_offsets": offsets}
        position += spec.nbytes
    file = tmp_path / "model.safetensors"
    write_raw(file, header, b"")
    os.truncate(file, file.stat().st_size + position)
    (tmp_path / "config.json").write_text(json.dumps(config.to_huggingface()))
    before = resident_bytes()
    checkpoint = open_checkpoint(tmp_path)
    assert resident_bytes() - before < 30_000_000
    assert len(checkpoint.tensors) == 459
    assert checkpoint.tensor_bytes == 13_761_264_768
