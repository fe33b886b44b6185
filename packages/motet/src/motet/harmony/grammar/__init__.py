"""What a model may write in one turn, token by token: harmony that cannot fail.

A turn is header, text, header, text, until an answer or a call ends it. `compile_turn` makes a
`TurnGrammar` of a conversation's tools and the wishes of one request (`rules.py`); its
`TurnConstraint` (`turn.py`) then says before every token which ones are possible:

- headers (`headers.py`): all possible headers are known, so they form a tree of token ids;
- free text (`text.py`): any ordinary token, as long as its bytes are valid UTF-8;
- text in a format (`formats.py`): arguments and structured answers, by llguidance.

Only what must be is bound: chain of thought and plain answers stay free text. Where one way on is
left it is taken without asking the model. What has to end soon is ended well (`closing.py`,
`loops.py`), and that is recorded. For engines elsewhere a turn is a text (`lark.py`).
"""

from motet.harmony.grammar.formats import answer_grammar
from motet.harmony.grammar.lark import GrammarConstraint, format_text, sequence_text
from motet.harmony.grammar.rules import (
    AnswerFormat,
    GrammarError,
    ToolChoice,
    TurnRules,
    answer_room,
)
from motet.harmony.grammar.turn import ThinkingEnd, TurnConstraint, TurnGrammar, compile_turn

__all__ = [
    "AnswerFormat",
    "GrammarConstraint",
    "GrammarError",
    "ThinkingEnd",
    "ToolChoice",
    "TurnConstraint",
    "TurnGrammar",
    "TurnRules",
    "answer_grammar",
    "answer_room",
    "compile_turn",
    "format_text",
    "sequence_text",
]
