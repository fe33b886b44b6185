"""Encoding is the same as in tiktoken and openai-harmony, on every text, and ends on every text."""

import sysconfig
from pathlib import Path

import pytest
import tiktoken
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from openai_harmony import HarmonyEncoding
from text_strategies import many_texts, texts

from motet.harmony import o200k_harmony
from motet.harmony.byte_pairs import BLANKS, BytePairEncoder
from motet.harmony.ranks import o200k_tokens

VOCABULARY = o200k_harmony()
CODE_POINTS = [chr(value) for value in range(0x110000) if not 0xD800 <= value <= 0xDFFF]
PLAIN = BytePairEncoder(o200k_tokens()[:2000])
SHORT_BLANKS = [BytePairEncoder(o200k_tokens()[:2000], long_blank=n) for n in (2, 3, 5)]

blank_texts = st.text(alphabet=" \t\n\r\u3000a!1\u0301", max_size=40)
generously = settings(
    deadline=None,
    database=None,
    derandomize=True,
    phases=(Phase.generate, Phase.shrink),
    suppress_health_check=list(HealthCheck),
)


def assert_same(
    text: str, tiktoken_oracle: tiktoken.Encoding, harmony_oracle: HarmonyEncoding
) -> None:
    ids = VOCABULARY.encode(text)
    assert ids == tiktoken_oracle.encode_ordinary(text)
    assert ids == harmony_oracle.encode(text, disallowed_special=())
    assert VOCABULARY.decode(ids) == text


@settings(generously, max_examples=500)
@given(batch=many_texts(100))
def test_fifty_thousand_generated_texts(
    batch: list[str], tiktoken_oracle: tiktoken.Encoding, harmony_oracle: HarmonyEncoding
) -> None:
    for text in batch:
        ids = VOCABULARY.encode(text)
        assert ids == tiktoken_oracle.encode_ordinary(text)
        assert VOCABULARY.decode(ids) == text
    assert_same("".join(batch), tiktoken_oracle, harmony_oracle)


def test_text_in_many_languages(
    tiktoken_oracle: tiktoken.Encoding, harmony_oracle: HarmonyEncoding
) -> None:
    path = Path(__file__).parent / "data" / "multilingual.txt"
    text = path.read_text(encoding="utf-8")
    assert_same(text, tiktoken_oracle, harmony_oracle)
    for line in text.splitlines(keepends=True):
        for changed in (line, line.upper(), line.lower(), line.replace(" ", ""), line[::-1]):
            assert_same(changed, tiktoken_oracle, harmony_oracle)


def test_program_text(tiktoken_oracle: tiktoken.Encoding, harmony_oracle: HarmonyEncoding) -> None:
    sources = sorted(Path(sysconfig.get_path("stdlib")).glob("*.py"))[:60]
    assert len(sources) == 60
    for source in sources:
        text = source.read_text(encoding="utf-8", errors="replace")
        assert_same(text, tiktoken_oracle, harmony_oracle)


def test_every_code_point(
    tiktoken_oracle: tiktoken.Encoding, harmony_oracle: HarmonyEncoding
) -> None:
    text = "B".join(CODE_POINTS)
    ids = VOCABULARY.encode(text)
    assert ids == tiktoken_oracle.encode_ordinary(text)
    assert VOCABULARY.decode(ids) == text
    planes_with_letters = "B".join(CODE_POINTS[:0x20000])
    expected = harmony_oracle.encode(planes_with_letters, disallowed_special=())
    assert VOCABULARY.encode(planes_with_letters) == expected


def test_blanks_are_what_tiktoken_calls_whitespace() -> None:
    single_bytes = {bytes([value]): value for value in range(256)}
    whitespace = tiktoken.Encoding(
        "whitespace", pat_str=r"[\s--[\r\n]]", mergeable_ranks=single_bytes, special_tokens={}
    )
    found = bytes(whitespace.encode_ordinary("".join(CODE_POINTS))).decode()
    assert found == "".join(sorted(BLANKS))


@settings(generously, max_examples=1000)
@given(text=st.one_of(texts(), blank_texts))
def test_cutting_out_blanks_changes_nothing(text: str) -> None:
    expected = PLAIN.encode(text)
    for encoder in SHORT_BLANKS:
        assert encoder.encode(text) == expected


MILLION = 1_000_000


@pytest.mark.parametrize(
    "text",
    [
        " " * MILLION,
        "x\n" + "\t" * MILLION + "x",
        "!\n" + " " * MILLION + "\n" + "\u3000" * MILLION + "1",
        "a" * MILLION,
        "漢" * 200_000,
        "\u0301" * 200_000,
        "'" * MILLION + "\n",
        "A" * MILLION + "a",
        "1" * MILLION,
        "<|end|>" * 100_000,
    ],
    ids=lambda text: f"{text[:2]!r} and {len(text)} characters in all",
)
def test_long_texts_without_words(text: str) -> None:
    ids = VOCABULARY.encode(text)
    assert VOCABULARY.decode(ids) == text
    assert len(ids) <= len(text.encode())


def test_long_blanks_are_single_pieces(tiktoken_oracle: tiktoken.Encoding) -> None:
    piece = tiktoken_oracle._encode_single_piece(" " * 999_999)
    assert VOCABULARY.encode("a" + " " * MILLION + "b") == [64, *piece, *VOCABULARY.encode(" b")]
    assert VOCABULARY.encode("." + " " * MILLION + "7") == [13, *piece, 220, 22]
