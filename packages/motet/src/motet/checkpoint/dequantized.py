"""Experts in bfloat16: the layout in which transformers and trainers keep a gpt-oss model.

Every MXFP4 value is a bfloat16 value, so the way there is exact. `motet.quantization` goes the way
back: the values are the same again, and the bytes are wherever a block holds a 4 or a 6 of its
scale. A block without one has other bytes of the same values, which bfloat16 cannot tell apart; a
block of zeros gets the scale 1. How many such blocks a model has is counted on the way.

The trap is the orientation: in bfloat16 an expert's matrix is [inputs, outputs], in MXFP4
[outputs, inputs / 32, 16], and `down_proj` of the released models is square, so that no shape would
betray a mistake. Everything goes expert by expert; no more than one is ever held.
"""

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from motet.checkpoint.bf16 import to_bf16
from motet.checkpoint.errors import CheckpointError
from motet.checkpoint.layout import tensor_specs
from motet.checkpoint.mxfp4 import dequantize
from motet.checkpoint.resumable import Note, fingerprint, model_parts, unfinished
from motet.checkpoint.tensors import Tensor, TensorSpec, TensorStream
from motet.checkpoint.whole import Checkpoint
from motet.checkpoint.writing import known_vocabulary


def dequantize_checkpoint(
    checkpoint: Checkpoint, path: Path | str, *, written: Callable[[int], object] = lambda _: None
) -> int:
    """Write a model with MXFP4 experts as one in bfloat16 throughout, exactly.

    It takes about three times the room, and goes on where it was stopped. `written`: told of the
    bytes of every piece. Returns the number of blocks that have the same values, but not the same
    bytes when they are quantised again. Raises CheckpointError for a GGUF file and as
    `motet.checkpoint.resumable` does.
    """
    path = Path(path)
    if checkpoint.layout == "gguf":
        raise CheckpointError(f"{checkpoint.path}: only a folder of safetensors can be dequantised")
    vocabulary = known_vocabulary(path, checkpoint.config, checkpoint.cut_vocabulary)
    parts = model_parts(tensor_specs(checkpoint.config, "BF16"), partial(_widened, checkpoint))
    recipe = {"dequantised": fingerprint(checkpoint)}
    with unfinished(path, recipe, sum(part.nbytes for part in parts)) as work:
        for part in parts:
            work.add(part, written)
        changed: int = sum(note["changed_blocks"] for note in work.notes())
        work.finish(checkpoint.config, vocabulary, parts, "BF16", checkpoint.companions)
    return changed


def _widened(
    checkpoint: Checkpoint, specs: list[TensorSpec], notes: list[Note]
) -> Iterator[Tensor | TensorStream]:
    for spec in specs:
        if spec.name in checkpoint.tensors:
            tensor = checkpoint.tensors[spec.name]
            make = partial(_copied, checkpoint, tensor)
            yield TensorStream(spec.name, spec.dtype, spec.shape, make)
        else:
            blocks, scales = (checkpoint.tensors[f"{spec.name}_{x}"] for x in ("blocks", "scales"))
            make = partial(_wide_pieces, checkpoint, blocks, scales, notes)
            yield TensorStream(spec.name, spec.dtype, spec.shape, make)


def _copied(checkpoint: Checkpoint, tensor: Tensor) -> Iterator[NDArray[np.uint16]]:
    for piece in tensor.pieces():
        checkpoint.require_whole()
        yield piece
        checkpoint.release()


def _wide_pieces(
    checkpoint: Checkpoint, blocks: Tensor, scales: Tensor, notes: list[Note]
) -> Iterator[NDArray[np.uint16]]:
    changed = 0
    for block, scale in zip(blocks.pieces(), scales.pieces(), strict=True):
        checkpoint.require_whole()
        changed += changed_blocks(block)
        yield to_bf16(dequantize(block, scale)).transpose(0, 2, 1)
        checkpoint.release()
    notes.append({"changed_blocks": changed})


def changed_blocks(blocks: NDArray[np.uint8]) -> int:
    """How many blocks [..., 16] have no value of 4 or 6 times their scale."""
    large = ((blocks & 0x60) == 0x60) | ((blocks & 0x06) == 0x06)
    return int(np.count_nonzero(~large.any(axis=-1)))
