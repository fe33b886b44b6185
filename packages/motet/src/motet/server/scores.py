"""Log probabilities of tokens, as both APIs write them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from motet.agent import ScoredText
from motet.engine import TokenLogprob
from motet.harmony import TextDelta, Vocabulary


def scores_of(delta: TextDelta) -> tuple[TokenLogprob, ...]:
    """The scores that came with a text, none if they were not asked for."""
    return delta.logprobs if isinstance(delta, ScoredText) else ()


def scores_json(scores: Iterable[TokenLogprob], vocabulary: Vocabulary) -> list[dict[str, Any]]:
    """Token, bytes and log probability of each, with the alternatives that were asked for."""
    return [
        {
            **_token(score.token, score.logprob, vocabulary),
            "top_logprobs": [_token(*alternative, vocabulary) for alternative in score.top],
        }
        for score in scores
    ]


def _token(token: int, logprob: float, vocabulary: Vocabulary) -> dict[str, Any]:
    data = vocabulary.decode_bytes((token,))
    return {
        "token": data.decode("utf-8", errors="replace"),
        "bytes": list(data),
        "logprob": finite(logprob),
    }


def finite(logprob: float) -> float:
    """A log probability that JSON can hold: it has no infinity."""
    return max(logprob, -9999.0)
