"""Opening a gpt-oss model in GGUF: one file or a split set of them.

As with the other layouts, every tensor is compared with what the metadata demand before anything
is returned. The encodings are the file's own choice: matrices and experts may be in any of
ENCODINGS, vectors in any float; what else ggml has (Q4_K and so on) is refused by name.
"""

import re
from pathlib import Path

from motet.checkpoint.config import ModelConfig
from motet.checkpoint.errors import CheckpointError, system_errors
from motet.checkpoint.gguf.config import config_from_metadata
from motet.checkpoint.gguf.file import MAGIC, GgufFile
from motet.checkpoint.gguf.names import Wanted, wanted_tensors
from motet.checkpoint.gguf.vocabulary import cut_vocabulary
from motet.checkpoint.keys import Keys, shown
from motet.checkpoint.tensors import FLOATS, NUMPY_DTYPES, Dtype, Tensor, data_shape
from motet.checkpoint.whole import Checkpoint, ModelFolder
from motet.harmony.vocabulary import Vocabulary

SUFFIX = ".gguf"

ENCODINGS: tuple[Dtype, ...] = (*FLOATS, "Q8_0", "MXFP4", "MXFP4_PAIRS")

_SPLIT = re.compile(r"(?P<stem>.+)-(?P<part>\d{5})-of-(?P<count>\d{5})\.gguf")
_MOST_PARTS = 1_000


def is_gguf(path: Path) -> bool:
    """Whether a path is a file that says it is GGUF, by its name or its first bytes.

    Ollama keeps its models under the hashes of their contents.
    """
    if not path.is_file():
        return False
    if path.suffix == SUFFIX:
        return True
    with path.open("rb") as file:
        return file.read(len(MAGIC)) == MAGIC


def only_gguf(folder: Path) -> Path | None:
    """The file, or the first of a split set, that is the one model in a folder in GGUF.

    Raises CheckpointError if there are several.
    """
    files = sorted(folder.glob(f"*{SUFFIX}"))
    if len({_parts(file)[0] for file in files}) > 1:
        raise CheckpointError(
            f"{folder} has more than one GGUF model, such as {files[0].name} and {files[-1].name}:"
            " pass the file that is meant"
        )
    return files[0] if files else None


def find_gguf(path: Path) -> ModelFolder:
    """Recognise the model in a file, without looking at its tensors. Raises CheckpointError."""
    parts = _parts(path)
    file = GgufFile(parts[0])
    _check_part(file, 0, len(parts))
    return ModelFolder(path, parts[0], "gguf", _config(file))


def open_gguf(path: Path) -> Checkpoint:
    """Open the model in a file, together with the other parts if it is a split one.

    Raises CheckpointError if it is not whole and consistent.
    """
    with system_errors("read", path):
        files = [GgufFile(part) for part in _parts(path)]
    for number, file in enumerate(files):
        _check_part(file, number, len(files))
    config = _config(files[0])
    stored = _stored_in(files)
    tensors: dict[str, Tensor] = {}
    used: set[str] = set()
    for wanted in wanted_tensors(config, stored):
        name = _found(files[0], wanted, stored)
        used.add(name)
        tensors[wanted.name] = _tensor(stored[name], name, wanted)
    _check_unexpected(config, stored, used)
    return Checkpoint(
        path=files[0].path,
        layout="gguf",
        mapped=tuple(file.mapped for file in files),
        config=config,
        tensors=tensors,
        cut_vocabulary=_cut_vocabulary(files[0], config),
    )


def _parts(path: Path) -> list[Path]:
    """The files of a split set, any of which may be named; a file that is whole is alone."""
    match = _SPLIT.fullmatch(path.name)
    if not match:
        return [path]
    count = int(match["count"])
    if not 1 <= int(match["part"]) <= count <= _MOST_PARTS:
        raise CheckpointError(f"{path}: there is no such part of a split GGUF model")
    parts = [
        path.with_name(f"{match['stem']}-{number:05}-of-{count:05}{SUFFIX}")
        for number in range(1, count + 1)
    ]
    for part in parts:
        if not part.is_file():
            raise CheckpointError(f"{part} is missing: the download is incomplete, finish it")
    return parts


def _check_part(file: GgufFile, number: int, count: int) -> None:
    """Whether a file says of itself what its name says."""
    keys = Keys(file.metadata)
    try:
        said = (keys.integer("split.no", default=0), keys.integer("split.count", default=1))
    except CheckpointError as error:
        raise CheckpointError(f"{file.path}: {error}; download it again") from error
    if said != (number, count):
        raise CheckpointError(
            f"{file.path}: it says that it is part {said[0] + 1} of {said[1]}, its name and"
            f" neighbours say {number + 1} of {count}; download the set again"
        )


def _config(file: GgufFile) -> ModelConfig:
    table = file.tensors.get("token_embd.weight")
    try:
        return config_from_metadata(file.metadata, table.shape[0] if table else 0)
    except CheckpointError as error:
        raise CheckpointError(
            f"{file.path}: {error}; use a GGUF file of a gpt-oss model"
        ) from error


def _stored_in(files: list[GgufFile]) -> dict[str, GgufFile]:
    """Which file has each tensor."""
    found: dict[str, GgufFile] = {}
    for file in files:
        for name in file.tensors:
            if name in found:
                raise CheckpointError(
                    f"{file.path}: tensor {shown(name)} is also in {found[name].path}: the parts"
                    " do not belong together, download the set again"
                )
            found[name] = file
    return found


def _found(first: GgufFile, wanted: Wanted, stored: dict[str, GgufFile]) -> str:
    """The name that a tensor of the model is stored under."""
    names = [name for name in wanted.stored_names if name in stored]
    if not names:
        raise CheckpointError(
            f"{first.path}: tensor {shown(wanted.stored_names[0])} is missing: the download is"
            " incomplete, or metadata and tensors do not belong together"
        )
    return names[0]


def _tensor(file: GgufFile, name: str, wanted: Wanted) -> Tensor:
    stored = file.tensors[name]
    if stored.shape != wanted.stored_shape:
        raise CheckpointError(
            f"{file.path}: tensor {shown(name)} is {stored.type.name} {list(stored.shape)}, the"
            f" metadata demand {list(wanted.stored_shape)}; the two do not belong together"
        )
    dtype = _dtype(file, name, len(wanted.shape) > 1 and not name.endswith("bias"))
    data = file.data(name).view(NUMPY_DTYPES[dtype]).reshape(data_shape(dtype, stored.shape))
    rows = data if wanted.rows is None else data[wanted.rows]
    return Tensor(wanted.name, dtype, wanted.shape, rows)


def _dtype(file: GgufFile, name: str, matrix: bool) -> Dtype:
    allowed = ENCODINGS if matrix else FLOATS
    kind = file.tensors[name].type.name
    for dtype in allowed:
        if dtype == kind:
            return dtype
    raise CheckpointError(
        f"{file.path}: tensor {shown(name)} is {kind}, Motet reads {', '.join(allowed[:-1])} or"
        f" {allowed[-1]} there; use a file with MXFP4 experts and the rest in Q8_0, BF16 or F16"
    )


def _check_unexpected(config: ModelConfig, stored: dict[str, GgufFile], used: set[str]) -> None:
    if unexpected := [name for name in stored if name not in used]:
        name = unexpected[0]
        raise CheckpointError(
            f"{stored[name].path}: tensor {shown(name)} is not part of a gpt-oss model with this"
            f" metadata ({config.layers} layers); the two do not belong together"
        )


def _cut_vocabulary(file: GgufFile, config: ModelConfig) -> Vocabulary | None:
    try:
        return cut_vocabulary(file.metadata, config.vocabulary_size)
    except CheckpointError as error:
        raise CheckpointError(f"{file.path}: {error}; download it again") from error
