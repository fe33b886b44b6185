"""A model that is ready to answer, and a conversation with it over many turns."""

from dataclasses import dataclass, field, replace
from datetime import date

from motet.agent import Turn, TurnOptions
from motet.engine import Engine, SamplingParameters
from motet.harmony import (
    Conversation,
    DeveloperContent,
    Message,
    ReasoningEffort,
    SystemContent,
    Vocabulary,
)
from motet.harmony.grammar import TurnRules


@dataclass(frozen=True)
class Model:
    """A model that is ready to answer, and what it does by default.

    `title` names it for a person and `place` says where it runs; `skills` is one sentence on what
    it can do, if that is little; `effort` is how long it thinks.
    """

    engine: Engine
    vocabulary: Vocabulary
    title: str
    place: str = "on this computer"
    skills: str | None = None
    sampling: SamplingParameters = field(default_factory=SamplingParameters)
    effort: str = "medium"
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


class Session:
    """The conversation so far, and how its next turn is generated.

    A turn joins the conversation when `keep` is called with it, whole or cut short.
    """

    def __init__(
        self,
        model: Model,
        *,
        effort: str,
        developer: str | None = None,
        sampling: SamplingParameters | None = None,
        maximum_tokens: int | None = None,
        rules: TurnRules | None = None,
    ) -> None:
        self._model = model
        self._effort = effort
        self._developer = developer
        sampling = sampling or model.sampling
        self._options = TurnOptions(sampling, maximum_tokens, rules or TurnRules())
        self.conversation = model.opening(effort, developer)

    def turn(self, text: str) -> Turn:
        """The turn that answers the conversation with this user message at its end."""
        conversation = Conversation((*self.conversation.messages, Message.user(text)))
        return Turn(self._model.engine, self._model.vocabulary, conversation, self._options)

    def keep(self, turn: Turn) -> None:
        """Go on from the end of this turn."""
        self.conversation = turn.conversation

    def restart(self) -> None:
        """Forget everything that was said."""
        self.conversation = self._model.opening(self._effort, self._developer)

    def think(self, effort: str) -> None:
        """Answer with this effort from now on."""
        self._effort = effort
        self.conversation = Conversation(
            (self._model.system(effort), *self.conversation.messages[1:])
        )
