"""Writing a checkpoint in the Hugging Face layout: MXFP4 experts, bfloat16 for the rest.

Experts may be bfloat16 as well (`motet.checkpoint.dequantized`).

The config says what every tensor is, so the headers, the shards and the place of each tensor are
settled before the first one arrives: tensors stream in one at a time and in any order, large ones
in pieces, and the space is reserved at once, so that a full disk is noticed at the start and not
after an hour.
"""

import json
import os
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

from motet.checkpoint.atomic import new_folder
from motet.checkpoint.config import ModelConfig
from motet.checkpoint.errors import CheckpointError, system_errors
from motet.checkpoint.keys import shown
from motet.checkpoint.layout import ExpertDtype, tensor_specs
from motet.checkpoint.opening import CONFIG_FILE, INDEX_FILE
from motet.checkpoint.shards import ShardWriter, plan_shards
from motet.checkpoint.tensors import Tensor, TensorSpec, TensorStream
from motet.harmony.vocabulary import VOCABULARY_FILE, Vocabulary, o200k_harmony

GENERATION_FILE = "generation_config.json"
SHARD_BYTES = 5_000_000_000


def write_checkpoint(
    path: Path | str,
    config: ModelConfig,
    tensors: Iterable[Tensor | TensorStream],
    vocabulary: Vocabulary | None = None,
    *,
    shard_bytes: int = SHARD_BYTES,
    replace: bool = False,
    expert_dtype: ExpertDtype = "MXFP4",
    written: Callable[[int], object] = lambda _: None,
) -> None:
    """Write a model folder, completely or not at all.

    `tensors`: each tensor of the model once, in any order, under its Hugging Face name.
    `vocabulary`: a cut vocabulary is written beside the weights; without one the model has the
    full vocabulary if its size says so, and otherwise none that anybody knows of. `shard_bytes`:
    the most tensor bytes in one file, as far as single tensors allow. `replace`: take the place of
    an existing model. `expert_dtype`: what the experts' matrices are given in. `written`: told of
    the bytes of every piece written. Raises CheckpointError for tensors or a vocabulary that do not
    fit the config, for a folder that may not be written, and for a full disk.
    """
    path = Path(path)
    vocabulary = known_vocabulary(path, config, vocabulary)
    shards = plan_shards(tensor_specs(config, expert_dtype), shard_bytes)
    with new_folder(path, replace=replace, mark=CONFIG_FILE) as folder, ExitStack() as stack:
        writers: dict[str, ShardWriter] = {}
        with system_errors("write", path):
            write_documents(folder, config, vocabulary, shards, expert_dtype)
            for name, specs in shards.items():
                writer = stack.enter_context(closing(ShardWriter(folder / name, specs)))
                writers |= dict.fromkeys((spec.name for spec in specs), writer)
        _write_tensors(path, tensors, writers, written)
        with system_errors("write", path):
            for writer in set(writers.values()):
                writer.flush()


def _write_tensors(
    path: Path,
    tensors: Iterable[Tensor | TensorStream],
    writers: Mapping[str, ShardWriter],
    written: Callable[[int], object],
) -> None:
    done: set[str] = set()
    for tensor in tensors:
        if tensor.name not in writers:
            raise CheckpointError(
                f"cannot write {path}: tensor {shown(tensor.name)} is not part of a model with"
                " this config"
            )
        if tensor.name in done:
            raise CheckpointError(f"cannot write {path}: tensor {shown(tensor.name)} came twice")
        with system_errors("write", path):
            writers[tensor.name].write(tensor, written)
        done.add(tensor.name)
    for name in writers:
        if name not in done:
            raise CheckpointError(f"cannot write {path}: tensor {shown(name)} was not given")


def write_documents(
    folder: Path,
    config: ModelConfig,
    vocabulary: Vocabulary | None,
    shards: Mapping[str, list[TensorSpec]],
    expert_dtype: ExpertDtype,
) -> None:
    """Write everything of a model but its weights. Raises OSError as the system does."""
    documents = _documents(config, vocabulary, shards)
    if expert_dtype == "BF16":
        del documents[CONFIG_FILE]["quantization_config"]
    for name, values in documents.items():
        _write_json(folder / name, values)


def known_vocabulary(
    path: Path, config: ModelConfig, vocabulary: Vocabulary | None
) -> Vocabulary | None:
    """The vocabulary to write: the one given, or the full one if the model has as many tokens.

    Raises CheckpointError for one that does not fit the model.
    """
    if vocabulary is None:
        full = o200k_harmony()
        return full if full.size == config.vocabulary_size else None
    if vocabulary.size != config.vocabulary_size:
        raise CheckpointError(
            f"cannot write {path}: the vocabulary has {vocabulary.size} token ids, the config says"
            f" {config.vocabulary_size}"
        )
    return vocabulary


def _documents(
    config: ModelConfig, vocabulary: Vocabulary | None, shards: Mapping[str, list[TensorSpec]]
) -> dict[str, dict[str, Any]]:
    """The JSON files of a checkpoint, by name."""
    tokens = _special_tokens(vocabulary) if vocabulary else {}
    documents = {
        CONFIG_FILE: config.to_huggingface() | tokens,
        GENERATION_FILE: {"do_sample": True} | tokens,
    }
    if vocabulary is not None and vocabulary.size != o200k_harmony().size:
        documents[VOCABULARY_FILE] = vocabulary.to_json()
    if len(shards) > 1:
        places = {spec.name: name for name, specs in shards.items() for spec in specs}
        total = sum(spec.nbytes for specs in shards.values() for spec in specs)
        documents[INDEX_FILE] = {"metadata": {"total_size": total}, "weight_map": places}
    return documents


def _special_tokens(vocabulary: Vocabulary) -> dict[str, Any]:
    return {
        "bos_token_id": vocabulary.startoftext,
        "eos_token_id": [vocabulary.return_, vocabulary.endoftext, vocabulary.call],
        "pad_token_id": vocabulary.endoftext,
    }


def _write_json(path: Path, values: Mapping[str, Any]) -> None:
    with path.open("w", encoding="utf-8") as file:
        json.dump(values, file, indent=2)
        file.write("\n")
        file.flush()
        os.fsync(file.fileno())
