"""A conversation with a model over many turns, and what a person can do to it besides talking."""

from motet.agent import Turn, TurnOptions
from motet.cli.models import Model
from motet.engine import SamplingParameters
from motet.harmony import Conversation, Message


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
    ) -> None:
        self._model = model
        self._effort = effort
        self._developer = developer
        self._options = TurnOptions(sampling or model.sampling, maximum_tokens)
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
