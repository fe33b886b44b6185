"""The harmony format of OpenAI's gpt-oss models: text, messages, token ids, and back.

Pure: no I/O but the package's own data, no model, no other room of Motet. A conversation
(`messages.py`) is written as token ids (`rendering.py`, tools by `typescript.py`) with a vocabulary
(`vocabulary.py`), and whatever a model answers is read back as messages (`parsing.py`).
"""

from motet.harmony.content import (
    Content,
    DeveloperContent,
    ReasoningEffort,
    ResponseFormat,
    SystemContent,
    TextContent,
    ToolDescription,
    ToolNamespace,
    browser_tool,
    python_tool,
)
from motet.harmony.errors import HarmonyError
from motet.harmony.events import (
    HarmonyEvent,
    MessageEnd,
    MessageEnded,
    MessageStarted,
    Repaired,
    TextDelta,
)
from motet.harmony.messages import Author, Conversation, Message
from motet.harmony.names import ANALYSIS, CHANNELS, COMMENTARY, CONSTRAIN, FINAL, FUNCTIONS, Role
from motet.harmony.parsing import HarmonyParser, ParseResult, parse_tokens
from motet.harmony.rendering import (
    AnalysisRetention,
    render_conversation,
    render_for_completion,
    render_for_training,
    render_message,
)
from motet.harmony.repairs import Repair, RepairKind
from motet.harmony.typescript import schema_to_typescript
from motet.harmony.vocabulary import (
    VOCABULARY_FILE,
    StreamingDecoder,
    Vocabulary,
    o200k_harmony,
)

__all__ = [
    "ANALYSIS",
    "CHANNELS",
    "COMMENTARY",
    "CONSTRAIN",
    "FINAL",
    "FUNCTIONS",
    "VOCABULARY_FILE",
    "AnalysisRetention",
    "Author",
    "Content",
    "Conversation",
    "DeveloperContent",
    "HarmonyError",
    "HarmonyEvent",
    "HarmonyParser",
    "Message",
    "MessageEnd",
    "MessageEnded",
    "MessageStarted",
    "ParseResult",
    "ReasoningEffort",
    "Repair",
    "RepairKind",
    "Repaired",
    "ResponseFormat",
    "Role",
    "StreamingDecoder",
    "SystemContent",
    "TextContent",
    "TextDelta",
    "ToolDescription",
    "ToolNamespace",
    "Vocabulary",
    "browser_tool",
    "o200k_harmony",
    "parse_tokens",
    "python_tool",
    "render_conversation",
    "render_for_completion",
    "render_for_training",
    "render_message",
    "schema_to_typescript",
]
