"""On valid completions the parser says what openai-harmony says, also token by token.

The differences are on purpose and listed in docs/harmony.md: a lone format, a named author and a
result without recipient are not generated here.
"""

from __future__ import annotations

import openai_harmony as oracle_api
from completion_strategies import WORDS, completions
from harmony_cases import plain
from hypothesis import HealthCheck, given, settings

from motet.harmony import HarmonyParser, MessageEnded, MessageStarted, TextDelta, parse_tokens

ASSISTANT = oracle_api.Role.ASSISTANT
QUICKLY = settings(max_examples=250, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@QUICKLY
@given(tokens=completions())
def test_valid_completions_give_the_messages_of_openai_harmony(
    harmony_oracle: oracle_api.HarmonyEncoding, tokens: list[int]
) -> None:
    result = parse_tokens(tokens, WORDS)
    assert result.repairs == ()
    expected = harmony_oracle.parse_messages_from_completion_tokens(tokens, ASSISTANT)
    assert [message.to_json() for message in result.messages] == [plain(m) for m in expected]


@QUICKLY
@given(tokens=completions())
def test_valid_completions_are_streamed_as_openai_harmony_streams_them(
    harmony_oracle: oracle_api.HarmonyEncoding, tokens: list[int]
) -> None:
    mine, other = HarmonyParser(WORDS), oracle_api.StreamableParser(harmony_oracle, ASSISTANT)
    said, begun = "", False
    for token in tokens:
        events = mine.feed(token)
        other.process(token)
        for event in events:
            match event:
                case MessageStarted():
                    said, begun = "", True
                    assert (event.channel, event.recipient, event.content_type) == (
                        *(other.current_channel, other.current_recipient),
                        other.current_content_type,
                    )
                case TextDelta():
                    said += event.text
                    assert event.text == other.last_content_delta
                case MessageEnded():
                    begun = False
        if begun:
            assert said == other.current_content
    mine.finish()
    other.process_eos()
    assert [message.to_json() for message in mine.messages] == [plain(m) for m in other.messages]
