"""The config out of GGUF metadata: what contradicts, is of the wrong kind or of another model."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import gguf
import pytest
from checkpoint_files import small_config
from gguf_files import huggingface_arrays, llama_tensors, write_gguf_file

from motet.checkpoint import CheckpointError, open_checkpoint
from motet.checkpoint.config import FULL, SLIDING

TENSORS = llama_tensors(huggingface_arrays())


def test_layer_types_in_the_metadata(tmp_path: Path) -> None:
    def opened(pattern: Any) -> tuple[str, ...]:
        model = write_gguf_file(
            tmp_path / "model.gguf",
            TENSORS,
            adjust=lambda writer: writer.add_sliding_window_pattern(pattern),
        )
        return open_checkpoint(model).config.layer_types

    assert opened(2) == (SLIDING, FULL)
    assert opened([False, True]) == (FULL, SLIDING)
    with pytest.raises(CheckpointError, match="sliding_window_pattern is 3, it has to be 2"):
        opened(3)


@pytest.mark.parametrize(
    ("adjust", "reason"),
    [
        (lambda writer: writer.add_vocab_size(301), "'token_embd.weight' is Q8_0 [300, 64], the"),
        (lambda writer: writer.add_token_list(["a"] * 299), "the metadata demand [299, 64]"),
        (
            lambda writer: (writer.add_vocab_size(300), writer.add_token_list(["a"] * 299)),
            "gpt-oss.vocab_size = 300",
        ),
        (
            lambda writer: writer.add_expert_feed_forward_length(64),
            "gpt-oss.expert_feed_forward_length = 64",
        ),
        (
            lambda writer: writer.add_rope_scaling_type(gguf.RopeScalingType.LINEAR),
            "gpt-oss.rope.scaling.type is 'linear', it has to be 'yarn'",
        ),
        (lambda writer: writer.add_token_list(["a"] * 300), "not a part of o200k_harmony"),
    ],
)
def test_metadata_that_contradict(
    tmp_path: Path, adjust: Callable[[gguf.GGUFWriter], Any], reason: str
) -> None:
    model = write_gguf_file(tmp_path / "model.gguf", TENSORS, adjust=adjust)
    with pytest.raises(CheckpointError) as caught:
        open_checkpoint(model)
    assert str(caught.value).startswith(f"{model}: ")
    assert reason in str(caught.value)


KEYS = [
    "block_count",
    "context_length",
    "embedding_length",
    "feed_forward_length",
    "expert_feed_forward_length",
    "expert_count",
    "attention.head_count",
    "attention.head_count_kv",
    "attention.key_length",
    "attention.value_length",
    "attention.layer_norm_rms_epsilon",
    "attention.sliding_window",
    "rope.freq_base",
    "rope.scaling.type",
    "rope.scaling.attn_factor",
    "rope.scaling.factor",
    "vocab_size",
]


FLOATS = {  # a large number is as good as any here
    "gpt-oss.attention.layer_norm_rms_epsilon",
    "gpt-oss.rope.freq_base",
    "gpt-oss.rope.scaling.factor",
}


@pytest.mark.parametrize("key", [*(f"gpt-oss.{key}" for key in KEYS), "general.architecture"])
def test_metadata_of_other_kinds(tmp_path: Path, key: str) -> None:
    values: list[Callable[[gguf.GGUFWriter], Any]] = [
        lambda writer: writer.add_array(key, [1, 2]),
        lambda writer: writer.add_array(key, ["1"]),
        lambda writer: writer.add_string(key, "1\n"),
        lambda writer: writer.add_float32(key, float("nan")),
        lambda writer: writer.add_float64(key, 1e300),
        lambda writer: writer.add_uint64(key, 0 if key in FLOATS else 2**64 - 1),
        lambda writer: writer.add_int32(key, -1),
        lambda writer: writer.add_bool(key, True),
    ]
    for adjust in values:
        model = write_gguf_file(tmp_path / "model.gguf", TENSORS, adjust=adjust)
        with pytest.raises(CheckpointError) as caught:
            open_checkpoint(model)
        assert str(caught.value).startswith(f"{model}: ")
        assert "\n" not in str(caught.value)


def test_tokens_of_another_kind_name_no_vocabulary(tmp_path: Path) -> None:
    model = write_gguf_file(
        tmp_path / "model.gguf",
        TENSORS,
        adjust=lambda writer: writer.add_uint32("tokenizer.ggml.tokens", 300),
    )
    assert open_checkpoint(model).cut_vocabulary is None


def test_a_model_of_another_depth(tmp_path: Path) -> None:
    for layers, reason in ((1, "is not part of"), (3, "'blk.2.attn_norm.weight' is missing")):
        config = small_config(layers=layers)
        model = write_gguf_file(tmp_path / "model.gguf", TENSORS, config)
        with pytest.raises(CheckpointError, match=reason):
            open_checkpoint(model)


def test_other_architectures(tmp_path: Path) -> None:
    model = write_gguf_file(tmp_path / "model.gguf", TENSORS, architecture="llama")
    with pytest.raises(CheckpointError, match="is 'llama', it has to be gpt-oss"):
        open_checkpoint(model)


def test_the_full_vocabulary_by_its_special_tokens(tmp_path: Path) -> None:
    config = small_config(layers=1, hidden_size=32, vocabulary_size=201_088)
    stored = llama_tensors(huggingface_arrays(config), layers=1)
    tokens = [f"<|{name}|>" for name in range(201_088)]
    tokens[199_998] = "<|startoftext|>"
    model = write_gguf_file(
        tmp_path / "model.gguf", stored, config, adjust=lambda writer: writer.add_token_list(tokens)
    )
    with pytest.raises(CheckpointError, match=r"token 199999 is '<\|199999\|>'"):
        open_checkpoint(model)
