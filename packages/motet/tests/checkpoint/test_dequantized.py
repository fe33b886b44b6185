"""Experts in bfloat16: exact, and the right way round (the way back: tests/quantization)."""

import json
from pathlib import Path

import numpy as np
import pytest
from checkpoint_files import small_config

from motet.checkpoint import (
    Checkpoint,
    CheckpointError,
    Tensor,
    dequantize,
    dequantize_checkpoint,
    from_bf16,
    open_checkpoint,
    quantize,
    to_bf16,
    write_checkpoint,
)
from motet.checkpoint.gguf import write_gguf
from motet.checkpoint.layout import tensor_specs
from motet.checkpoint.random import random_tensors
from motet.checkpoint.safetensors import SafetensorsFile
from motet.harmony.vocabulary import o200k_harmony

# Square expert matrices, in which a transposition does not change any shape.
VOCABULARY = o200k_harmony().first(300)
CONFIG = small_config(
    vocabulary_size=VOCABULARY.size, hidden_size=64, intermediate_size=64, layers=2
)


def canonical(tensors: list[Tensor]) -> list[Tensor]:
    """The same model with the scales that `quantize` prefers."""
    named = {tensor.name: tensor for tensor in tensors}
    for name in [name for name in named if name.endswith("_blocks")]:
        blocks, scales = named[name], named[name.replace("_blocks", "_scales")]
        new = quantize(dequantize(blocks.data, scales.data))
        for tensor, data in zip((blocks, scales), new, strict=True):
            named[tensor.name] = Tensor(tensor.name, "U8", tensor.shape, data)
    return list(named.values())


@pytest.fixture
def quantized(tmp_path: Path) -> Checkpoint:
    folder = tmp_path / "mxfp4"
    tensors = canonical(list(random_tensors(CONFIG, seed=1)))
    write_checkpoint(folder, CONFIG, tensors, VOCABULARY)
    return open_checkpoint(folder)


def stored(folder: Path) -> dict[str, np.ndarray]:
    files = [SafetensorsFile(path) for path in folder.glob("*.safetensors")]
    return {name: file.data(name) for file in files for name in file.tensors}


def test_values_are_exact_and_transposed(quantized: Checkpoint, tmp_path: Path) -> None:
    dequantize_checkpoint(quantized, tmp_path / "bf16")
    found = stored(tmp_path / "bf16")
    assert set(found) == {spec.name for spec in tensor_specs(CONFIG, "BF16")}
    for name, tensor in quantized.tensors.items():
        if name.endswith("_blocks"):
            plain = name.removesuffix("_blocks")
            values = dequantize(tensor.data, quantized.tensors[f"{plain}_scales"].data)
            np.testing.assert_array_equal(from_bf16(found[plain]).transpose(0, 2, 1), values)
    config = json.loads((tmp_path / "bf16" / "config.json").read_text())
    assert "quantization_config" not in config


@pytest.mark.parametrize("scale", [0, 1, 127, 200, 252])
def test_every_value_survives_at_every_scale(scale: int) -> None:
    """All sixteen codes, from subnormal to almost infinite: bfloat16 has them all."""
    blocks = np.arange(256, dtype=np.uint8).reshape(16, 1, 16)
    values = dequantize(blocks, np.full((16, 1), scale, np.uint8))
    np.testing.assert_array_equal(
        from_bf16(to_bf16(values)).view(np.uint32), values.view(np.uint32)
    )
    again = dequantize(*quantize(values))
    np.testing.assert_array_equal(again.view(np.uint32), values.view(np.uint32))


def test_transformers_sees_the_same_model(quantized: Checkpoint, tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    from transformers import GptOssForCausalLM

    dequantize_checkpoint(quantized, tmp_path / "bf16")
    ours, theirs = (
        GptOssForCausalLM.from_pretrained(folder, dtype=torch.bfloat16).state_dict()
        for folder in (tmp_path / "bf16", quantized.path)
    )
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_blocks_that_will_have_other_bytes_are_counted(tmp_path: Path) -> None:
    tensors = canonical(list(random_tensors(CONFIG, seed=1)))
    changed = 0
    for place, tensor in enumerate(tensors):
        if tensor.name.endswith("down_proj_blocks"):
            blocks = tensor.data.copy()
            blocks[0, :5, 0] &= 0x99  # nothing larger than a half is left
            tensors[place] = Tensor(tensor.name, tensor.dtype, tensor.shape, blocks)
            changed += 5
    write_checkpoint(tmp_path / "mxfp4", CONFIG, tensors, VOCABULARY)
    assert changed == 10
    assert dequantize_checkpoint(open_checkpoint(tmp_path / "mxfp4"), tmp_path / "bf16") == 10


def test_what_is_refused(quantized: Checkpoint, tmp_path: Path) -> None:
    wide = tmp_path / "bf16"
    assert dequantize_checkpoint(quantized, wide) == 0
    with pytest.raises(CheckpointError, match="not empty"):
        dequantize_checkpoint(quantized, wide)
    with pytest.raises(CheckpointError, match="motet quantize"):
        open_checkpoint(wide)
    write_gguf(tmp_path / "model.gguf", CONFIG, quantized.tensors, VOCABULARY)
    with pytest.raises(CheckpointError, match="only a folder of safetensors"):
        dequantize_checkpoint(open_checkpoint(tmp_path / "model.gguf"), tmp_path / "other")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bf16", "model.gguf", "mxfp4"]
