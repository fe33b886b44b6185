"""What the model said in its last turns, by the ids of their calls.

Clients repeat a call and give its result, and often leave out the chain of thought that led to it,
although the model was trained to see it until it has answered. What they do repeat comes as text,
whose tokens need not be the ones the model wrote. So a turn that ends in a call is kept in memory
for a while, and put in the place of what the client repeats of it, unless that was changed. Nothing
of it is written to disk.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from motet.harmony import FINAL, Message, Role


class TurnMemory:
    """The messages of the last turns that ended in a call."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._turns: OrderedDict[str, tuple[Message, ...]] = OrderedDict()

    def keep(self, call_id: str, messages: Sequence[Message]) -> None:
        """Remember a turn whose last message is the call."""
        self._turns[call_id] = tuple(messages)
        while len(self._turns) > self._size:
            self._turns.popitem(last=False)

    def turn(self, call_id: str) -> tuple[Message, ...]:
        """The messages of the turn that ended in this call; none if it is not remembered."""
        return self._turns.get(call_id, ())


@dataclass(frozen=True)
class Said:
    """A message of a request; `call_id` if it is a call of a function."""

    message: Message
    call_id: str | None = None


def recalled(said: Sequence[Said], memory: TurnMemory) -> list[Message]:
    """The messages, with each remembered turn as the model wrote it."""
    messages: list[Message] = []
    for each in said:
        turn = memory.turn(each.call_id) if each.call_id else ()
        if not turn or not _is_same_call(turn[-1], each.message):
            messages.append(each.message)
            continue
        start = len(messages)
        while start and _may_precede_call(messages[start - 1]):
            start -= 1
        if {_words(message) for message in messages[start:]} <= {_words(m) for m in turn[:-1]}:
            del messages[start:]
            messages += turn
        else:
            messages.append(turn[-1])
    return messages


def _is_same_call(kept: Message, given: Message) -> bool:
    """Whether the arguments mean the same; clients write JSON anew, with other spaces."""
    return kept.recipient == given.recipient and _json(kept.text) == _json(given.text)


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def _may_precede_call(message: Message) -> bool:
    """Whether it can belong to the turn whose call follows: a thought or a preamble."""
    is_own = message.author.role is Role.ASSISTANT and message.recipient is None
    return is_own and message.channel != FINAL


def _words(message: Message) -> tuple[str | None, str]:
    return message.channel, message.text.strip()
