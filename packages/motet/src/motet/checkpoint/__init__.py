"""Checkpoints: bytes on disk and named tensors, in both directions.

`open_checkpoint` maps a gpt-oss model into memory, in the Hugging Face or the original layout or in
GGUF, and vouches for every tensor's name, dtype and shape; `write_checkpoint` writes the Hugging
Face layout and `motet.checkpoint.gguf.write_gguf` GGUF, completely or not at all. No conversion is
ever needed: blocks and bfloat16 patterns are handed on as they lie in the files. Nothing here
computes with weights, except for the definition of the number formats, and for models whose experts
fine-tuning wants in bfloat16 (`dequantize_checkpoint`). What fine-tuning has left in floats opens
with `open_floating`; `motet.quantization` makes MXFP4 of it again.
"""

from motet.checkpoint.bf16 import from_bf16, to_bf16
from motet.checkpoint.config import ModelConfig
from motet.checkpoint.dequantized import dequantize_checkpoint
from motet.checkpoint.errors import CheckpointError
from motet.checkpoint.mxfp4 import dequantize, quantize
from motet.checkpoint.opening import open_checkpoint, open_floating
from motet.checkpoint.tensors import Tensor, TensorSpec, TensorStream
from motet.checkpoint.whole import Checkpoint
from motet.checkpoint.writing import write_checkpoint

__all__ = [
    "Checkpoint",
    "CheckpointError",
    "ModelConfig",
    "Tensor",
    "TensorSpec",
    "TensorStream",
    "dequantize",
    "dequantize_checkpoint",
    "from_bf16",
    "open_checkpoint",
    "open_floating",
    "quantize",
    "to_bf16",
    "write_checkpoint",
]
