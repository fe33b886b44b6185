"""Writing GGUF: read by the gguf library, read back by Motet, and never half there."""

import dataclasses
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
from checkpoint_files import small_config
from tokenizers import Tokenizer
from tokenizers.decoders import ByteLevel as ByteLevelDecoder
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel

from motet.checkpoint import (
    CheckpointError,
    Tensor,
    TensorStream,
    dequantize,
    from_bf16,
    open_checkpoint,
    write_checkpoint,
)
from motet.checkpoint.gguf import huggingface_tensors, write_gguf
from motet.checkpoint.random import random_streams, random_tensors
from motet.harmony import o200k_harmony

VOCABULARY = o200k_harmony().first(2_000)
CONFIG = small_config(vocabulary_size=VOCABULARY.size)
TENSORS = {tensor.name: tensor for tensor in random_tensors(CONFIG, seed=1)}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("models") / "model.gguf"
    write_gguf(path, CONFIG, TENSORS, VOCABULARY)
    return path


def theirs(path: Path) -> dict[str, np.ndarray]:
    """The values of every tensor, as the gguf library reads them."""
    return {
        tensor.name: gguf.quants.dequantize(tensor.data, tensor.tensor_type)
        for tensor in gguf.GGUFReader(path).tensors
    }


# What is written


def test_the_values_as_the_library_reads_them(model: Path) -> None:
    values = theirs(model)
    experts = "model.layers.1.mlp.experts"
    fused = dequantize(
        TENSORS[f"{experts}.gate_up_proj_blocks"].data,
        TENSORS[f"{experts}.gate_up_proj_scales"].data,
    )
    assert np.array_equal(values["blk.1.ffn_gate_exps.weight"], fused[:, 0::2])
    assert np.array_equal(values["blk.1.ffn_up_exps.weight"], fused[:, 1::2])
    bias = from_bf16(TENSORS[f"{experts}.gate_up_proj_bias"].data)
    assert np.array_equal(values["blk.1.ffn_gate_exps.bias"], bias[:, 0::2])
    assert np.array_equal(values["blk.1.ffn_up_exps.bias"], bias[:, 1::2])
    down = dequantize(
        TENSORS[f"{experts}.down_proj_blocks"].data, TENSORS[f"{experts}.down_proj_scales"].data
    )
    assert np.array_equal(values["blk.1.ffn_down_exps.weight"], down)
    router = from_bf16(TENSORS["model.layers.0.mlp.router.weight"].data)
    assert np.array_equal(values["blk.0.ffn_gate_inp.weight"], router)
    for name, ours in (
        ("token_embd.weight", "model.embed_tokens.weight"),
        ("output.weight", "lm_head.weight"),
        ("blk.0.attn_output.weight", "model.layers.0.self_attn.o_proj.weight"),
    ):
        kind = gguf.GGMLQuantizationType.Q8_0
        rounded = gguf.quants.quantize(from_bf16(TENSORS[ours].data), kind)
        assert np.array_equal(values[name], gguf.quants.dequantize(rounded, kind))


def test_the_tensors_that_llama_cpp_wants(model: Path) -> None:
    names = {name for name in theirs(model) if not name.startswith("blk.1.")}
    known = gguf.get_tensor_name_map(gguf.MODEL_ARCH.GPT_OSS, 1)
    wanted = {gguf.TENSOR_NAMES[kind] for kind in gguf.MODEL_TENSORS[gguf.MODEL_ARCH.GPT_OSS]}
    stems = {name.rpartition(".")[0] for name in names}
    assert {stem.replace("blk.0.", "blk.{bid}.") for stem in stems} <= wanted
    assert known.get_name("model.layers.0.self_attn.sinks") in stems
    assert len(names) == 3 + 19


def test_the_metadata_as_the_library_reads_them(model: Path) -> None:
    fields = gguf.GGUFReader(model).fields
    key, architecture = gguf.Keys, "gpt-oss"
    expected = {
        key.General.ARCHITECTURE: architecture,
        key.General.FILE_TYPE: gguf.LlamaFileType.MOSTLY_MXFP4_MOE,
        key.LLM.BLOCK_COUNT: 2,
        key.LLM.EMBEDDING_LENGTH: 64,
        key.LLM.FEED_FORWARD_LENGTH: 32,
        key.LLM.EXPERT_FEED_FORWARD_LENGTH: 32,
        key.LLM.EXPERT_COUNT: 3,
        key.LLM.EXPERT_USED_COUNT: 2,
        key.LLM.CONTEXT_LENGTH: 256,
        key.LLM.VOCAB_SIZE: VOCABULARY.size,
        key.Attention.HEAD_COUNT: 4,
        key.Attention.HEAD_COUNT_KV: 2,
        key.Attention.KEY_LENGTH: 16,
        key.Attention.VALUE_LENGTH: 16,
        key.Attention.SLIDING_WINDOW: 5,
        key.Attention.LAYERNORM_RMS_EPS: pytest.approx(1e-5),
        key.Rope.FREQ_BASE: 10_000.0,
        key.Rope.SCALING_TYPE: "yarn",
        key.Rope.SCALING_FACTOR: 4.0,
        key.Rope.SCALING_ORIG_CTX_LEN: 64,
        key.Rope.SCALING_YARN_BETA_FAST: 32.0,
        key.Rope.SCALING_YARN_BETA_SLOW: 1.0,
        key.Tokenizer.MODEL: "gpt2",
        key.Tokenizer.PRE: "gpt-4o",
        key.Tokenizer.BOS_ID: VOCABULARY.startoftext,
        key.Tokenizer.EOS_ID: VOCABULARY.return_,
        key.Tokenizer.PAD_ID: VOCABULARY.endoftext,
    }
    found = {name: fields[name.format(arch=architecture)].contents() for name in expected}
    assert found == expected


def contents(model: Path, key: str) -> Any:
    return gguf.GGUFReader(model).fields[key].contents()


@pytest.mark.parametrize("text", ["international", "ไทย日本語", "don't", "a" * 50, "\x00é\n"])
def test_the_tokenizer_in_the_hands_of_another_library(model: Path, text: str) -> None:
    tokens = contents(model, "tokenizer.ggml.tokens")
    merges = [tuple(pair.split(" ")) for pair in contents(model, "tokenizer.ggml.merges")]
    tokenizer = Tokenizer(BPE({token: number for number, token in enumerate(tokens)}, merges))
    tokenizer.pre_tokenizer = ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = ByteLevelDecoder()
    ids = tokenizer.encode(text).ids
    assert tokenizer.decode(ids) == text
    if len(VOCABULARY.encode(text)) == len(ids):  # where the regex cuts nothing
        assert VOCABULARY.encode(text) == ids
    assert contents(model, "tokenizer.ggml.token_type").count(3) == 9


# The way back


def test_the_way_back(model: Path) -> None:
    checkpoint = open_checkpoint(model)
    assert checkpoint.config == CONFIG
    assert checkpoint.vocabulary == VOCABULARY
    back = list(huggingface_tensors(checkpoint))
    assert [tensor.name for tensor in back] == list(TENSORS)
    for tensor in back:
        original = TENSORS[tensor.name]
        assert (tensor.shape, tensor.data.shape) == (original.shape, original.shape)
        if tensor.dtype == "F32":  # was rounded to Q8_0
            rounding = np.abs(from_bf16(original.data)).max() / 127
            assert np.abs(tensor.data - from_bf16(original.data)).max() < 0.51 * rounding
            assert tensor.name.endswith(("_proj.weight", "embed_tokens.weight", "lm_head.weight"))
        else:
            assert tensor.dtype == original.dtype
            assert np.array_equal(tensor.data, original.data), tensor.name


def test_from_a_folder_and_from_streams(model: Path, tmp_path: Path) -> None:
    write_checkpoint(tmp_path / "folder", CONFIG, random_streams(CONFIG, seed=1), VOCABULARY)
    opened = open_checkpoint(tmp_path / "folder")
    for name, source in {
        "folder": opened.tensors,
        "streams": {stream.name: stream for stream in random_streams(CONFIG, seed=1)},
    }.items():
        path = tmp_path / f"{name}.gguf"
        write_gguf(path, CONFIG, source, VOCABULARY, name="model")
        assert path.read_bytes() == model.read_bytes()


def test_without_a_vocabulary(tmp_path: Path) -> None:
    sizes: list[int] = []
    path = tmp_path / "model.gguf"
    write_gguf(path, CONFIG, TENSORS, written=sizes.append)
    assert contents(path, "tokenizer.ggml.model") == "none"
    checkpoint = open_checkpoint(path)
    assert checkpoint.cut_vocabulary is None
    assert sum(sizes) == checkpoint.tensor_bytes


# What is refused


def assert_refused(path: Path, tensors: Any, reason: str, **changes: Any) -> None:
    before = {file: file.read_bytes() for file in path.parent.rglob("*") if file.is_file()}
    with pytest.raises(CheckpointError) as caught:
        write_gguf(path, dataclasses.replace(CONFIG, **changes), tensors)
    assert reason in str(caught.value)
    assert "\n" not in str(caught.value)
    assert {file: file.read_bytes() for file in path.parent.rglob("*") if file.is_file()} == before


def test_what_cannot_be_written(tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    norm = TENSORS["model.norm.weight"]
    missing = {name: tensor for name, tensor in TENSORS.items() if tensor is not norm}
    short = Tensor(norm.name, "BF16", (32,), norm.data[:32])
    assert_refused(path, missing, "tensor model.norm.weight was not given")
    assert_refused(path, missing | {norm.name: short}, "'model.norm.weight'")
    assert_refused(path, TENSORS, "swiglu_limit of 7.0, not 8.0", swiglu_limit=8.0)
    same = ("full_attention",) * 2
    assert_refused(path, TENSORS, "even layers alone slide", layer_types=same)
    with pytest.raises(CheckpointError, match="409 token ids, the config says 2009"):
        write_gguf(path, CONFIG, TENSORS, o200k_harmony().first(400))
    infinite = np.full(CONFIG.hidden_size, 0x7F80, np.uint16) + np.zeros((64, 1), np.uint16)
    name = "model.layers.0.self_attn.q_proj.weight"
    broken = TENSORS | {name: Tensor(name, "BF16", (64, 64), infinite)}
    assert_refused(path, broken, "contain an infinity or a NaN")


def test_files_that_may_not_be_written(tmp_path: Path) -> None:
    (tmp_path / "taken.gguf").write_text("precious")
    assert_refused(tmp_path / "taken.gguf", TENSORS, "it exists already, choose another name")
    (tmp_path / "folder.gguf").mkdir()
    assert_refused(tmp_path / "folder.gguf", TENSORS, "it exists already")
    assert_refused(tmp_path / "no" / "model.gguf", TENSORS, "there is no folder")
    assert_refused(tmp_path / ("n" * 250 + ".gguf"), TENSORS, "File name too long")


def test_an_exception_of_the_source_leaves_nothing(tmp_path: Path) -> None:
    def failing() -> Iterator[np.ndarray]:
        yield np.ones((1, 64), np.uint16)
        raise KeyboardInterrupt

    stream = TensorStream("lm_head.weight", "BF16", (CONFIG.vocabulary_size, 64), failing)
    with pytest.raises(KeyboardInterrupt):
        write_gguf(tmp_path / "model.gguf", CONFIG, TENSORS | {stream.name: stream})
    assert list(tmp_path.iterdir()) == []


LIMITED = """
import resource, sys
from checkpoint_files import small_config
from motet.checkpoint import CheckpointError
from motet.checkpoint.gguf import write_gguf
from motet.checkpoint.random import random_streams

resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))
config = small_config()
try:
    write_gguf(sys.argv[1], config, {stream.name: stream for stream in random_streams(config, 1)})
except CheckpointError as error:
    print(error)
"""


def test_a_limit_on_the_size_of_files(tmp_path: Path) -> None:
    result = subprocess.run(
        [sys.executable, "-c", LIMITED, str(tmp_path / "model.gguf")],
        capture_output=True,
        check=True,
        text=True,
        cwd=Path(__file__).parent,
    )
    assert "File too large; choose a disk" in result.stdout
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(disk)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("only root may mount a file system")
    try:
        assert_refused(disk / "model.gguf", TENSORS, "No space left on device; free some space")
        assert list(disk.iterdir()) == []
    finally:
        subprocess.run(["umount", str(disk)], check=True)
