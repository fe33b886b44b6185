"""Writing a gpt-oss model as GGUF, for llama.cpp: experts in MXFP4, matrices in Q8_0.

The gguf library writes whole arrays; a table of embeddings takes more memory than this may, so the
few lines of the format are written here, and the library reads them in the tests. The head of the
file is settled before the first tensor, the space is reserved at once, tensors are written in
pieces, and the file appears when it is complete or not at all.
"""

import struct
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

from motet.checkpoint.atomic import new_file
from motet.checkpoint.config import ModelConfig
from motet.checkpoint.errors import CheckpointError, system_errors
from motet.checkpoint.gguf.config import ARCHITECTURE, metadata_from_config
from motet.checkpoint.gguf.conversion import Encodings, Named, gguf_dtype, gguf_stream
from motet.checkpoint.gguf.file import DEFAULT_ALIGNMENT, GGML_TYPES, MAGIC
from motet.checkpoint.gguf.names import llama_names, wanted_tensors
from motet.checkpoint.gguf.vocabulary import tokenizer_metadata
from motet.checkpoint.reserved import ReservedFile
from motet.checkpoint.shards import checked_pieces
from motet.checkpoint.tensors import TensorSpec
from motet.harmony.vocabulary import Vocabulary

_VERSION = 3
_FILE_TYPE_MXFP4_MOE = 38
_QUANTIZATION_VERSION = 2

_UINT32, _INT32, _FLOAT32, _BOOL, _STRING, _ARRAY = 4, 5, 6, 7, 8, 9
_TYPE_NUMBERS = {kind.name: number for number, kind in GGML_TYPES.items()}


def gguf_specs(config: ModelConfig, encodings: Encodings = lambda _: None) -> list[TensorSpec]:
    """Every tensor of a model as it is written, under the names of `gguf.names`."""
    return [
        TensorSpec(wanted.name, gguf_dtype(wanted.name, wanted.shape, encodings), wanted.shape)
        for wanted in wanted_tensors(config, ())
    ]


def write_gguf(
    path: Path | str,
    config: ModelConfig,
    tensors: Named,
    vocabulary: Vocabulary | None = None,
    *,
    name: str | None = None,
    encodings: Encodings = lambda _: None,
    written: Callable[[int], object] = lambda _: None,
) -> None:
    """Write a GGUF file, completely or not at all.

    `tensors`: the model's, by their Hugging Face names; each piece is made when it is written.
    `vocabulary`: becomes the tokenizer of the file, which has none without. `name`: of the model,
    else the file's. `encodings`: of matrices that are not to be Q8_0; those in MXFP4 have to
    be given so. `written`: told of the bytes of every piece written. Raises CheckpointError
    for tensors that do not fit the config, for a file that exists or may not be written, and for a
    full disk.
    """
    path = Path(path)
    if vocabulary and vocabulary.size != config.vocabulary_size:
        raise CheckpointError(
            f"cannot write {path}: the vocabulary has {vocabulary.size} token ids, the config says"
            f" {config.vocabulary_size}"
        )
    specs = gguf_specs(config, encodings)
    with new_file(path) as temporary:
        metadata = _metadata(path, config, vocabulary, name or path.stem)
        head, starts, end = _layout(metadata, specs, llama_names(config))
        with system_errors("write", path), closing(ReservedFile(temporary, end)) as out:
            out.write(0, memoryview(head))
            for spec in specs:
                position = starts[spec.name]
                stream = gguf_stream(spec, tensors)
                for data in checked_pieces(stream, spec):
                    out.write(position, data)
                    position += len(data)
                    written(len(data))
            out.flush()


def _metadata(
    path: Path, config: ModelConfig, vocabulary: Vocabulary | None, name: str
) -> dict[str, Any]:
    try:
        described = metadata_from_config(config)
    except CheckpointError as error:
        raise CheckpointError(f"cannot write {path}: {error}") from error
    return {
        "general.architecture": ARCHITECTURE,
        "general.name": name,
        "general.file_type": _FILE_TYPE_MXFP4_MOE,
        "general.quantization_version": _QUANTIZATION_VERSION,
        **described,
        **tokenizer_metadata(vocabulary),
    }


def _layout(
    metadata: Mapping[str, Any], specs: list[TensorSpec], names: Mapping[str, str]
) -> tuple[bytes, dict[str, int], int]:
    """The bytes before the data, where each tensor starts, and where the file ends."""
    parts = [MAGIC, struct.pack("<IQQ", _VERSION, len(specs), len(metadata))]
    parts += [_string(key) + _typed(value) for key, value in metadata.items()]
    offsets, position = {}, 0
    for spec in specs:
        offsets[spec.name] = position
        parts.append(_description(names[spec.name], spec, position))
        position += _aligned(spec.nbytes)
    head = b"".join(parts)
    head += bytes(_aligned(len(head)) - len(head))
    starts = {name: len(head) + offset for name, offset in offsets.items()}
    return head, starts, len(head) + position


def _description(name: str, spec: TensorSpec, offset: int) -> bytes:
    dimensions = struct.pack(f"<I{len(spec.shape)}Q", len(spec.shape), *reversed(spec.shape))
    return _string(name) + dimensions + struct.pack("<IQ", _TYPE_NUMBERS[spec.dtype], offset)


def _aligned(position: int) -> int:
    return -(-position // DEFAULT_ALIGNMENT) * DEFAULT_ALIGNMENT


def _string(text: str) -> bytes:
    content = text.encode()
    return struct.pack("<Q", len(content)) + content


def _typed(value: Any) -> bytes:
    """A value after its type; lists hold strings or integers."""
    match value:
        case bool():
            return struct.pack("<I?", _BOOL, value)
        case int():
            return struct.pack("<II", _UINT32, value)
        case float():
            return struct.pack("<If", _FLOAT32, value)
        case str():
            return struct.pack("<I", _STRING) + _string(value)
        case [int(), *_]:
            head = struct.pack("<IIQ", _ARRAY, _INT32, len(value))
            return head + struct.pack(f"<{len(value)}i", *value)
        case _:
            head = struct.pack("<IIQ", _ARRAY, _STRING, len(value))
            return head + b"".join(map(_string, value))
