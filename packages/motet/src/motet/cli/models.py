"""Opening a model for the command line: a path in, an engine with its defaults out.

The one place that decides what a person gets who sets nothing: the embedded nano model runs
greedily, because it was trained to be exact and not to be varied, and at high effort, because it is
hardly ever right at less; every other model runs at temperature 1, as gpt-oss was trained and is
recommended, and at medium effort. Servers may run the model instead; then the vocabulary is that of
gpt-oss, or the embedded model's if a server says that it has as many tokens.
"""

import os
from collections.abc import Sequence
from pathlib import Path

from motet.checkpoint import open_checkpoint
from motet.cli.documents import InputError
from motet.cli.session import Model
from motet.cli.terminal import Waiting
from motet.engine import Engine, NativeEngine, SamplingParameters
from motet.engine.native import Precision
from motet.harmony import Vocabulary, o200k_harmony
from motet.nano import embedded_nano_path

NANO_SKILLS = (
    "It adds and subtracts numbers up to 4 digits, compares and sorts up to five, finds a value in "
    "a short text, copies and reverses words, counts their letters, and calls functions. "
    "It is often wrong."
)


def open_model(
    folder: Path | None,
    precision: Precision,
    servers: Sequence[str] | None = None,
    *,
    threads: int | None = None,
    key_value_limit: int | None = None,
    maximum_waiting: int = 256,
    speculation: bool = False,
) -> Model:
    """Open the checkpoint in a folder or GGUF file, or the embedded nano model for None.

    The keywords are NativeEngine's. With the addresses of `servers`, no model is opened here: they
    run it. Raises InputError, CheckpointError and EngineError.
    """
    if servers:
        if folder:
            raise InputError("--engine runs the model elsewhere: give no --model beside it.")
        return _remote_model(servers)
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
        engine = NativeEngine(
            checkpoint,
            precision=precision,
            threads=threads,
            key_value_limit=key_value_limit,
            maximum_waiting=maximum_waiting,
            speculation=speculation,
        )
    if nano:
        return _nano_model(engine, checkpoint.vocabulary)
    return Model(engine, checkpoint.vocabulary, name)


def _nano_model(engine: Engine, vocabulary: Vocabulary, place: str = Model.place) -> Model:
    return Model(
        engine,
        vocabulary,
        title="the embedded nano model",
        place=place,
        skills=NANO_SKILLS,
        sampling=SamplingParameters(temperature=0.0),
        effort="high",
        dated=False,
    )


def _remote_model(urls: Sequence[str]) -> Model:
    """The model that runs on the servers at these addresses."""
    from motet.engine.remote import RemoteEngine, bearer, describe_server

    key = os.environ.get("MOTET_ENGINE_KEY")
    with Waiting(f"Asking {urls[0]}"):
        servers = [describe_server(url, bearer(key)) for url in urls]
        vocabulary = o200k_harmony()
        if servers[0].vocabulary_size not in (None, vocabulary.size):
            nano = open_checkpoint(embedded_nano_path()).vocabulary
            vocabulary = nano if servers[0].vocabulary_size == nano.size else vocabulary
        engine = RemoteEngine(servers, vocabulary, key=key)
    place = "at " + ", ".join(server.url for server in servers)
    if vocabulary != o200k_harmony():
        return _nano_model(engine, vocabulary, place)
    return Model(engine, vocabulary, servers[0].model, place)
