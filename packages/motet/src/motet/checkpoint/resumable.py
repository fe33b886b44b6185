"""Writing a model in parts, so that it can be stopped anywhere and goes on where it was.

Everything lies in TARGET.partial, which has no config and so is never taken for a model, until the
last part is there; then the documents are added and the folder gets its name in one step. A part,
one file for each layer, is written under a temporary name, flushed, hashed and renamed, and only
then entered in the record. Whoever comes later with the same recipe (source, options) checks the
hashes and makes only what is missing or damaged; another recipe is refused.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

from motet.checkpoint.atomic import check_target, flush_names
from motet.checkpoint.config import ModelConfig
from motet.checkpoint.errors import CheckpointError, system_errors
from motet.checkpoint.layout import ExpertDtype
from motet.checkpoint.shards import ShardWriter
from motet.checkpoint.tensors import Tensor, TensorSpec, TensorStream
from motet.checkpoint.whole import Checkpoint
from motet.checkpoint.writing import write_documents
from motet.harmony.vocabulary import Vocabulary

RECORD_FILE = "record.json"
_LOCK_FILE = "lock"
_TEMPORARY = ".temporary"

Note: TypeAlias = dict[str, Any]
Tensors: TypeAlias = Iterable[Tensor | TensorStream]
Written: TypeAlias = Callable[[int], object]


@dataclass(frozen=True)
class Part:
    """A file of a model: its name, what is in it, and how that is made.

    `make` is given a list to leave notes in, which are kept with the part.
    """

    name: str
    specs: list[TensorSpec]
    make: Callable[[list[Note]], Tensors]

    @property
    def nbytes(self) -> int:
        """Bytes of its tensors."""
        return sum(spec.nbytes for spec in self.specs)


@dataclass
class Unfinished:
    """A model in the making. `finished`: hash and notes of each part that is there."""

    target: Path
    folder: Path
    recipe: Mapping[str, Any]
    finished: dict[str, Note] = field(default_factory=dict)

    def add(self, part: Part, written: Written) -> None:
        """Make a part if it is not there yet. Raises CheckpointError."""
        path = self.folder / part.name
        with system_errors("write", self.target):
            known = self.finished.get(part.name)
            if known and path.is_file() and _hash(path) == known["sha256"]:
                written(part.nbytes)
                return
        notes: list[Note] = []
        temporary = path.with_suffix(_TEMPORARY)
        with system_errors("write", self.target):
            temporary.unlink(missing_ok=True)
        try:
            self._write(temporary, part, notes, written)
            with system_errors("write", self.target):
                digest = _hash(temporary)
                temporary.rename(path)
                self.finished[part.name] = {"sha256": digest, "notes": notes}
                self._record()
        finally:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)

    def notes(self) -> list[Note]:
        """What was noted of all parts, in their order."""
        return [note for name in sorted(self.finished) for note in self.finished[name]["notes"]]

    def finish(
        self,
        config: ModelConfig,
        vocabulary: Vocabulary | None,
        parts: Sequence[Part],
        expert_dtype: ExpertDtype,
        beside: Iterable[Path] = (),
    ) -> None:
        """Make the folder a model and give it its name; `beside`: small files to copy."""
        with system_errors("write", self.target):
            for path in beside:
                shutil.copyfile(path, self.folder / path.name)
            shards = {part.name: part.specs for part in parts}
            write_documents(self.folder, config, vocabulary, shards, expert_dtype)
            flush_names(self.folder)
            self.folder.rename(self.target)
            for name in (RECORD_FILE, _LOCK_FILE):  # whole with them, too
                (self.target / name).unlink()
            flush_names(self.target)
            flush_names(self.target.parent)

    def discard(self) -> None:
        """Delete everything."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _write(self, path: Path, part: Part, notes: list[Note], written: Written) -> None:
        with system_errors("write", self.target):
            writer = ShardWriter(path, part.specs)
        with closing(writer):
            missing = {spec.name for spec in part.specs}
            for tensor in part.make(notes):
                with system_errors("write", self.target):
                    writer.write(tensor, written)
                missing.remove(tensor.name)
            assert not missing, missing
            with system_errors("write", self.target):
                writer.flush()

    def _record(self) -> None:
        temporary = self.folder / f"{RECORD_FILE}{_TEMPORARY}"
        values = {"recipe": self.recipe, "finished": self.finished}
        with temporary.open("w", encoding="utf-8") as file:
            json.dump(values, file)
            file.flush()
            os.fsync(file.fileno())
        temporary.rename(self.folder / RECORD_FILE)
        flush_names(self.folder)


@contextmanager
def unfinished(target: Path, recipe: Mapping[str, Any], nbytes: int) -> Iterator[Unfinished]:
    """The model in the making at `target`, as far as an earlier attempt has brought it.

    `recipe`: all that decides about its bytes, fit for JSON. `nbytes`: its size. Where it fails
    before the first part is there, nothing is left. Raises CheckpointError for a target that
    exists, one that another process is making or that was begun with another recipe, and for a disk
    without room.
    """
    with system_errors("write", target):
        target = target.resolve()
        check_target(target)
        folder = target.with_name(f"{target.name}.partial")
        folder.mkdir(exist_ok=True)
        _check_ours(folder)
        lock = os.open(folder / _LOCK_FILE, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise CheckpointError(f"another process is writing {target}: let it finish") from None
        work = Unfinished(target, folder, recipe, _finished(folder, recipe))
        try:
            _check_room(work, nbytes)
            yield work
        except CheckpointError as error:
            if not work.finished:
                raise
            raise CheckpointError(
                f"{error}; {len(work.finished)} finished files are kept in {folder}, and the same"
                " command goes on from there"
            ) from error
        finally:
            if not work.finished:
                work.discard()
    finally:
        os.close(lock)


def model_parts(
    specs: Iterable[TensorSpec], make: Callable[[list[TensorSpec], list[Note]], Tensors]
) -> list[Part]:
    """A part for each layer, one for what comes before the layers and one for the rest."""
    groups: dict[str, list[TensorSpec]] = {}
    for spec in specs:
        inside = spec.name.startswith("model.layers.")
        key = spec.name.split(".")[2] if inside else "before" if not groups else "behind"
        groups.setdefault(key, []).append(spec)

    def part(name: str, group: list[TensorSpec]) -> Part:
        return Part(name, group, lambda notes: make(group, notes))

    count = len(groups)
    return [
        part(f"model-{number:05}-of-{count:05}.safetensors", group)
        for number, group in enumerate(groups.values(), start=1)
    ]


def fingerprint(checkpoint: Checkpoint) -> list[list[Any]]:
    """What tells a source from others: the names, sizes and times of its files."""
    with system_errors("read", checkpoint.path):
        states = [(file.name, file.stat()) for file in checkpoint.files]
    return [[name, state.st_size, state.st_mtime_ns] for name, state in states]


def _check_ours(folder: Path) -> None:
    """Without a record there is at most what the first part was begun with."""
    names = {path.name for path in folder.iterdir() if path.suffix != _TEMPORARY}
    if RECORD_FILE not in names and names - {_LOCK_FILE}:
        raise CheckpointError(f"{folder} holds other files: rename or delete it")


def _finished(folder: Path, recipe: Mapping[str, Any]) -> dict[str, Note]:
    record = folder / RECORD_FILE
    with system_errors("read", record):
        if not record.is_file():
            return {}
        text = record.read_text(encoding="utf-8")
    try:
        values = json.loads(text)
        finished: dict[str, Note] = values["finished"]
        same = values["recipe"] == json.loads(json.dumps(recipe))
    except (ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"{record} is damaged: delete the folder and begin again") from error
    if not same:
        raise CheckpointError(
            f"{folder} was begun with another source or other options: use those, or delete it"
        )
    return finished


def _check_room(work: Unfinished, nbytes: int) -> None:
    with system_errors("write", work.target):
        paths = [work.folder / name for name in work.finished]
        there = sum(path.stat().st_size for path in paths if path.is_file())
        free = shutil.disk_usage(work.folder).free
    if nbytes - there > free:
        raise CheckpointError(
            f"cannot write {work.target}: it needs {(nbytes - there) / 1e9:.1f} GB and the disk has"
            f" {free / 1e9:.1f} GB left; free some space or choose another disk"
        )


def _hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
