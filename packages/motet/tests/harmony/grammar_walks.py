"""Walking through a turn's grammar without a model, by chance or by a text that is to come out."""

from collections.abc import Iterable

import numpy as np

from motet.harmony import (
    Conversation,
    DeveloperContent,
    Message,
    ParseResult,
    SystemContent,
    ToolDescription,
    ToolNamespace,
    Vocabulary,
    browser_tool,
    o200k_harmony,
    parse_tokens,
    python_tool,
)
from motet.harmony.grammar import TurnConstraint, TurnGrammar, TurnRules, compile_turn

SMALL = o200k_harmony().first(2000)
CITY = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "days": {"type": "integer", "minimum": 1}},
    "required": ["city"],
}
WEATHER = ToolDescription("weather", "Tells the weather.", CITY)
NOW = ToolDescription("now", "Tells the time.")


def conversation(
    *functions: ToolDescription, builtin: bool = False, channels: tuple[str, ...] | None = None
) -> Conversation:
    system = SystemContent(tools=(python_tool(), browser_tool()) if builtin else ())
    if channels is not None:
        system = SystemContent(valid_channels=channels)
    messages = [Message.system(system)]
    if functions:
        namespace = ToolNamespace.functions(functions)
        messages.append(Message.developer(DeveloperContent(tools=(namespace,))))
    return Conversation((*messages, Message.user("Hello.")))


def grammar(asked: Conversation, rules: TurnRules | None = None) -> TurnGrammar:
    return compile_turn(SMALL, asked, rules)


def walk(
    constraint: TurnConstraint, seed: int, *, vocabulary: Vocabulary = SMALL, most: int = 100_000
) -> list[int]:
    """A turn of allowed tokens, each as likely as any other."""
    chance = np.random.default_rng(seed)
    tokens = list(constraint.forced())
    while len(tokens) < most and not (tokens and tokens[-1] in vocabulary.stop_ids):
        token = int(chance.choice(np.flatnonzero(constraint.allowed())))
        if constraint.accept(token):
            tokens.append(token)
        tokens += constraint.forced()
    return tokens


def follow(constraint: TurnConstraint, tokens: Iterable[int]) -> int | None:
    """Take these tokens one by one; the place of the first that is not allowed, None if all are."""
    ahead: list[int] = []
    for place, token in enumerate(tokens):
        ahead += constraint.forced()
        if ahead:
            if ahead.pop(0) != token:
                return place
        elif not constraint.allowed()[token]:
            return place
        else:
            assert constraint.accept(token)
    return None


def written(text: str, vocabulary: Vocabulary = SMALL) -> list[int]:
    """The tokens of a text in which `<|…|>` are special tokens."""
    tokens: list[int] = []
    for piece in text.replace("|>", "|>\0").replace("<|", "\0<|").split("\0"):
        if piece.startswith("<|"):
            tokens.append(vocabulary.special[piece.strip("<|>")])
        else:
            tokens += vocabulary.encode(piece)
    return tokens


def read(tokens: Iterable[int], asked: Conversation) -> ParseResult:
    return parse_tokens(tokens, SMALL, tools=asked.tools)
