"""Streaming decode: whole characters, as early as possible, and nothing lost."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from text_strategies import texts

from motet.harmony import StreamingDecoder, Vocabulary, o200k_harmony

VOCABULARY = o200k_harmony()
BYTES = VOCABULARY.first(0)
SINGLE = {BYTES.decode_bytes([token]): token for token in range(256)}
BROKEN = st.lists(
    st.sampled_from(["a", "é", "漢", "😀", "\U0010ffff"]).flatmap(
        lambda character: st.sampled_from(
            [character.encode()[:end] for end in range(1, 5)] + [b"\x80", b"\xed\xa0\x80", b"\xff"]
        )
    )
).map(b"".join)

often = settings(
    max_examples=400, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck)
)


def stream(vocabulary: Vocabulary, ids: list[int]) -> list[str]:
    decoder = StreamingDecoder(vocabulary)
    return [*(decoder.feed(token) for token in ids), decoder.finish()]


@pytest.mark.parametrize("vocabulary", [VOCABULARY, BYTES], ids=["words", "single bytes"])
@often
@given(text=texts().map(lambda text: text.replace("\ufffd", "")))
def test_valid_text_comes_whole_and_at_once(vocabulary: Vocabulary, text: str) -> None:
    ids = vocabulary.encode(text)
    chunks = stream(vocabulary, ids)
    assert "".join(chunks) == text
    assert not any("\ufffd" in chunk for chunk in chunks)
    assert chunks[-1] == ""
    for count in range(len(ids)):
        complete = vocabulary.decode_bytes(ids[:count]).decode("utf-8", errors="ignore")
        assert "".join(chunks[:count]) == complete


@often
@given(data=st.one_of(st.binary(max_size=20), BROKEN))
def test_invalid_bytes_read_as_when_decoded_at_once(data: bytes) -> None:
    ids = [SINGLE[bytes([value])] for value in data]
    assert "".join(stream(BYTES, ids)) == data.decode("utf-8", errors="replace")


@often
@given(
    ids=st.lists(
        st.one_of(
            st.integers(0, 255),
            st.integers(-5, 201_100),
            st.sampled_from([*VOCABULARY.special.values(), 2**40]),
        )
    )
)
def test_any_ids_read_as_when_decoded_at_once(ids: list[int]) -> None:
    assert "".join(stream(VOCABULARY, ids)) == VOCABULARY.decode(ids)


def test_an_incomplete_end_is_one_replacement() -> None:
    decoder = StreamingDecoder(BYTES)
    assert [decoder.feed(SINGLE[bytes([value])]) for value in "😀".encode()[:3]] == ["", "", ""]
    assert decoder.finish() == "\ufffd"
    assert decoder.finish() == ""


def test_every_token_alone() -> None:
    for token in range(VOCABULARY.size):
        decoder = StreamingDecoder(VOCABULARY)
        assert decoder.feed(token) + decoder.finish() == VOCABULARY.decode([token])
