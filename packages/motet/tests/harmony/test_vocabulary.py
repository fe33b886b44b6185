"""The vocabulary's contents: ranks, special ids, decoding, cutting, and its JSON form."""

import base64
import copy
import hashlib
import pickle
from pathlib import Path
from typing import Any

import pytest
import tiktoken
from openai_harmony import HarmonyEncoding

from motet.harmony import HarmonyError, Vocabulary, o200k_harmony
from motet.harmony.ranks import RANK_COUNT, o200k_tokens

VOCABULARY = o200k_harmony()
NAMES = [
    *("startoftext", "endoftext", "return", "constrain", "channel"),
    *("start", "end", "message", "call"),
]


def test_embedded_ranks_are_openais_file(rank_file: Path) -> None:
    lines = (b"%s %d\n" % (base64.b64encode(token), i) for i, token in enumerate(o200k_tokens()))
    content = b"".join(lines)
    sha256 = "446a9538cb6c348e3516120d7c08b09f57c36495e2acfffe59a5bf8b0cfb1a2d"
    assert hashlib.sha256(content).hexdigest() == sha256
    assert content == rank_file.read_bytes()


def test_special_ids(tiktoken_oracle: tiktoken.Encoding, harmony_oracle: HarmonyEncoding) -> None:
    assert VOCABULARY.size == tiktoken_oracle.n_vocab == 201_088
    for token in range(RANK_COUNT, VOCABULARY.size):
        text = VOCABULARY.decode([token])
        assert text == harmony_oracle.decode([token])
        assert VOCABULARY.is_special(token)
        assert VOCABULARY.token_bytes(token) is None
        assert text == tiktoken_oracle.decode([token]) or token == 200_018
    assert not VOCABULARY.is_special(RANK_COUNT - 1)
    assert not VOCABULARY.is_special(VOCABULARY.size)
    assert not VOCABULARY.is_special(-1)


def test_id_200018_is_reserved_as_in_harmony() -> None:
    assert VOCABULARY.decode([200_018]) == "<|reserved_200018|>"


def test_special_names(tiktoken_oracle: tiktoken.Encoding) -> None:
    assert list(VOCABULARY.special) == NAMES
    for name, token in VOCABULARY.special.items():
        assert tiktoken_oracle.encode_single_token(f"<|{name}|>") == token
        attribute = "return_" if name == "return" else name
        assert getattr(VOCABULARY, attribute) == token
    assert VOCABULARY.stop_ids == {200_002, 200_012, 199_999}
    with pytest.raises(TypeError):
        VOCABULARY.special["end"] = 0  # type: ignore[index]


@pytest.mark.parametrize(
    ("text", "ids"),
    [
        ("  leading", [220, 8117]),
        ("1234567", [7633, 19354, 22]),
        ("can't DON'T", [111833, 153384]),
        ("日本語のテスト", [9048, 40909, 3385, 16056, 38236]),
        ("naïve café", [1503, 9954, 737, 30469]),
        ("a\r\n b\t c", [64, 370, 287, 197, 274]),
        ("x=1;\n\n\ty", [87, 28, 16, 502, 32013]),
        ("//\n\n", [55245]),
        ("<|end|>", [27, 91, 419, 91, 29]),
        ("HTTPServer", [17893, 6444]),
        ("Straße", [103575, 13153]),
        ("\u1f88 I'\u017f", [157, 122, 230, 3413, 70067]),
        ("\u00a0\u00a0x", [5310, 5310, 87]),
        (" \u3000y", [220, 1397, 88]),
        ("e\u0301", [68, 13430]),
        ("analysis", [35644]),
        ("commentary", [12606, 815]),
        ("", []),
    ],
)
def test_known_encodings(text: str, ids: list[int]) -> None:
    assert VOCABULARY.encode(text) == ids
    assert VOCABULARY.decode(ids) == text


@pytest.mark.parametrize("vocabulary", [VOCABULARY, VOCABULARY.first(1000)])
def test_text_never_becomes_a_special_token(vocabulary: Vocabulary) -> None:
    names = [f"<|{name}|>" for name in (*NAMES, "reserved_200013", "endofprompt", "refusal")]
    text = "".join(names) + " ".join(names) + "\n".join(names)
    ids = vocabulary.encode(text)
    assert not any(vocabulary.is_special(token) for token in ids)
    assert vocabulary.decode(ids) == text


@pytest.mark.parametrize(
    ("text", "decoded"),
    [
        ("\ud800", "\ufffd"),
        ("a\udfffb", "a\ufffdb"),
        ("\ud83d\ude00!", "😀!"),
        ("\ud83d \ude00", "\ufffd \ufffd"),
    ],
)
def test_surrogates_never_lose_the_text_around(text: str, decoded: str) -> None:
    assert VOCABULARY.decode(VOCABULARY.encode(text)) == decoded


def test_decoding_tolerates_any_id() -> None:
    ids = [64, -1, 200_007, 201_088, 10**12, 200_000, 65]
    assert VOCABULARY.decode(ids) == "a\ufffd<|end|>\ufffd\ufffd<|reserved_200000|>b"
    assert VOCABULARY.decode_bytes([]) == b""
    assert VOCABULARY.token_bytes(-1) is None
    assert VOCABULARY.token_bytes(10**12) is None
    assert VOCABULARY.token_bytes(64) == b"a"


def test_first_ranks() -> None:
    vocabulary = VOCABULARY.first(1000)
    assert vocabulary.size == 1009
    assert list(vocabulary.ranks) == list(range(1000))
    assert dict(vocabulary.special) == {name: 1000 + i for i, name in enumerate(NAMES)}
    assert vocabulary.end == 1006
    assert vocabulary.decode([vocabulary.end, 999, 1009]) == (
        "<|end|>" + VOCABULARY.decode([999]) + "\ufffd"
    )


def test_a_cut_keeps_the_single_bytes() -> None:
    assert VOCABULARY.first(0) == VOCABULARY.subset([]) == VOCABULARY.first(256)
    vocabulary = VOCABULARY.subset([300, 280, 300])
    assert list(vocabulary.ranks) == [*range(256), 280, 300]
    assert vocabulary.start == 258 + NAMES.index("start")
    assert sorted(filter(None, map(vocabulary.token_bytes, range(256)))) == [
        bytes([value]) for value in range(256)
    ]


def test_a_cut_of_a_cut_counts_in_o200k_ranks() -> None:
    vocabulary = VOCABULARY.subset([500, 70_000]).subset([70_000])
    assert vocabulary == VOCABULARY.subset([70_000])
    assert vocabulary.token_bytes(256) == VOCABULARY.token_bytes(70_000)


def test_impossible_cuts_are_refused() -> None:
    with pytest.raises(HarmonyError, match="no o200k rank 199998"):
        VOCABULARY.subset([RANK_COUNT])
    with pytest.raises(HarmonyError, match="no o200k rank 600"):
        VOCABULARY.first(500).subset([400, 600])
    with pytest.raises(HarmonyError, match="first -1"):
        VOCABULARY.first(-1)
    with pytest.raises(HarmonyError, match="500 ranks cannot be cut to its first 501"):
        VOCABULARY.first(500).first(501)


def test_json_round_trip() -> None:
    assert VOCABULARY.to_json() == {"base": "o200k_harmony"}
    assert Vocabulary.from_json(VOCABULARY.to_json()) is VOCABULARY
    cut = VOCABULARY.subset([1000, 5000])
    assert cut.to_json() == {"base": "o200k_harmony", "ranks": [*range(256), 1000, 5000]}
    assert Vocabulary.from_json(cut.to_json()) == cut != VOCABULARY


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (None, '"base"'),
        ([], '"base"'),
        ({}, '"base"'),
        ({"base": "o200k_base"}, '"base"'),
        ({"base": "o200k_harmony", "ranks": "all"}, "list of integers"),
        ({"base": "o200k_harmony", "ranks": [*range(256), 256.0]}, "list of integers"),
        ({"base": "o200k_harmony", "ranks": [0, True]}, "list of integers"),
        ({"base": "o200k_harmony", "ranks": [*range(256), 199_998]}, "199998 is no o200k rank"),
        ({"base": "o200k_harmony", "ranks": [-1, *range(256)]}, "-1 is no o200k rank"),
        ({"base": "o200k_harmony", "ranks": [*range(256), 400, 300]}, "must increase"),
        ({"base": "o200k_harmony", "ranks": [*range(256), 300, 300]}, "must increase"),
        ({"base": "o200k_harmony", "ranks": [300]}, "begin with 0 to 255"),
    ],
)
def test_wrong_json_is_refused(value: Any, message: str) -> None:
    with pytest.raises(HarmonyError, match=message):
        Vocabulary.from_json(value)


@pytest.mark.parametrize("vocabulary", [VOCABULARY, VOCABULARY.subset([1000])])
def test_vocabularies_are_values(vocabulary: Vocabulary) -> None:
    vocabulary.encode("built before it is copied")
    copied = pickle.loads(pickle.dumps(vocabulary))
    assert copied == copy.deepcopy(vocabulary) == vocabulary
    assert hash(copied) == hash(vocabulary)
    assert copied.encode("text <|end|>") == vocabulary.encode("text <|end|>")
    assert vocabulary != "o200k_harmony"


def test_all_ranks_cut_differ_from_the_whole() -> None:
    assert VOCABULARY.first(RANK_COUNT).end == RANK_COUNT + NAMES.index("end")
    assert VOCABULARY.first(RANK_COUNT) != VOCABULARY
