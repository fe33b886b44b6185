"""Parsing: openai-harmony's messages on valid tokens; on all others total, lossless and linear."""

from __future__ import annotations

import random
import sys
from collections.abc import Sequence
from types import FrameType

import openai_harmony as oracle_api
import pytest
from harmony_cases import (
    DIALOGUES,
    DIALOGUES_THE_ORACLE_CANNOT_PARSE,
    conversations,
    ids,
    plain,
)
from parser_fuzz import check

from motet.harmony import (
    AnalysisRetention,
    Conversation,
    HarmonyParser,
    Message,
    MessageEnded,
    MessageStarted,
    Repair,
    RepairKind,
    Role,
    TextDelta,
    o200k_harmony,
    parse_tokens,
    render_conversation,
)
from motet.harmony.header import Segment, header_text

WORDS = o200k_harmony()
SPECIAL = list(WORDS.special.values())


def rendered(conversation: Conversation) -> list[int]:
    return render_conversation(conversation, WORDS, retention=AnalysisRetention.ALL)


def test_valid_tokens_give_the_messages_of_openai_harmony(
    harmony_oracle: oracle_api.HarmonyEncoding,
) -> None:
    for conversation in conversations(DIALOGUES):
        tokens = rendered(conversation)
        result = parse_tokens(tokens, WORDS, None)
        expected = harmony_oracle.parse_messages_from_completion_tokens(tokens)
        assert [message.to_json() for message in result.messages] == [plain(m) for m in expected]
        assert result.is_well_formed


COMPLETIONS = [
    "<|channel|>final<|message|>Hi 🙂<|return|>",
    "<|channel|>analysis<|message|>Hm.<|end|><|start|>assistant<|channel|>final<|message|>4",
    "<|channel|>commentary to=functions.f <|constrain|>json<|message|>{}<|call|>",
    " to=functions.f<|channel|>commentary <|constrain|>json<|message|>{}<|call|>",
    "<|channel|>commentary to=functions.f<|constrain|>json<|message|>{}<|call|>",
    "<|channel|>analysis to=browser.search code<|message|>{}<|call|>",
    "<|channel|>analysis to=python code<|message|>print('é')\n<|call|>",
    "<|channel|>commentary<|message|>I will look.<|end|><|start|>assistant to=functions.f"
    "<|channel|>commentary json<|message|>{}<|call|>",
]


@pytest.mark.parametrize("text", COMPLETIONS)
def test_valid_completions_give_the_messages_of_openai_harmony(
    harmony_oracle: oracle_api.HarmonyEncoding, text: str
) -> None:
    tokens = ids(WORDS, text)
    result = parse_tokens(tokens, WORDS)
    expected = harmony_oracle.parse_messages_from_completion_tokens(
        tokens, oracle_api.Role.ASSISTANT
    )
    assert [message.to_json() for message in result.messages] == [plain(m) for m in expected]
    assert result.is_well_formed
    assert all(message.tokens for message in result.messages)


def test_what_is_rendered_is_read_back() -> None:
    for dialogue in [*DIALOGUES, *DIALOGUES_THE_ORACLE_CANNOT_PARSE[:2]]:
        messages = parse_tokens(rendered(Conversation(dialogue)), WORDS, None).messages
        assert [(m.author, m.channel, m.recipient, m.content_type, m.text) for m in messages] == [
            (m.author, m.channel, m.recipient, m.content_type, m.text) for m in dialogue
        ]


# Where we differ on purpose on tokens that are well-formed: the table in docs/harmony.md


def only(text: str, role: Role | None = Role.ASSISTANT) -> Message:
    result = parse_tokens(ids(WORDS, text), WORDS, role)
    assert result.is_well_formed
    (message,) = result.messages
    return message


def oracle_only(
    encoding: oracle_api.HarmonyEncoding, text: str, role: oracle_api.Role | None
) -> oracle_api.Message:
    (message,) = encoding.parse_messages_from_completion_tokens(ids(WORDS, text), role)
    return message


def test_a_lone_content_type_is_no_recipient(harmony_oracle: oracle_api.HarmonyEncoding) -> None:
    for content_type in ("<|constrain|>json", "json"):
        text = f"<|channel|>final {content_type}<|message|>{{}}<|return|>"
        assert only(text) == Message.assistant("{}", content_type=content_type)
        other = oracle_only(harmony_oracle, text, oracle_api.Role.ASSISTANT)
        assert (other.recipient, other.content_type) == (content_type, None)


def test_a_named_author_is_read(harmony_oracle: oracle_api.HarmonyEncoding) -> None:
    text = "<|start|>user:bob<|message|>Hi<|end|>"
    assert only(text, None) == Message.user("Hi", "bob")
    with pytest.raises(oracle_api.HarmonyError, match="Unknown role"):
        oracle_only(harmony_oracle, text, None)
    named = only(":ada<|channel|>final<|message|>Hi<|end|>")
    assert named.author.name == "ada"


def test_spelled_out_special_tokens_are_text(harmony_oracle: oracle_api.HarmonyEncoding) -> None:
    tokens = [WORDS.channel, *WORDS.encode("final<|channel|>x"), WORDS.message, *WORDS.encode("Hi")]
    (message,) = parse_tokens(tokens, WORDS).messages
    assert message.recipient is None
    (other,) = harmony_oracle.parse_messages_from_completion_tokens(
        tokens, oracle_api.Role.ASSISTANT
    )
    assert other.recipient == "<|channel|>x"


def test_a_tool_on_offer_may_have_any_name() -> None:
    for name in ("functions.a$b", "functions.f-", "functions.f(x)", "functions.f{"):
        for header in (f" to={name}<|channel|>commentary", f"<|channel|>commentary to={name}"):
            tokens = ids(WORDS, f"{header} <|constrain|>json<|message|>{{}}<|call|>")
            result = parse_tokens(tokens, WORDS, tools={name, "functions.f"})
            assert result.repairs == ()
            assert [message.recipient for message in result.messages] == [name]
        answered = Conversation((Message.tool(name, "1"),))
        assert parse_tokens(rendered(answered), WORDS, None, tools={name}).repairs == ()


# Total, lossless, linear


FRAGMENTS = WORDS.encode(
    " to= functions.f python json code final analysis commentary assistant user: tool \n\n a:b é🙂"
) + [WORDS.encode(word)[0] for word in ("assistant", "final", "analysis", "to", "Hello", "\n")]
ODD = [200_000, 201_087, 201_088, 2**40, -1, -(2**70), *range(128, 140)]


def random_tokens(chance: random.Random) -> list[int]:
    length = min(1 + int(chance.expovariate(1 / 7)), 60)
    kinds = chance.choices([SPECIAL, FRAGMENTS, ODD], [5, 4, 1], k=length)
    return [chance.choice(kind) for kind in kinds]


def held(messages: Sequence[Message], repairs: Sequence[Repair]) -> str:
    """All the model's own words that a parser handed out."""
    parts = [repair.detail for repair in repairs]
    for message in messages:
        words = (message.author.name, message.channel, message.recipient, message.content_type)
        parts += [message.text, *(word or "" for word in words)]
    return "\n".join(parts)


def test_no_word_is_lost_or_told_twice() -> None:
    chance = random.Random(7)
    hanzi = [token for token in range(100_000) if _is_hanzi(token)]
    for _ in range(2000):
        tokens = random_tokens(chance)
        for place in chance.sample(range(len(tokens)), chance.randint(0, len(tokens) // 2)):
            tokens[place] = chance.choice(hanzi)
        once = [token for token in set(tokens).intersection(hanzi) if tokens.count(token) == 1]
        parser = check(tokens, WORDS, chance.choice([None, Role.ASSISTANT]))
        told = held(parser.messages, parser.repairs)
        assert [told.count(WORDS.decode([token])) for token in once] == [1] * len(once)


def _is_hanzi(token: int) -> bool:
    text = WORDS.decode([token])
    return len(text) == 1 and "\u4e00" <= text <= "\u9fff"


VALID = [rendered(Conversation(dialogue)) for dialogue in DIALOGUES]


def test_every_truncation_of_valid_tokens_keeps_what_came_before() -> None:
    for tokens in VALID:
        whole = parse_tokens(tokens, WORDS, None).messages
        for length in range(len(tokens)):
            cut = parse_tokens(tokens[:length], WORDS, None)
            *before, last = cut.messages or [None]
            assert list(whole[: len(before)]) == before
            assert last is None or whole[len(before)].text.startswith(last.text.rstrip("\ufffd"))
            kinds = [repair.kind for repair in cut.repairs]
            assert kinds in ([], [RepairKind.CUT_IN_HEADER], [RepairKind.INVALID_UTF8])


class Work:
    """What passes through the functions of the harmony room: calls, and the sizes of arguments.

    The size of an argument is that of the strings and lists in it, or of its own text, so that a
    function which is handed everything read so far, token after token, is found out.
    """

    def __init__(self) -> None:
        self.amount = 0

    def __call__(self, frame: FrameType, event: str, _argument: object) -> None:
        """Count one call, as `sys.setprofile` tells it."""
        if event == "call" and "/motet/harmony/" in frame.f_code.co_filename:
            code, values = frame.f_code, frame.f_locals
            names = code.co_varnames[: code.co_argcount]
            self.amount += 1 + sum(_size(values[name]) for name in names if name in values)


def _size(value: object) -> int:
    if isinstance(value, Segment):
        return len(value.data)
    if isinstance(value, list | tuple):
        return len(value) + sum(_size(part) for part in value if isinstance(part, Segment | str))
    return len(value) if isinstance(value, str | bytes | bytearray) else 0


def work(tokens: list[int]) -> int:
    """How much is done to read `tokens`, whatever the machine."""
    parser, counted = HarmonyParser(WORDS), Work()
    sys.setprofile(counted)
    try:
        for token in tokens:
            parser.feed(token)
        parser.finish()
    finally:
        sys.setprofile(None)
    return counted.amount


WORD = WORDS.encode(" word\n")
FINAL_HEADER = ids(WORDS, "<|channel|>final<|message|>")
SHAPES = {
    "long text": (FINAL_HEADER, WORD),
    "invalid UTF-8": (FINAL_HEADER, [240, 159]),
    "message tokens": (FINAL_HEADER, [WORDS.message]),
    "text without a header": ([], WORD),
    "messages": ([], [*FINAL_HEADER, *WORD, WORDS.end, WORDS.start]),
    "starts": ([], [WORDS.start]),
    "channels": ([], [WORDS.channel]),
    "named channels": ([], [WORDS.channel, *WORDS.encode("final")]),
    "formats": ([], [WORDS.constrain, *WORDS.encode("json")]),
    "recipients": ([], WORDS.encode(" to=functions.f")),
    "line breaks": ([], [*WORDS.encode("\n") * 127, WORDS.start]),
    "unknown tokens": ([], [-1]),
    "all special tokens": ([], SPECIAL),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_work_is_linear_in_the_number_of_tokens(shape: str) -> None:
    start, unit = SHAPES[shape]
    once, twice, four_times = (
        work((start + unit * length)[:length]) for length in (512, 1024, 2048)
    )
    assert four_times - twice <= 2.2 * (twice - once)


def test_quadratic_work_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    honest = HarmonyParser._add_text

    def rereading(self: HarmonyParser, data: bytes) -> None:
        honest(self, data)
        header_text([Segment("", bytearray("".join(self._texts).encode()))])

    tokens = [FINAL_HEADER + WORD * count for count in (300, 600, 1200)]
    monkeypatch.setattr(HarmonyParser, "_add_text", rereading)
    once, twice, four_times = map(work, tokens)
    assert four_times - twice > 3 * (twice - once)


# Streaming


def test_text_is_told_as_it_comes() -> None:
    parser = HarmonyParser(WORDS)
    header = ids(WORDS, "<|channel|>final<|message|>")
    events = [event for token in header for event in parser.feed(token)]
    assert [type(event) for event in events] == [MessageStarted]
    told = [
        [event.text for event in parser.feed(token) if isinstance(event, TextDelta)]
        for token in [*WORDS.encode("Hi"), *_byte_tokens("é🙂")]
    ]
    assert told == [["Hi"], [], ["é"], [], [], [], ["🙂"]]
    (ended,) = parser.feed(WORDS.return_)
    assert isinstance(ended, MessageEnded)
    assert (ended.end, ended.message.text) == ("return", "Hié🙂")


def _byte_tokens(text: str) -> list[int]:
    by_byte = {WORDS.token_bytes(token): token for token in range(256)}
    return [by_byte[bytes([value])] for value in text.encode()]


def test_a_cut_vocabulary_is_parsed_by_its_own_ids() -> None:
    small = WORDS.first(1000)
    tokens = ids(small, COMPLETIONS[1])
    result = parse_tokens(tokens, small)
    assert result.is_well_formed
    assert result.messages == (Message.assistant("Hm.", "analysis"), Message.assistant("4"))
    assert all(message.tokens for message in result.messages)
