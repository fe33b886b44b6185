"""Conversations to token ids, ready for a model or for training one.

Token-identical to openai-harmony but for the differences listed in docs/harmony.md. Structure comes
from ids of special tokens alone and all text is encoded as ordinary text, so nobody can write
structure into a message. What a model generated is repeated id by id (`Message.tokens`), so that
the next prompt extends the last one and a prefix cache hits.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum

from motet.harmony.content import (
    Content,
    DeveloperContent,
    ResponseFormat,
    SystemContent,
    TextContent,
)
from motet.harmony.messages import Conversation, Message
from motet.harmony.names import ANALYSIS, CONSTRAIN, FINAL, FUNCTIONS, Role
from motet.harmony.typescript import comment_lines, json_text, tools_section
from motet.harmony.vocabulary import Vocabulary


class AnalysisRetention(StrEnum):
    """Which chain of thought a prompt repeats.

    CURRENT_TURN: thoughts are kept while their turn runs, through all its calls of tools, and
    dropped once an answer on `final` has ended it; calls and results always stay.
    REFERENCE: what openai-harmony drops: if the last assistant message is an answer, everything on
    `analysis` (calls and results included) before the first answer of the conversation.
    ALL: nothing is dropped.
    """

    CURRENT_TURN = "current_turn"
    REFERENCE = "reference"
    ALL = "all"


def render_conversation(
    conversation: Conversation,
    vocabulary: Vocabulary,
    *,
    retention: AnalysisRetention = AnalysisRetention.CURRENT_TURN,
) -> list[int]:
    """The ids of all messages that `retention` keeps."""
    kept = _kept(conversation.messages, retention, _last_answer(conversation.messages))
    return _Renderer(vocabulary, conversation).all(kept)


def render_for_completion(
    conversation: Conversation,
    vocabulary: Vocabulary,
    next_role: Role = Role.ASSISTANT,
    *,
    retention: AnalysisRetention = AnalysisRetention.CURRENT_TURN,
) -> list[int]:
    """A prompt: the conversation and the start of a message by `next_role`."""
    prompt = render_conversation(conversation, vocabulary, retention=retention)
    return [*prompt, vocabulary.start, *vocabulary.encode(next_role)]


def render_for_training(
    conversation: Conversation,
    vocabulary: Vocabulary,
    *,
    retention: AnalysisRetention = AnalysisRetention.CURRENT_TURN,
) -> list[int]:
    """An example to learn from: as in a prompt, and a last message on `final` ends in `<|return|>`.

    With CURRENT_TURN, the thoughts that led to that last answer are kept: they are to be learned.
    """
    messages = conversation.messages
    kept = _kept(messages, retention, _last_answer(messages[:-1]))
    ids = _Renderer(vocabulary, conversation).all(kept)
    if messages and _is_answer(messages[-1]):
        ids[-1] = vocabulary.return_
    return ids


def render_message(message: Message, vocabulary: Vocabulary) -> list[int]:
    """The ids of one message alone."""
    return _Renderer(vocabulary, Conversation((message,))).message(message)


def _kept(
    messages: tuple[Message, ...], retention: AnalysisRetention, last_answer: int
) -> list[Message]:
    match retention:
        case AnalysisRetention.ALL:
            return list(messages)
        case AnalysisRetention.CURRENT_TURN:
            ended = messages[: max(last_answer, 0)]
            return [m for m in ended if not _is_thought(m)] + list(messages[len(ended) :])
        case AnalysisRetention.REFERENCE:
            ended = _ended_by_reference(messages)
            return [m for m in ended if m.channel != ANALYSIS] + list(messages[len(ended) :])


def _ended_by_reference(messages: tuple[Message, ...]) -> tuple[Message, ...]:
    spoken = [message for message in messages if message.author.role is Role.ASSISTANT]
    if not spoken or not _is_answer(spoken[-1]):
        return ()
    return messages[: next(i for i, message in enumerate(messages) if message.channel == FINAL)]


def _last_answer(messages: tuple[Message, ...]) -> int:
    """The index of the last message on `final` by the assistant; -1 if there is none."""
    return max((i for i, message in enumerate(messages) if _is_answer(message)), default=-1)


def _is_answer(message: Message) -> bool:
    return message.author.role is Role.ASSISTANT and message.channel == FINAL


def _is_thought(message: Message) -> bool:
    is_own = message.author.role is Role.ASSISTANT and message.recipient is None
    return is_own and message.channel == ANALYSIS


class _Renderer:
    """Writes the messages of one conversation."""

    def __init__(self, vocabulary: Vocabulary, conversation: Conversation) -> None:
        self._vocabulary = vocabulary
        self._has_functions = _has_functions(conversation)

    def all(self, messages: Iterable[Message]) -> list[int]:
        return [token for message in messages for token in self.message(message)]

    def message(self, message: Message) -> list[int]:
        start = self._vocabulary.start
        if message.tokens is not None:
            return [start, *self._generated(message)]
        body = [token for content in message.content for token in self._content(content)]
        header = self._header(message)
        return [start, *header, self._vocabulary.message, *body, self._terminator(message)]

    def _generated(self, message: Message) -> list[int]:
        """What the model wrote, ended as a message of the past ends."""
        vocabulary, ids = self._vocabulary, list(message.tokens or ())
        if ids and ids[-1] == vocabulary.return_:
            ids[-1] = vocabulary.end
        elif not ids or ids[-1] not in (vocabulary.end, vocabulary.call):
            ids.append(self._terminator(message))
        return ids

    def _header(self, message: Message) -> list[int]:
        encode, vocabulary = self._vocabulary.encode, self._vocabulary
        ids = encode(message.author.header_word)
        if recipient := _recipient(message):
            ids += encode(f" to={recipient}")
        if message.channel is not None:
            ids += [vocabulary.channel, *encode(message.channel)]
        if message.content_type is not None:
            ids += self._content_type(message.content_type)
        return ids

    def _content_type(self, content_type: str) -> list[int]:
        encode = self._vocabulary.encode
        if not content_type.startswith(CONSTRAIN):
            return encode(f" {content_type}")
        kind = encode(content_type.removeprefix(CONSTRAIN))
        return [*encode(" "), self._vocabulary.constrain, *kind]

    def _content(self, content: Content) -> list[int]:
        match content:
            case TextContent():
                return self._vocabulary.encode(content.text)
            case SystemContent():
                return self._vocabulary.encode(_system_text(content, self._has_functions))
            case DeveloperContent():
                return self._vocabulary.encode(_developer_text(content))

    def _terminator(self, message: Message) -> int:
        is_call = message.author.role is Role.ASSISTANT and _recipient(message) is not None
        return self._vocabulary.call if is_call else self._vocabulary.end


def _recipient(message: Message) -> str | None:
    """Whom the header names: nobody for a message to all, and the assistant for a tool's result."""
    if message.recipient is None and message.author.role is Role.TOOL:
        return Role.ASSISTANT
    return None if message.recipient == "all" else message.recipient


def _has_functions(conversation: Conversation) -> bool:
    return any(
        namespace.name == FUNCTIONS and namespace.tools
        for message in conversation.messages
        for content in message.content
        if isinstance(content, DeveloperContent)
        for namespace in content.tools
    )


def _system_text(system: SystemContent, has_functions: bool) -> str:
    top = []
    if system.model_identity is not None:
        top.append(system.model_identity)
    if system.knowledge_cutoff is not None:
        top.append(f"Knowledge cutoff: {system.knowledge_cutoff}")
    if system.conversation_start_date is not None:
        top.append(f"Current date: {system.conversation_start_date}")
    sections = ["\n".join(top)] if top else []
    if system.reasoning_effort:
        sections.append(f"Reasoning: {system.reasoning_effort}")
    if system.tools:
        sections.append(tools_section(system.tools))
    if system.valid_channels:
        sections.append(_channels_text(system, has_functions))
    return "\n\n".join(sections)


def _channels_text(system: SystemContent, has_functions: bool) -> str:
    text = f"# Valid channels: {', '.join(system.valid_channels)}."
    if system.channel_required:
        text += " Channel must be included for every message."
    if has_functions:
        text += "\nCalls to these tools must go to the commentary channel: 'functions'."
    return text


def _developer_text(developer: DeveloperContent) -> str:
    sections = []
    if developer.instructions is not None:
        sections += ["# Instructions", developer.instructions]
    if developer.tools:
        sections.append(tools_section(developer.tools))
    if developer.response_formats:
        sections += ["# Response Formats", *map(_format_text, developer.response_formats)]
    return "\n\n".join(sections)


def _format_text(response: ResponseFormat) -> str:
    comment = comment_lines(response.description or "")
    return f"## {response.name}\n\n{comment}{json_text(response.schema)}"
