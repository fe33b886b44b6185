"""Opening a model for the command line: a folder in, an engine with its defaults out.

The one place that decides what a person gets who sets nothing: the embedded nano model runs
greedily, because it was trained to be exact and not to be varied; every other model runs at
temperature 1, as gpt-oss was trained and is recommended.
"""

from dataclasses import dataclass, field, replace
from datetime import date
from pathlib import Path

from motet.checkpoint import open_checkpoint
from motet.cli.documents import InputError
from motet.cli.terminal import Waiting
from motet.engine import Engine, NativeEngine, SamplingParameters
from motet.harmony import (
    Conversation,
    DeveloperContent,
    Message,
    ReasoningEffort,
    SystemContent,
    Vocabulary,
)
from motet.nano import embedded_nano_path

NANO_SKILLS = (
    "It adds and subtracts whole numbers, compares and sorts numbers, finds a value in a short "
    "text, copies and reverses words and counts their letters, and calls functions."
)


@dataclass(frozen=True)
class Model:
    """A model that is ready to answer, and what it does by default.

    `title` names it for a person; `skills` is one sentence on what it can do, if that is little.
    """

    engine: Engine
    vocabulary: Vocabulary
    title: str
    skills: str | None = None
    sampling: SamplingParameters = field(default_factory=SamplingParameters)
    dated: bool = True

    def sampled(self, temperature: float | None, seed: int | None) -> SamplingParameters:
        """The model's own sampling with what a person set instead."""
        if temperature is None:
            temperature = self.sampling.temperature
        return replace(self.sampling, temperature=temperature, seed=seed)

    def opening(self, effort: str, developer: str | None) -> Conversation:
        """The messages a conversation starts with."""
        system = self.system(effort)
        if not developer:
            return Conversation((system,))
        return Conversation((system, Message.developer(DeveloperContent(instructions=developer))))

    def system(self, effort: str) -> Message:
        """The system message for a reasoning effort; the date only for a model that reads it."""
        today = date.today().isoformat() if self.dated else None
        return Message.system(
            SystemContent(reasoning_effort=ReasoningEffort(effort), conversation_start_date=today)
        )


def open_model(folder: Path | None) -> Model:
    """Open the checkpoint in a folder, or the embedded nano model for None."""
    if folder and not folder.is_dir():
        raise InputError(
            f"{folder} is not a folder here, and Motet cannot download models yet: "
            "give --model a folder that holds a checkpoint."
        )
    path = folder or embedded_nano_path()
    nano = path.resolve() == embedded_nano_path().resolve()
    with Waiting(f"Opening {path.name}"):
        checkpoint = open_checkpoint(path)
        engine = NativeEngine(checkpoint)
    if not nano:
        return Model(engine, checkpoint.vocabulary, path.name)
    return Model(
        engine,
        checkpoint.vocabulary,
        title="the embedded nano model",
        skills=NANO_SKILLS,
        sampling=SamplingParameters(temperature=0.0),
        dated=False,
    )
