"""Each prompt extends the last one by what the model wrote, token by token.

That holds wherever the retention keeps all messages: `ALL` always, `CURRENT_TURN` until an answer
on `final` has ended the turn. What had to be repaired is written as it was meant and is exempt.
`<|return|>` is written `<|end|>` in the past, so there the prompt extends all tokens but that one.
"""

from __future__ import annotations

from completion_strategies import WORDS, completions
from harmony_cases import ids
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from text_strategies import texts

from motet.harmony import (
    AnalysisRetention,
    Conversation,
    Message,
    parse_tokens,
    render_for_completion,
)

QUICKLY = settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow])
SYSTEM = Message.system()
NAMES = st.sampled_from(("", "", ":ada"))


def prompt(messages: tuple[Message, ...], retention: AnalysisRetention) -> list[int]:
    return render_for_completion(Conversation(messages), WORDS, retention=retention)


def answered(
    messages: tuple[Message, ...], generated: list[int], retention: AnalysisRetention, name: str
) -> tuple[Message, ...]:
    """The messages and what follows them; asserts that the next prompt extends this one."""
    before = prompt(messages, retention)
    result = parse_tokens(generated, WORDS)
    assert result.is_well_formed
    later = (*messages, *result.messages)
    last = later[-1]
    later = (*later, Message.tool(last.recipient, name) if last.recipient else Message.user(name))
    after = prompt(later, retention)
    past = [WORDS.end if token == WORDS.return_ else token for token in generated]
    assert after[: len(before) + len(past)] == before + past
    end = WORDS.call if last.recipient else WORDS.end
    is_cut = past[-1:] not in ([WORDS.end], [WORDS.call])
    rest = after[len(before) + len(past) :]
    assert rest[: 1 + is_cut] == [*[end] * is_cut, WORDS.start]
    return later


@QUICKLY
@given(loop=st.lists(completions(last="call"), min_size=1, max_size=4), text=texts(20))
def test_a_loop_of_calls_keeps_thoughts_preambles_and_calls(
    loop: list[list[int]], text: str
) -> None:
    messages: tuple[Message, ...] = (SYSTEM, Message.user("Hi"))
    for generated in loop:
        messages = answered(messages, generated, AnalysisRetention.CURRENT_TURN, text)


@QUICKLY
@given(
    turns=st.lists(NAMES.flatmap(lambda name: completions(name=name)), min_size=1, max_size=4),
    text=texts(20),
)
def test_all_of_several_turns_is_kept(turns: list[list[int]], text: str) -> None:
    messages: tuple[Message, ...] = (SYSTEM, Message.user("Hi"))
    for generated in turns:
        messages = answered(messages, generated, AnalysisRetention.ALL, text)


def test_turns_that_end_without_an_answer_keep_their_thoughts() -> None:
    messages: tuple[Message, ...] = (SYSTEM, Message.user("Hi"))
    for end in ("<|end|>", "<|return|>", ""):
        preamble = f"<|channel|>commentary<|message|>I will look.{end}"
        generated = ids(
            WORDS, f"<|channel|>analysis<|message|>Hm<|end|><|start|>assistant{preamble}"
        )
        messages = answered(messages, generated, AnalysisRetention.CURRENT_TURN, "Go on.")


def test_a_repaired_message_alone_is_written_as_it_was_meant() -> None:
    thought = "<|channel|>analysis<|message|>Hm<|end|>"
    generated = ids(WORDS, f"{thought}<|start|>assistant final<|message|>Hi<|return|>")
    messages = (SYSTEM, Message.user("Hi"))
    before = prompt(messages, AnalysisRetention.ALL)
    result = parse_tokens(generated, WORDS)
    after = prompt((*messages, *result.messages), AnalysisRetention.ALL)
    kept = len(before) + len(ids(WORDS, thought))
    assert after[:kept] == (before + generated)[:kept]
    meant = "<|start|>assistant<|channel|>final<|message|>Hi<|end|><|start|>assistant"
    assert after[kept:] == ids(WORDS, meant)
