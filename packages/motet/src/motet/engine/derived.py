"""Attention matrices and head in fewer bits, kept so that a large model opens at once next time.

They lie in the user's cache folder (`$XDG_CACHE_HOME/motet`, else `~/.cache/motet`), one file for
each model and precision, under a name made of the model's content. Nothing here can fail a model: a
file that is damaged is made again, and where none can be written the model is derived every time.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from motet import _native
from motet.checkpoint import Checkpoint, CheckpointError, Tensor
from motet.checkpoint.atomic import new_file
from motet.checkpoint.safetensors import SafetensorsFile
from motet.checkpoint.shards import ShardWriter
from motet.checkpoint.tensors import BLOCK_SIZES, BLOCK_VALUES, TensorSpec

Matrices = Mapping[str, tuple[str, NDArray[Any]]]
"""By the name of the tensor they stand for, or SEARCHED_HEAD: dtype and blocks [rows, bytes]."""

SEARCHED_HEAD = "lm_head.searched"
"""A second copy of a large vocabulary's head, which is searched for the likeliest tokens."""

_VERSION = 2  # of the blocks' layout
_LARGE = ("q_proj.weight", "o_proj.weight")  # in 4 bits where fast4 is asked for
_OTHERS = ("k_proj.weight", "v_proj.weight", "lm_head.weight")
_BLOCK_BYTES = {"Q8_0": BLOCK_SIZES["Q8_0"], "INT4": 18}
_WORTH_KEEPING = 64_000_000  # bytes that take a noticeable time to derive
_SAMPLE = 4096  # bytes of a tensor's beginning, middle and end


def derived_dtype(name: str, precision: str) -> str | None:
    """What the tensor of this name is derived as: "Q8_0", "INT4" or not at all.

    Which matrices bear 4 bits is measured by benchmarks/precision.py.
    """
    if precision != "exact" and name == SEARCHED_HEAD:
        return "INT4"
    if precision == "exact" or not name.endswith(_LARGE + _OTHERS):
        return None
    return "INT4" if precision == "fast4" and name.endswith(_LARGE) else "Q8_0"


def derived_bytes(tensor: Tensor | TensorSpec, dtype: str) -> int:
    """The bytes of a tensor [rows, inner] that is derived as `dtype`."""
    rows, row_bytes = _shape(tensor, dtype)
    return rows * row_bytes


def searched_bytes(tensor: Tensor | TensorSpec, precision: str) -> int:
    """The bytes of the second copy of this tensor, if it is the head of a large vocabulary."""
    if precision == "exact" or tensor.name != "lm_head.weight":
        return 0
    searched = tensor.shape[0] >= _native.SEARCHED_VOCABULARY
    return derived_bytes(tensor, "INT4") if searched else 0


def kept_matrices(checkpoint: Checkpoint, precision: str) -> Matrices:
    """What `keep_matrices` kept of this checkpoint, from a mapped file; nothing if it did not."""
    if precision == "exact":
        return {}
    try:
        file = SafetensorsFile(_path(checkpoint, precision))
        matrices = {
            name: (derived_dtype(name, precision) or "", file.data(name)) for name in file.tensors
        }
    except (CheckpointError, KeyError, OSError, RuntimeError):  # the last: there is no home
        return {}
    fits = all(
        (source := _source(name)) in checkpoint.tensors
        and dtype
        and data.dtype == np.uint8
        and data.shape == _shape(checkpoint.tensors[source], dtype)
        for name, (dtype, data) in matrices.items()
    )
    return matrices if fits else {}


def keep_matrices(checkpoint: Checkpoint, precision: str, matrices: Matrices) -> None:
    """Keep derived matrices if they are large, in place of older ones of the same model."""
    if sum(data.nbytes for _, data in matrices.values()) < _WORTH_KEEPING:
        return
    specs = [TensorSpec(name, "U8", data.shape) for name, (_, data) in matrices.items()]
    with suppress(CheckpointError, OSError, RuntimeError):
        path = _path(checkpoint, precision)
        path.parent.mkdir(parents=True, exist_ok=True)
        for older in path.parent.glob(f"{path.name.partition('.')[0]}.*.safetensors"):
            older.unlink()
        with new_file(path) as temporary, closing(ShardWriter(temporary, specs)) as writer:
            for name, (_, data) in matrices.items():
                writer.write(Tensor(name, "U8", data.shape, data), lambda _: None)
            writer.flush()


def _path(checkpoint: Checkpoint, precision: str) -> Path:
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "motet"
    place = hashlib.sha256(str(checkpoint.path.resolve()).encode()).hexdigest()[:16]
    content = _content(checkpoint)
    return folder / f"{checkpoint.path.stem}-{place}-{precision}.{content}.safetensors"


def _content(checkpoint: Checkpoint) -> str:
    """A name for what the tensors hold, from samples: reading them all would take too long."""
    digest = hashlib.sha256(f"{_VERSION} {checkpoint.config}".encode())
    for file in checkpoint.files:
        status = file.stat()
        digest.update(f"{file.name} {status.st_size} {status.st_mtime_ns}".encode())
    for name, tensor in checkpoint.tensors.items():
        if len(tensor.shape) == 2:
            digest.update(f"{name} {tensor.dtype} {tensor.shape}".encode())
            stored = tensor.data.reshape(-1).view(np.uint8)
            for start in (0, stored.size // 2, max(0, stored.size - _SAMPLE)):
                digest.update(stored[start : start + _SAMPLE].tobytes())
    return digest.hexdigest()[:32]


def _source(name: str) -> str:
    return "lm_head.weight" if name == SEARCHED_HEAD else name


def _shape(tensor: Tensor | TensorSpec, dtype: str) -> tuple[int, ...]:
    rows, inner = tensor.shape
    return rows, inner // BLOCK_VALUES * _BLOCK_BYTES[dtype]
