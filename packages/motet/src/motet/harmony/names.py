"""The fixed words of the format: roles, channels and the marks in front of names."""

from enum import StrEnum


class Role(StrEnum):
    """Who speaks. In instructions that contradict one another, the earlier role wins."""

    SYSTEM = "system"
    DEVELOPER = "developer"
    USER = "user"
    ASSISTANT = "assistant"
    TOOL = "tool"


SPEAKERS = frozenset(role.value for role in Role if role is not Role.TOOL)
"""The roles a header names; a tool's header names the tool instead."""

ANALYSIS, COMMENTARY, FINAL = CHANNELS = ("analysis", "commentary", "final")
"""Chain of thought; preambles and calls of functions; the answer."""

CONSTRAIN = "<|constrain|>"
"""In front of a content type: the text is held to that format (written as the special token)."""

FUNCTIONS = "functions"
"""The namespace of the developer's own tools."""
