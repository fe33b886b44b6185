"""What the command line says of a turn: the format of the answer, the choice of tools."""

from typing import Any

from motet.cli.documents import InputError
from motet.harmony import FUNCTIONS, Conversation, DeveloperContent, Message, ResponseFormat, Role
from motet.harmony.grammar import AnswerFormat, ToolChoice

_FORMAT_NAME = "answer"


def answer_format(schema: Any, pattern: str | None) -> AnswerFormat | None:
    """The format that a schema or a pattern asks for. Raises InputError."""
    if pattern is not None:
        return AnswerFormat.regex(pattern)
    if schema is None:
        return None
    if not isinstance(schema, dict):
        raise InputError("The schema must be a JSON object.")
    return AnswerFormat.json_schema(schema)


def chosen_tools(choice: str) -> ToolChoice:
    """auto, none, required, or the one function of that name."""
    match choice:
        case "auto":
            return ToolChoice.auto()
        case "none":
            return ToolChoice.none()
        case "required":
            return ToolChoice.call()
        case name:
            return ToolChoice.call([name if "." in name else f"{FUNCTIONS}.{name}"])


def announced(conversation: Conversation, schema: dict[str, Any]) -> Conversation:
    """The conversation with the schema in its developer message, where models look for it."""
    response = ResponseFormat(_FORMAT_NAME, schema)
    messages = list(conversation.messages)
    for place, message in enumerate(messages):
        for content in message.content:
            if isinstance(content, DeveloperContent):
                messages[place] = Message.developer(
                    DeveloperContent(
                        content.instructions, content.tools, (*content.response_formats, response)
                    )
                )
                return Conversation(tuple(messages))
    developer = Message.developer(DeveloperContent(response_formats=(response,)))
    behind = 1 if messages and messages[0].author.role is Role.SYSTEM else 0
    return Conversation((*messages[:behind], developer, *messages[behind:]))
