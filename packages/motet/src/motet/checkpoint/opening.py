"""Opening a checkpoint: from a path to named, validated, memory-mapped tensors.

Every tensor's name, dtype, shape and byte range is compared with what the config demands before
anything is returned, and no tensor data are read. Where a folder has both layouts, as the
published ones do, the Hugging Face files are used and the two configs have to agree. GGUF files
are opened by `motet.checkpoint.gguf.opening`, and looked for where there is no config.
"""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from motet.checkpoint.config import ModelConfig, looks_original
from motet.checkpoint.errors import CheckpointError, system_errors
from motet.checkpoint.gguf.opening import find_gguf, is_gguf, only_gguf, open_gguf
from motet.checkpoint.json_files import read_object
from motet.checkpoint.keys import shown
from motet.checkpoint.layout import Layout, Source, tensor_sources
from motet.checkpoint.safetensors import SafetensorsFile
from motet.checkpoint.tensors import FLOATS, Tensor
from motet.checkpoint.whole import Checkpoint, ModelFolder
from motet.harmony.errors import HarmonyError
from motet.harmony.vocabulary import VOCABULARY_FILE, Vocabulary

CONFIG_FILE = "config.json"
INDEX_FILE = "model.safetensors.index.json"
ORIGINAL_FOLDER = "original"


def open_checkpoint(path: Path | str) -> Checkpoint:
    """Open the model in a folder, in either layout, sharded or not, or in a GGUF file.

    Raises CheckpointError if there is none, or if it is not whole and consistent.
    """
    path = Path(path)
    if file := _gguf_at(path):
        return open_gguf(file)
    folder = find_model(path)
    return _open_folder(folder, tensor_sources(folder.config, folder.layout))


def open_floating(path: Path | str) -> Checkpoint:
    """Open a model that is floats throughout, as trainers save it: each BF16, F16 or F32.

    Names and shapes are those of `tensor_specs(config, "BF16")`. Under OpenAI's original names an
    expert's matrix lies the other way round, so that its tensor here is a transposed view.
    Raises CheckpointError as `open_checkpoint` does.
    """
    folder = find_model(path)
    if folder.layout == "gguf":
        raise CheckpointError(
            f"{folder.path}: a GGUF file is quantised already; begin with the model's safetensors"
        )
    return _open_folder(folder, tensor_sources(folder.config, folder.layout, "BF16"), FLOATS)


def _open_folder(
    folder: ModelFolder, sources: list[Source], floats: tuple[str, ...] = ()
) -> Checkpoint:
    """Open the stored tensors of `sources`; `floats` may stand for each other."""
    with system_errors("read", folder.path):
        files = _open_files(folder.weights)
        stored = _validated(folder, files, sources, floats)
        tensors = [_tensor(stored[source.stored.name], source) for source in sources]
        return Checkpoint(
            path=folder.path,
            layout=folder.layout,
            mapped=tuple(file.mapped for file in files),
            config=folder.config,
            tensors={tensor.name: tensor for tensor in tensors},
            cut_vocabulary=_cut_vocabulary(folder),
        )


def find_model(path: Path | str) -> ModelFolder:
    """Recognise a model and read its config, without looking at the weights."""
    path = Path(path)
    with system_errors("read", path):
        if not path.exists():
            raise CheckpointError(f"{path} does not exist: pass the folder of a gpt-oss model")
        if file := _gguf_at(path):
            return find_gguf(file)
        if not path.is_dir():
            raise CheckpointError(
                f"{path} is a file: pass the folder that holds the model, or a .gguf file"
            )
        outer = _read_config(path / CONFIG_FILE)
        inner = _read_config(path / ORIGINAL_FOLDER / CONFIG_FILE)
        if outer and inner:
            _check_agreement(path, outer[1], inner[1])
        if outer and _has_weights(path):
            return ModelFolder(path, path, *outer)
        if inner and _has_weights(path / ORIGINAL_FOLDER):
            return ModelFolder(path, path / ORIGINAL_FOLDER, *inner)
    if outer or inner:
        raise CheckpointError(
            f"{path} has a config but no .safetensors files beside it: download the weights too"
        )
    raise CheckpointError(
        f"{path} is not a gpt-oss model: there is no {CONFIG_FILE} in it"
        f" and none in {ORIGINAL_FOLDER}/, and no .gguf file either"
    )


def _gguf_at(path: Path) -> Path | None:
    """The GGUF file that a path means: itself, or the one in a folder without safetensors."""
    with system_errors("read", path):
        if is_gguf(path):
            return path
        if not path.is_dir() or _has_weights(path) or _has_weights(path / ORIGINAL_FOLDER):
            return None
        return only_gguf(path)


def _read_config(path: Path) -> tuple[Layout, ModelConfig] | None:
    if not path.is_file():
        return None
    values = read_object(path)
    try:
        if looks_original(values):
            return "original", ModelConfig.from_original(values)
        return "huggingface", ModelConfig.from_huggingface(values)
    except CheckpointError as error:
        raise CheckpointError(
            f"{path}: {error}; use the file published with the weights of a gpt-oss model"
        ) from error


def _check_agreement(path: Path, outer: ModelConfig, inner: ModelConfig) -> None:
    for field in outer.differences(inner):
        raise CheckpointError(
            f"{path / CONFIG_FILE} and {path / ORIGINAL_FOLDER / CONFIG_FILE} contradict each"
            f" other: {field} is {shown(getattr(outer, field))} in the first and"
            f" {shown(getattr(inner, field))} in the second; remove the one that is wrong"
        )


def _has_weights(folder: Path) -> bool:
    return (folder / INDEX_FILE).is_file() or any(folder.glob("*.safetensors"))


def _open_files(folder: Path) -> list[SafetensorsFile]:
    """The files the index names; without an index, every safetensors file in the folder."""
    index = folder / INDEX_FILE
    if not index.is_file():
        return [SafetensorsFile(path) for path in sorted(folder.glob("*.safetensors"))]
    places = read_object(index).get("weight_map")
    if not isinstance(places, dict) or not all(isinstance(at, str) for at in places.values()):
        raise CheckpointError(
            f"{index}: its weight_map has to map tensor names to file names; download it again"
        )
    files = {name: _open_shard(index, name) for name in sorted(set(places.values()))}
    for tensor, name in places.items():
        if tensor not in files[name].tensors:
            raise CheckpointError(
                f"{index}: it says that tensor {shown(tensor)} is in {name}, which does not have"
                " it; index and shards do not belong together, download them again"
            )
    return list(files.values())


def _open_shard(index: Path, name: str) -> SafetensorsFile:
    if Path(name).name != name:
        raise CheckpointError(f"{index}: {shown(name)} is not the name of a file in its folder")
    path = index.parent / name
    if not path.is_file():
        raise CheckpointError(
            f"{path} is missing, {INDEX_FILE} names it: the download is incomplete, finish it"
        )
    return SafetensorsFile(path)


def _validated(
    folder: ModelFolder,
    files: Iterable[SafetensorsFile],
    sources: Iterable[Source],
    floats: tuple[str, ...],
) -> dict[str, SafetensorsFile]:
    """Which file has each stored tensor, once all are known to be as the config demands."""
    found: dict[str, SafetensorsFile] = {}
    for file in files:
        for name in file.tensors:
            if name in found:
                raise CheckpointError(
                    f"{file.path}: tensor {shown(name)} is also in {found[name].path}:"
                    " remove the file that does not belong to this model"
                )
            found[name] = file
    wanted = {source.stored.name: source.stored for source in sources}
    for name, spec in wanted.items():
        if name not in found:
            raise _missing(folder, name, found)
        stored = found[name].tensors[name]
        dtypes = floats or (spec.dtype,)
        if stored.dtype not in dtypes or stored.shape != spec.shape:
            raise CheckpointError(
                f"{found[name].path}: tensor {shown(name)} is {stored.dtype}"
                f" {list(stored.shape)}, the config demands {' or '.join(dtypes)}"
                f" {list(spec.shape)};"
                " config and weights do not belong together"
            )
    unexpected = [name for name in found if name not in wanted]
    if unexpected:
        name = unexpected[0]
        others = f" and {len(unexpected) - 1} others" if len(unexpected) > 1 else ""
        raise CheckpointError(
            f"{found[name].path}: tensor {shown(name)}{others} is not part of a gpt-oss model"
            f" with this config ({folder.config.layers} layers); config and weights do not belong"
            " together"
        )
    return found


def _missing(folder: ModelFolder, name: str, found: Mapping[str, object]) -> CheckpointError:
    unquantised = re.sub(r"[._](blocks|scales)$", "", name)
    if unquantised in found:  # never `name` itself, which is missing
        return CheckpointError(
            f"{folder.weights}: the experts are not MXFP4: there is a tensor {shown(unquantised)}"
            f" instead of {shown(name)}; quantise the model first"
            " (motet quantize), or use the released one"
        )
    if {f"{name}_blocks", f"{name}.blocks"} & found.keys():
        return CheckpointError(f"{folder.weights}: the experts are MXFP4 already; use it as it is")
    return CheckpointError(
        f"{folder.weights}: tensor {shown(name)} is missing: the download is incomplete,"
        " or config and weights do not belong together"
    )


def _tensor(file: SafetensorsFile, source: Source) -> Tensor:
    data = file.data(source.stored.name)
    rows = data if source.rows is None else data[source.rows]
    values = rows.swapaxes(1, 2) if source.transposed else rows
    stored = file.tensors[source.stored.name].dtype
    dtype = next((each for each in FLOATS if each == stored), source.target.dtype)
    return Tensor(source.target.name, dtype, source.target.shape, values)


def _cut_vocabulary(folder: ModelFolder) -> Vocabulary | None:
    path = folder.path / VOCABULARY_FILE
    if not path.is_file():
        return None
    try:
        vocabulary = Vocabulary.from_json(read_object(path))
    except HarmonyError as error:
        raise CheckpointError(f"{path}: {error}") from error
    if vocabulary.size != folder.config.vocabulary_size:
        raise CheckpointError(
            f"{path}: it has {vocabulary.size} token ids, the config says"
            f" {folder.config.vocabulary_size}; the two do not belong together"
        )
    return vocabulary
