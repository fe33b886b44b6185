"""Experts in bfloat16 and back: exact, the right way round, and nothing changed unasked."""

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
    requantize_checkpoint,
    to_bf16,
    write_checkpoint,
)
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
    file = SafetensorsFile(folder / "model.safetensors")
    return {name: file.data(name) for name in file.tensors}


def test_there_and_back_gives_the_same_bytes(quantized: Checkpoint, tmp_path: Path) -> None:
    wide, back = tmp_path / "bf16", tmp_path / "back"
    dequantize_checkpoint(quantized, wide)
    requantize_checkpoint(wide, back)
    assert {path.name: path.read_bytes() for path in back.iterdir()} == {
        path.name: path.read_bytes() for path in quantized.path.iterdir()
    }


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


def test_what_transformers_saves_comes_back(quantized: Checkpoint, tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    from transformers import GptOssForCausalLM

    dequantize_checkpoint(quantized, tmp_path / "bf16")
    model = GptOssForCausalLM.from_pretrained(tmp_path / "bf16", dtype=torch.bfloat16)
    model.save_pretrained(tmp_path / "saved")
    requantize_checkpoint(tmp_path / "saved", tmp_path / "back")
    back = stored(tmp_path / "back")
    assert all(
        np.array_equal(back[name], tensor.data) for name, tensor in quantized.tensors.items()
    )


def trained(quantized: Checkpoint, folder: Path, value: float) -> Path:
    """The model in bfloat16 with one weight of an expert changed."""
    dequantize_checkpoint(quantized, folder)
    path = folder / "model.safetensors"
    place = SafetensorsFile(path).tensors["model.layers.1.mlp.experts.down_proj"].start
    content = bytearray(path.read_bytes())
    content[place : place + 2] = to_bf16(np.array([value])).tobytes()
    path.write_bytes(content)
    return folder


def test_rounding_happens_on_request_only(quantized: Checkpoint, tmp_path: Path) -> None:
    moved = trained(quantized, tmp_path / "trained", 0.0123)
    with pytest.raises(CheckpointError, match=r"layers\.1\.mlp\.experts\.down_proj.*rounding"):
        requantize_checkpoint(moved, tmp_path / "back")
    assert not (tmp_path / "back").exists()
    requantize_checkpoint(moved, tmp_path / "back", rounding=True)
    open_checkpoint(tmp_path / "back")


def test_what_is_not_finite_is_refused(quantized: Checkpoint, tmp_path: Path) -> None:
    broken = trained(quantized, tmp_path / "trained", np.nan)
    with pytest.raises(CheckpointError, match=r"down_proj.*infinity or a NaN"):
        requantize_checkpoint(broken, tmp_path / "back", rounding=True)
    assert not (tmp_path / "back").exists()


def test_each_says_when_it_is_given_the_other(quantized: Checkpoint, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="MXFP4 already"):
        requantize_checkpoint(quantized.path, tmp_path / "back")
    dequantize_checkpoint(quantized, tmp_path / "bf16")
    with pytest.raises(CheckpointError, match="requantize_checkpoint"):
        open_checkpoint(tmp_path / "bf16")
