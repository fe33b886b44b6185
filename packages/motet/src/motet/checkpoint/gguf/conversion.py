"""Between the tensors of the Hugging Face layout and those of GGUF, in both directions.

Towards GGUF nothing of the experts is lost: ggml's MXFP4 holds OpenAI's blocks, with the nibbles in
another order and gate and up apart. Matrices are rounded to Q8_0, all that is small is widened to
F32. The way back is exact wherever a value of the file is one of the layout: MXFP4 gives the
original bytes, floats give bfloat16 if they fit it. What does not fit comes back as F32.
"""

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from motet.checkpoint.bf16 import from_bf16, to_bf16
from motet.checkpoint.errors import CheckpointError
from motet.checkpoint.gguf.blocks import (
    dequantize_q8_0,
    pack_mxfp4,
    quantize_q8_0,
    unpack_mxfp4,
    unpack_mxfp4_pairs,
)
from motet.checkpoint.layout import tensor_specs
from motet.checkpoint.tensors import NUMPY_DTYPES, Dtype, Tensor, TensorSpec, TensorStream
from motet.checkpoint.whole import Checkpoint

Named: TypeAlias = Mapping[str, Tensor | TensorStream]
"""Tensors by their names in the Hugging Face layout."""

_GATE, _UP, _FUSED = "experts.gate_proj", "experts.up_proj", "experts.gate_up_proj"
_UNPACK: dict[str, Callable[..., tuple[NDArray[np.uint8], NDArray[np.uint8]]]] = {
    "MXFP4": unpack_mxfp4,
    "MXFP4_PAIRS": unpack_mxfp4_pairs,
}


Encodings: TypeAlias = Callable[[str], Dtype | None]
"""How a matrix is to be encoded, by its Hugging Face name; None where that is left to the house."""


def gguf_dtype(name: str, shape: tuple[int, ...], encodings: Encodings = lambda _: None) -> Dtype:
    """The encoding this house writes a tensor of the model in."""
    if len(shape) > 2:
        return "MXFP4"
    if wanted := encodings(name):
        return wanted
    return "Q8_0" if name.endswith(".weight") and len(shape) > 1 and "router" not in name else "F32"


def gguf_stream(spec: TensorSpec, tensors: Named) -> TensorStream:
    """One tensor of a GGUF file, made piece by piece out of the Hugging Face tensors.

    `spec` is one of `gguf_specs`; what is given in its encoding is taken as it is. Raises
    CheckpointError if a tensor is missing.
    """
    name, dtype, shape = spec.name, spec.dtype, spec.shape
    source, rows = name, slice(None)
    for part, first in ((_GATE, 0), (_UP, 1)):
        if part in name:
            source, rows = name.replace(part, _FUSED), slice(first, None, 2)
    if name in tensors and tensors[name].dtype == dtype:
        return TensorStream(name, dtype, shape, tensors[name].pieces)
    if dtype == "MXFP4":
        blocks, scales = _named(tensors, f"{source}_blocks"), _named(tensors, f"{source}_scales")
        return TensorStream(name, dtype, shape, partial(_packed, blocks, scales, rows))
    make = quantize_q8_0 if dtype == "Q8_0" else from_bf16
    return TensorStream(name, dtype, shape, partial(_made, _named(tensors, source), rows, make))


def huggingface_tensors(checkpoint: Checkpoint) -> Iterator[Tensor]:
    """The tensors of a GGUF checkpoint as the Hugging Face layout has them, one at a time.

    Experts in their original bytes; everything else as BF16 where that is exact and F32 where it
    is not, as with Q8_0. Raises CheckpointError for experts that are not MXFP4.
    """
    for spec in tensor_specs(checkpoint.config):
        name, _, kind = spec.name.rpartition("_")
        if kind in ("blocks", "scales"):
            yield _experts(checkpoint, spec, name, kind)
        else:
            values = [_floats(tensor) for tensor in _halves(checkpoint, spec.name)]
            yield _narrowest(spec, _interleaved(values))


def _packed(
    blocks: Tensor | TensorStream, scales: Tensor | TensorStream, rows: slice
) -> Iterator[NDArray[Any]]:
    for block, scale in zip(blocks.pieces(), scales.pieces(), strict=True):
        yield pack_mxfp4(block[:, rows], scale[:, rows])


def _made(
    source: Tensor | TensorStream, rows: slice, make: Callable[[NDArray[np.uint16]], NDArray[Any]]
) -> Iterator[NDArray[Any]]:
    for piece in source.pieces():
        yield make(piece if rows == slice(None) else piece[:, rows])


def _named(tensors: Named, name: str) -> Tensor | TensorStream:
    try:
        return tensors[name]
    except KeyError as error:
        raise CheckpointError(f"tensor {name} was not given") from error


def _halves(checkpoint: Checkpoint, name: str) -> list[Tensor]:
    """The tensor, or gate and up of which it consists."""
    if name in checkpoint.tensors:
        return [checkpoint.tensors[name]]
    return [checkpoint.tensors[name.replace(_FUSED, part)] for part in (_GATE, _UP)]


def _experts(checkpoint: Checkpoint, spec: TensorSpec, name: str, kind: str) -> Tensor:
    parts: list[NDArray[Any]] = []
    for tensor in _halves(checkpoint, name):
        if tensor.dtype not in _UNPACK:
            raise CheckpointError(
                f"{checkpoint.path}: the experts are {tensor.dtype}, only MXFP4 can be taken over"
                " unchanged; use a file with MXFP4 experts"
            )
        parts.append(_UNPACK[tensor.dtype](tensor.data)[kind == "scales"])
    return Tensor(spec.name, spec.dtype, spec.shape, _interleaved(parts))


def _interleaved(parts: list[NDArray[Any]]) -> NDArray[Any]:
    """Gate and up [experts, rows, ...] row by row, as one array; anything single as it is."""
    if len(parts) == 1:
        return parts[0]
    shape = parts[0].shape
    return np.stack(parts, axis=2).reshape(shape[0], 2 * shape[1], *shape[2:])


def _floats(tensor: Tensor) -> NDArray[np.float32]:
    if tensor.dtype == "Q8_0":
        return dequantize_q8_0(tensor.data)
    if tensor.dtype == "BF16":
        return from_bf16(tensor.data)
    if tensor.dtype in ("F16", "F32"):
        return tensor.data.astype(np.float32)
    raise CheckpointError(f"tensor {tensor.name} is {tensor.dtype}, which has no bfloat16 form")


def _narrowest(spec: TensorSpec, values: NDArray[np.float32]) -> Tensor:
    patterns = to_bf16(values)
    if np.array_equal(from_bf16(patterns).view(np.uint32), values.view(np.uint32)):
        return Tensor(spec.name, "BF16", spec.shape, patterns)
    return Tensor(spec.name, "F32", spec.shape, values.astype(NUMPY_DTYPES["F32"]))
