"""The nouns of opening: a model that was recognised, and one that is open and validated."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from motet.checkpoint.config import ModelConfig
from motet.checkpoint.errors import CheckpointError
from motet.checkpoint.layout import Layout
from motet.checkpoint.mapping import MappedFile
from motet.checkpoint.tensors import Tensor
from motet.harmony.vocabulary import VOCABULARY_FILE, Vocabulary, o200k_harmony

_COMPANIONS = (
    "chat_template.jinja",
    "special_tokens_map.json",
    "tokenizer.json",
    "tokenizer_config.json",
)


@dataclass(frozen=True)
class ModelFolder:
    """A model as it was recognised: what its config says, and where its weights lie.

    `weights` is a folder, in GGUF the (first) file.
    """

    path: Path
    weights: Path
    layout: Layout
    config: ModelConfig


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """An open, validated checkpoint.

    `tensors` are under their Hugging Face names whatever the layout on disk, read-only views of
    the files in the order of the forward pass. `tensor_bytes` is the sum of their sizes. In the
    layouts of safetensors they are those of `tensor_specs`; GGUF keeps every tensor in an encoding
    of the file's own choice, with the experts as `gate_proj`, `up_proj` and `down_proj` (or
    `gate_up_proj` where the file interleaves them), each with a `_bias`.

    The files may be renamed, replaced or deleted while they are mapped, but not cut short: reading
    `tensors` where a file no longer is ends the process (SIGBUS), but for the native engine.
    """

    path: Path
    layout: Layout
    mapped: tuple[MappedFile, ...]
    config: ModelConfig
    tensors: Mapping[str, Tensor]
    cut_vocabulary: Vocabulary | None

    @property
    def files(self) -> tuple[Path, ...]:
        """Where the tensors were found."""
        return tuple(file.path for file in self.mapped)

    @property
    def companions(self) -> tuple[Path, ...]:
        """The tokenizer's files beside the model, for those who read it with other programs."""
        if not self.path.is_dir():
            return ()
        return tuple(file for name in _COMPANIONS if (file := self.path / name).is_file())

    def require_whole(self) -> None:
        """Raise CheckpointError if a file has been cut short since it was mapped."""
        for file in self.mapped:
            if not file.whole:
                raise CheckpointError(
                    f"{file.path} became shorter while the model was in use: download or restore it"
                    " and open the model again"
                )

    def release(self) -> None:
        """Give the memory of what was read of the files back to the system."""
        for file in self.mapped:
            file.release()

    @property
    def tensor_bytes(self) -> int:
        """Bytes of all tensors together."""
        return sum(tensor.nbytes for tensor in self.tensors.values())

    @cached_property
    def vocabulary(self) -> Vocabulary:
        """The model's vocabulary. Raises CheckpointError if the model does not say which."""
        vocabulary = self.cut_vocabulary or o200k_harmony()
        if vocabulary.size != self.config.vocabulary_size:
            where = (
                "the file names none: convert the model again with its vocabulary"
                if self.layout == "gguf"
                else f"there is no {VOCABULARY_FILE} to say which are left: add that file"
            )
            raise CheckpointError(
                f"{self.path}: the model has {self.config.vocabulary_size} token ids, the full"
                f" vocabulary {vocabulary.size}, and {where}"
            )
        return vocabulary
