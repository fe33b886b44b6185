"""Random and mutated token sequences for the parser, and the invariant that holds for all of them.

The account: what was written (each token spelled out, the header that the prompt began included)
and what repairs put in is, byte for byte, what the messages hold (spelled as harmony) and what
repairs left out. White space separates the words of a header and is not counted there; a text,
white space and all, is that of its tokens in their order. No sentence is left out: besides names of
the format and words that a mark introduces, a repair leaves out one word at most. And every message
can be rendered and is then read back as it is, and what needed no repair is repeated id by id.

Shared by the test suite and benchmarks/fuzz_parser.py.
"""

from __future__ import annotations

import dataclasses
import random
import re
from collections.abc import Sequence

from motet.harmony import (
    AnalysisRetention,
    Conversation,
    HarmonyEvent,
    HarmonyParser,
    Message,
    MessageEnd,
    MessageEnded,
    MessageStarted,
    Repair,
    Repaired,
    RepairKind,
    Role,
    TextDelta,
    Vocabulary,
    o200k_harmony,
    parse_tokens,
    render_conversation,
)

VALID = (
    "<|channel|>final<|message|>The answer is 42. 🙂<|return|>",
    "<|channel|>analysis<|message|>We should think.<|end|>"
    "<|start|>assistant<|channel|>final<|message|>Straße,\n\n日本語<|return|>",
    "<|channel|>analysis<|message|>Hm<|end|><|start|>assistant<|channel|>commentary"
    ' to=functions.get_weather <|constrain|>json<|message|>{"city": "Paris", "days": [1, 2]}'
    "<|call|>",
    " to=functions.f<|channel|>commentary <|constrain|>json<|message|>{}<|call|>",
    "<|channel|>analysis to=python code<|message|>print('é')\n<|call|>",
    "<|channel|>commentary to=browser.search code<|message|>{\"query\": 'x'}<|call|>",
    "<|channel|>commentary<|message|>I will look.<|end|><|start|>assistant<|channel|>commentary"
    " to=functions.f json<|message|>{}<|call|>",
    "<|start|>system<|message|>Be brief.<|end|><|start|>user:bob<|message|>Hi<|end|>"
    "<|start|>assistant<|channel|>final<|message|>Hi<|end|>",
    "<|start|>functions.f to=assistant<|channel|>commentary<|message|>[1]<|end|>",
)
ODDITIES = (
    *(" to=", "to=functions.f", " functions.f", "python", " browser.open", " to=assistant"),
    *(" to=all", ":ada", "user", "assistant", "tool", "assistantfinal", "final", " analysis"),
    *("Commentary", "<|channel|>reflection", "<|channel|> final", "<|constrain|>jsonjson"),
    *(" code", " json", "text", '{"a": 1}', "[", " The answer is", "?", "!", "&", "to=5", "x"),
    *("\n", "\r\n", "  ", "\u00a0", "\u3000", "\u2028", "K", "İ", "ß", "é", "🙂"),
    *("<|end|>", "<|startoftext|>", "<|endoftext|>"),
)
SPELLED = ("<|channel|>commentary", "<|message|>", "<|start|>assistant", "<|constrain|>json")
"""Control tokens in plain letters."""

TOOLS = frozenset(("functions.f", "functions.get_weather", "browser.search", "browser.open"))
ROLES = (None, *[Role.ASSISTANT] * 4, Role.USER, Role.TOOL, Role.SYSTEM)
INTRODUCED = re.compile(r"(<\|\w+\|>\s*(to=\s*)?|to=\s*)[\w.:/+-]*((?<=to)=\s*[\w.:/+-]*)?")
"""A mark and the name that it introduces; a recipient may be glued to a role."""

NAMED = re.compile(
    r"(?i:json|code|text|markdown|xml|yaml)|system|developer|user|assistant|tool|analysis|final"
    r"|commentary|python|(functions|browser)\.[\w.:/-]+|[!-/:-@\[-`{-~]+"
)
"""A word that the format knows, or punctuation."""

WHITE_SPACE = b" \t\n\r\f\v"


class Sequences:
    """An endless source of sequences over a small vocabulary of the tokens the format uses."""

    def __init__(self, seed: int) -> None:
        self._chance = random.Random(seed)
        whole = o200k_harmony()
        written = [part for text in (*VALID, *ODDITIES) for part in _parts(text)] + [*SPELLED]
        self.vocabulary = whole.subset(rank for text in written for rank in whole.encode(text))
        special = self.vocabulary.special
        self._valid = [self._tokens(text) for text in VALID]
        self._odd = [self._tokens(text) for text in ODDITIES]
        self._odd += [self.vocabulary.encode(text) for text in SPELLED]
        self._special = [[token] for token in special.values()]
        self._structure = [[special[name]] for name in ("start", "channel", "message", "end")]
        size = self.vocabulary.size
        ordinary = len(self.vocabulary.ranks)
        self._any = [[token] for token in range(ordinary)]
        self._bytes = [[token] for token in range(128, 256)]
        self._unknown = [[size], [size + 1], [2**40], [-1], [-(2**70)]]

    def one(self) -> tuple[list[int], Role | None, frozenset[str] | None]:
        """Tokens, the role that the prompt named, and the tools on offer."""
        chance = self._chance
        tokens = self._random() if chance.random() < 0.4 else self._mutated()
        return tokens, chance.choice(ROLES), TOOLS if chance.random() < 0.3 else None

    def _tokens(self, text: str) -> list[int]:
        special, encode = self.vocabulary.special, self.vocabulary.encode
        return [
            token
            for part in _parts(text)
            for token in ([special[part[2:-2]]] if part[2:-2] in special else encode(part))
        ]

    def _piece(self) -> list[int]:
        kinds = (self._special, self._structure, self._odd, self._any, self._bytes, self._unknown)
        (kind,) = self._chance.choices(kinds, (20, 25, 40, 8, 3, 2))
        return self._chance.choice(kind)

    def _random(self) -> list[int]:
        chance = self._chance
        if chance.random() < 0.02:
            return self._piece() * chance.randint(1, 200) + self._piece() + self._piece()
        count = min(1 + int(chance.expovariate(1 / 7)), 50)
        return [token for _ in range(count) for token in self._piece()]

    def _mutated(self) -> list[int]:
        chance = self._chance
        tokens = list(chance.choice(self._valid))
        for _ in range(1 + int(chance.expovariate(0.7))):
            place, length = chance.randint(0, len(tokens)), 1 + int(chance.expovariate(0.7))
            match chance.randrange(6):
                case 0:
                    tokens[place:place] = self._piece()
                case 1:
                    del tokens[place : place + length]
                case 2:
                    tokens[place : place + 1] = self._piece()
                case 3:
                    tokens[place:place] = tokens[place : place + length]
                case 4:
                    taken = tokens[place : place + length]
                    del tokens[place : place + length]
                    elsewhere = chance.randint(0, len(tokens))
                    tokens[elsewhere:elsewhere] = taken
                case 5:
                    tokens = tokens[:place] + chance.choice(self._valid)
        return tokens[: place + 1] if chance.random() < 0.1 else tokens


def _parts(text: str) -> list[str]:
    return [part for part in re.split(r"(<\|\w+\|>)", text) if part]


def check(
    tokens: Sequence[int],
    vocabulary: Vocabulary,
    role: Role | None = Role.ASSISTANT,
    tools: frozenset[str] | None = None,
) -> HarmonyParser:
    """Parse, and raise AssertionError if anything is lost, told twice or cannot be read back."""
    parser = HarmonyParser(vocabulary, role, tools=tools)
    fed = [(token, parser.feed(token)) for token in tokens]
    fed.append((-1, parser.finish()))
    events = [event for _, found in fed for event in found]
    assert parser.finish() == []
    check_events(parser, events)
    check_account(tokens, vocabulary, role, events)
    check_texts(fed, vocabulary)
    check_left_out(parser.repairs)
    check_reading_back(parser.messages, vocabulary, tools)
    if role is Role.ASSISTANT and not parser.repairs:
        check_history(tokens, parser.messages, vocabulary)
    return parser


def check_events(parser: HarmonyParser, events: list[HarmonyEvent]) -> None:
    """The events tell what the lists hold."""
    assert [e.repair for e in events if isinstance(e, Repaired)] == parser.repairs
    ended = [e for e in events if isinstance(e, MessageEnded)]
    started = [e for e in events if isinstance(e, MessageStarted)]
    assert [e.message for e in ended] == parser.messages
    assert [e.index for e in ended] == [e.index for e in started] == list(range(len(ended)))
    deltas = [""] * len(ended)
    for event in events:
        if isinstance(event, TextDelta):
            assert event.text
            deltas[event.index] += event.text
    for start, end, text in zip(started, ended, deltas, strict=True):
        message = end.message
        told = (start.author, start.channel, start.recipient, start.content_type, text)
        assert told == (*_header_fields(message), message.text)


def _header_fields(message: Message) -> tuple[object, ...]:
    return (message.author, message.channel, message.recipient, message.content_type)


def check_account(
    tokens: Sequence[int], vocabulary: Vocabulary, role: Role | None, events: list[HarmonyEvent]
) -> None:
    """Every byte that was written or put in is in a message or was left out, exactly once."""
    repairs = [event.repair for event in events if isinstance(event, Repaired)]
    ended = [event for event in events if isinstance(event, MessageEnded)]
    written = [f"<|start|>{role}".encode() if role else b""]
    written += [_spelled_token(token, vocabulary) for token in tokens]
    written += [repair.added.encode() for repair in repairs]
    told = [spelled(event.message, event.end).encode() for event in ended]
    told += [_left_out(repair) for repair in repairs]
    assert _counted(written) == _counted(told)


def _spelled_token(token: int, vocabulary: Vocabulary) -> bytes:
    known = 0 <= token < vocabulary.size
    return vocabulary.decode_bytes((token,)) if known else str(token).encode()


def _left_out(repair: Repair) -> bytes:
    is_hexadecimal = repair.kind is RepairKind.INVALID_UTF8
    return bytes.fromhex(repair.detail) if is_hexadecimal else repair.detail.encode()


def _counted(parts: list[bytes]) -> list[int]:
    return sorted(b"".join(parts).translate(None, WHITE_SPACE))


def spelled(message: Message, end: MessageEnd) -> str:
    """The message in letters, as the format is documented."""
    header = message.author.header_word
    header += f" to={message.recipient}" if message.recipient else ""
    header += f"<|channel|>{message.channel}" if message.channel else ""
    header += f" {message.content_type}" if message.content_type else ""
    terminator = "" if end == "cut" else f"<|{end}|>"
    return f"<|start|>{header}<|message|>{message.text}{terminator}"


def check_texts(fed: list[tuple[int, list[HarmonyEvent]]], vocabulary: Vocabulary) -> None:
    """A message's text ends with the text of all tokens between its start and its end."""
    body: bytes | None = None
    for token, events in fed:
        began = False
        for event in events:
            if isinstance(event, MessageStarted):
                body, began = b"", True
            elif isinstance(event, MessageEnded):
                text = (body or b"").decode("utf-8", "replace")
                assert event.message.text.endswith(text.lstrip("\N{REPLACEMENT CHARACTER}"))
                body = None
        if body is not None and not began:
            body += vocabulary.token_bytes(token) or b""


def check_left_out(repairs: Sequence[Repair]) -> None:
    """What is left out are words of a header."""
    for repair in repairs:
        if repair.kind is RepairKind.STRAY_SPACE:
            assert repair.detail.isspace()
        elif repair.kind is not RepairKind.INVALID_UTF8:
            words = INTRODUCED.sub(" ", repair.detail).split()
            is_author = repair.kind in (RepairKind.FOREIGN_ROLE, RepairKind.UNKNOWN_ROLE)
            unknown = [word for word in words[is_author:] if not NAMED.fullmatch(word)]
            assert len(unknown) <= 1, repair


def check_reading_back(
    messages: Sequence[Message], vocabulary: Vocabulary, tools: frozenset[str] | None
) -> None:
    """Rendered by meaning, and by exact tokens if there are some, messages stay what they are."""
    meant = [dataclasses.replace(message, tokens=None) for message in messages]
    ways = {tuple(_rendered(written, vocabulary)) for written in (meant, messages)}
    for rendered in ways:
        result = parse_tokens(rendered, vocabulary, None, tools=tools)
        assert list(result.messages) == list(messages)
        kinds = {repair.kind for repair in result.repairs}
        assert kinds <= {RepairKind.UNKNOWN_RECIPIENT, RepairKind.UNKNOWN_FORMAT}


def _rendered(messages: Sequence[Message], vocabulary: Vocabulary) -> list[int]:
    conversation = Conversation(tuple(messages))
    return render_conversation(conversation, vocabulary, retention=AnalysisRetention.ALL)


def check_history(
    tokens: Sequence[int], messages: Sequence[Message], vocabulary: Vocabulary
) -> None:
    """A completion without repairs is repeated token by token, in the past ended by `<|end|>`."""
    rendered = _rendered(messages, vocabulary)
    past = [vocabulary.end if token == vocabulary.return_ else token for token in tokens]
    prompt = [vocabulary.start, *vocabulary.encode(Role.ASSISTANT)]
    assert rendered[: len(prompt) + len(past)] == prompt + past
    assert rendered[len(prompt) + len(past) :] in ([], [vocabulary.end], [vocabulary.call])
