"""The model a server answers with, and what it does where a request says nothing."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date
from time import time

from motet.engine import Engine, SamplingParameters
from motet.harmony import Message, ReasoningEffort, SystemContent, Vocabulary
from motet.server.errors import ApiError


@dataclass(frozen=True)
class ServedModel:
    """An engine with its vocabulary, the names it answers to (the first is its own) and defaults.

    `dated`: whether the system message tells the day, which the embedded model cannot read.
    """

    engine: Engine
    vocabulary: Vocabulary
    names: tuple[str, ...]
    sampling: SamplingParameters = field(default_factory=SamplingParameters)
    effort: str = "medium"
    dated: bool = True
    created: int = field(default_factory=lambda: int(time()))

    @property
    def name(self) -> str:
        """What it calls itself in answers."""
        return self.names[0]

    def require(self, name: str | None) -> None:
        """Raise ApiError if a request asks for another model; to name none is to ask for this."""
        if name is not None and name not in self.names:
            raise ApiError(
                f"The model {name!r} is not served here; this server has {', '.join(self.names)}.",
                param="model",
                code="model_not_found",
                status=404,
            )

    def system(self, effort: str | None) -> Message:
        """The system message for a reasoning effort, the model's own if None."""
        return Message.system(
            SystemContent(
                reasoning_effort=ReasoningEffort(effort or self.effort),
                conversation_start_date=date.today().isoformat() if self.dated else None,
            )
        )
