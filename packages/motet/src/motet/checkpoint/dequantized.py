"""Experts in bfloat16: the layout in which transformers and trainers keep a gpt-oss model.

Every MXFP4 value is a bfloat16 value, so the way there is exact. The way back is exact where every
value is an MXFP4 value again, as in an untrained model, and gives the same bytes wherever the
block's scale was the smallest that clips nothing, which is the one `quantize` prefers (a block of
zeros gets the scale 1). Where training has moved weights off the grid they have to be rounded, and
that happens only on request.

The trap is the orientation: in bfloat16 an expert's matrix is [inputs, outputs], in MXFP4
[outputs, inputs / 32, 16], and `down_proj` of the released models is square, so that no shape would
betray a mistake. Everything goes expert by expert; no more than one is ever held.
"""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from motet.checkpoint.bf16 import from_bf16, to_bf16
from motet.checkpoint.errors import CheckpointError
from motet.checkpoint.keys import shown
from motet.checkpoint.layout import Source, tensor_specs
from motet.checkpoint.mxfp4 import dequantize, quantize
from motet.checkpoint.opening import find_model, open_folder
from motet.checkpoint.tensors import Tensor, TensorSpec, TensorStream
from motet.checkpoint.whole import Checkpoint
from motet.checkpoint.writing import write_checkpoint


def dequantize_checkpoint(
    checkpoint: Checkpoint, path: Path | str, *, replace: bool = False
) -> None:
    """Write a model with MXFP4 experts as one in bfloat16 throughout, exactly.

    It takes about four times the room. Raises CheckpointError for a GGUF file, and as
    `write_checkpoint` does.
    """
    if checkpoint.layout == "gguf":
        raise CheckpointError(f"{checkpoint.path}: only a folder of safetensors can be dequantised")
    write_checkpoint(
        path,
        checkpoint.config,
        _widened(checkpoint),
        checkpoint.cut_vocabulary,
        replace=replace,
        expert_dtype="BF16",
    )


def requantize_checkpoint(
    source: Path | str, path: Path | str, *, rounding: bool = False, replace: bool = False
) -> None:
    """Write a model whose experts are bfloat16 as one with MXFP4 experts.

    `rounding`: allow values that MXFP4 does not have, and round each block with the least squared
    error. Raises CheckpointError for a model that is not in that layout, for a value that is not
    finite or, without `rounding`, would change, and as `write_checkpoint` does.
    """
    folder = find_model(source)
    if folder.layout != "huggingface":
        raise CheckpointError(f"{folder.path}: only the Hugging Face layout has bfloat16 experts")
    specs = tensor_specs(folder.config, "BF16")
    wide = open_folder(folder, [Source(spec, spec) for spec in specs])
    write_checkpoint(
        path, wide.config, _narrowed(wide, rounding), wide.cut_vocabulary, replace=replace
    )


def _widened(checkpoint: Checkpoint) -> Iterator[Tensor | TensorStream]:
    for spec in tensor_specs(checkpoint.config, "BF16"):
        if spec.name in checkpoint.tensors:
            yield checkpoint.tensors[spec.name]
        else:
            blocks, scales = (checkpoint.tensors[f"{spec.name}_{x}"] for x in ("blocks", "scales"))
            yield TensorStream(
                spec.name, spec.dtype, spec.shape, partial(_wide_pieces, blocks, scales)
            )


def _wide_pieces(blocks: Tensor, scales: Tensor) -> Iterator[NDArray[np.uint16]]:
    for block, scale in zip(blocks.pieces(), scales.pieces(), strict=True):
        yield to_bf16(dequantize(block, scale).transpose(0, 2, 1))


def _narrowed(wide: Checkpoint, rounding: bool) -> Iterator[Tensor | TensorStream]:
    for spec in tensor_specs(wide.config):
        if spec.name in wide.tensors:
            yield wide.tensors[spec.name]
        else:
            yield _narrow(spec, wide.tensors[spec.name.rpartition("_")[0]], rounding)


def _narrow(spec: TensorSpec, source: Tensor, rounding: bool) -> TensorStream:
    """The blocks or the scales of an expert tensor; each quantises for itself."""
    part = int(spec.name.endswith("_scales"))

    def pieces() -> Iterator[NDArray[np.uint8]]:
        for piece in source.pieces():
            yield _quantized(source.name, piece, rounding)[part]

    return TensorStream(spec.name, spec.dtype, spec.shape, pieces)


def _quantized(
    name: str, patterns: NDArray[np.uint16], rounding: bool
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Experts [n, inputs, outputs] of bfloat16 as blocks and scales [n, outputs, ...]."""
    values = np.ascontiguousarray(from_bf16(patterns).transpose(0, 2, 1))
    try:
        blocks, scales = quantize(values)
    except CheckpointError as error:
        raise CheckpointError(f"tensor {shown(name)}: {error}") from error
    same = rounding or np.array_equal(
        dequantize(blocks, scales).view(np.uint32), values.view(np.uint32)
    )
    if not same:
        raise CheckpointError(
            f"tensor {shown(name)} holds values that MXFP4 does not have: allow rounding"
            " (rounding=True), or keep the model in bfloat16"
        )
    return blocks, scales
