"""The loop between an engine and a conversation: render, generate, parse, remember.

Knows messages and token ids, and nothing of screens or HTTP. A `Turn` is one completion of the
model; tools join the loop here, between two turns.
"""

from motet.agent.turn import ScoredText, Turn, TurnOptions

__all__ = ["ScoredText", "Turn", "TurnOptions"]
