"""Opening a model for the command line: a path in, an engine with its defaults out.

The one place that decides what a person gets who sets nothing: the embedded nano model runs
greedily, because it was trained to be exact and not to be varied, and at high effort, because it is
hardly ever right at less; every other model runs at temperature 1, as gpt-oss was trained and is
recommended, and at medium effort.
"""

from pathlib import Path

from motet.checkpoint import open_checkpoint
from motet.cli.documents import InputError
from motet.cli.session import Model
from motet.cli.terminal import Waiting
from motet.engine import NativeEngine, SamplingParameters
from motet.engine.native import Precision
from motet.nano import embedded_nano_path

NANO_SKILLS = (
    "It adds and subtracts numbers up to 4 digits, compares and sorts up to five, finds a value in "
    "a short text, copies and reverses words, counts their letters, and calls functions. "
    "It is often wrong."
)


def open_model(folder: Path | None, precision: Precision, *, threads: int | None = None) -> Model:
    """Open the checkpoint in a folder or GGUF file, or the embedded nano model for None.

    Raises InputError, CheckpointError and EngineError.
    """
    if folder and not folder.exists():
        raise InputError(
            f"{folder} is not a folder here, and Motet cannot download models yet: "
            "give --model a folder that holds a checkpoint."
        )
    path = folder or embedded_nano_path()
    nano = path.resolve() == embedded_nano_path().resolve()
    name = path.absolute().name
    with Waiting(f"Opening {name}"):
        checkpoint = open_checkpoint(path)
        engine = NativeEngine(checkpoint, precision=precision, threads=threads)
    if not nano:
        return Model(engine, checkpoint.vocabulary, name)
    return Model(
        engine,
        checkpoint.vocabulary,
        title="the embedded nano model",
        skills=NANO_SKILLS,
        sampling=SamplingParameters(temperature=0.0),
        effort="high",
        dated=False,
    )
