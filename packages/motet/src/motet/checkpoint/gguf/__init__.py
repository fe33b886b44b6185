"""GGUF, the format of llama.cpp and its relatives: reading and writing gpt-oss models in it.

`GgufFile` is any file as it lies on the disk; `open_gguf` (behind `open_checkpoint`) is a validated
gpt-oss model in one. Tensors keep the encodings of the file. `write_gguf` writes the tensors of the
Hugging Face layout as llama.cpp wants them, `huggingface_tensors` is the way back.
"""

from motet.checkpoint.gguf.blocks import dequantize_mxfp4, dequantize_q8_0
from motet.checkpoint.gguf.conversion import huggingface_tensors
from motet.checkpoint.gguf.file import GgufFile, GgufTensor
from motet.checkpoint.gguf.opening import open_gguf
from motet.checkpoint.gguf.writing import write_gguf

__all__ = [
    "GgufFile",
    "GgufTensor",
    "dequantize_mxfp4",
    "dequantize_q8_0",
    "huggingface_tensors",
    "open_gguf",
    "write_gguf",
]
