"""The tokenizer's keys in GGUF: o200k_harmony or a cut of it, there and back.

Tokens are written as GPT-2 did, each byte as one printable character. Merges are all pairs of
tokens whose bytes together are a token, in the order of the ranks, so that merging by pairs gives
what merging by ranks gives.
"""

from collections.abc import Iterator, Mapping
from itertools import chain
from typing import Any

from motet.checkpoint.errors import CheckpointError
from motet.checkpoint.gguf.config import TOKENS
from motet.checkpoint.keys import shown
from motet.harmony.errors import HarmonyError
from motet.harmony.ranks import o200k_tokens
from motet.harmony.vocabulary import Vocabulary, o200k_harmony

_NORMAL, _CONTROL = 1, 3


def tokenizer_metadata(vocabulary: Vocabulary | None) -> dict[str, Any]:
    """The keys llama.cpp makes a tokenizer of; without a vocabulary, that there is none."""
    if vocabulary is None:
        return {"tokenizer.ggml.model": "none"}
    special = range(len(vocabulary.ranks), vocabulary.size)
    return {
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": "gpt-4o",
        TOKENS: _token_texts(vocabulary),
        "tokenizer.ggml.token_type": [_NORMAL] * len(vocabulary.ranks) + [_CONTROL] * len(special),
        "tokenizer.ggml.merges": list(_merges(vocabulary)),
        "tokenizer.ggml.bos_token_id": vocabulary.startoftext,
        "tokenizer.ggml.eos_token_id": vocabulary.return_,
        "tokenizer.ggml.padding_token_id": vocabulary.endoftext,
        "tokenizer.ggml.add_bos_token": False,
    }


def cut_vocabulary(metadata: Mapping[str, Any], size: int) -> Vocabulary | None:
    """The cut vocabulary of a file; None for the full one and for a file that has no tokens.

    Of a full vocabulary only the named special tokens are compared. Raises CheckpointError for
    tokens that are not of o200k_harmony.
    """
    tokens = metadata.get(TOKENS)
    if not isinstance(tokens, list):
        return None
    full = o200k_harmony()
    if size == full.size:
        for name, token in full.special.items():
            if tokens[token] != f"<|{name}|>":
                raise CheckpointError(
                    f"{TOKENS}: token {token} is {shown(tokens[token])}, it has to be <|{name}|>"
                )
        return None
    ranks = {token: rank for rank, token in enumerate(o200k_tokens())}
    # The special tokens, which stand at the end, are not among the ranks.
    kept = [rank for text in tokens if (rank := ranks.get(_bytes(text))) is not None]
    try:
        vocabulary = Vocabulary(kept)
    except HarmonyError as error:
        raise CheckpointError(f"{TOKENS}: {error}") from error
    if _token_texts(vocabulary) != tokens:
        raise CheckpointError(f"{TOKENS}: they are not a part of o200k_harmony, gpt-oss's tokens")
    return vocabulary


def _token_texts(vocabulary: Vocabulary) -> list[str]:
    ordinary = len(vocabulary.ranks)
    special = (vocabulary.decode((token,)) for token in range(ordinary, vocabulary.size))
    return [*map(_text, _ordinary_tokens(vocabulary)), *special]


def _ordinary_tokens(vocabulary: Vocabulary) -> list[bytes]:
    base = o200k_tokens()
    return [base[rank] for rank in vocabulary.ranks]


def _merges(vocabulary: Vocabulary) -> Iterator[str]:
    tokens = _ordinary_tokens(vocabulary)
    texts = [_text(token) for token in tokens]
    ids = {token: number for number, token in enumerate(tokens)}
    for token in tokens:
        pairs = []
        for cut in range(1, len(token)):
            first, second = ids.get(token[:cut]), ids.get(token[cut:])
            if first is not None and second is not None:
                pairs.append((first, second))
        for first, second in sorted(pairs):
            yield f"{texts[first]} {texts[second]}"


def _printable_bytes() -> dict[int, str]:
    """GPT-2's alphabet: bytes that print stand for themselves, the others from U+0100 on."""
    printing = set(chain(range(33, 127), range(161, 173), range(174, 256)))
    others = [byte for byte in range(256) if byte not in printing]
    moved = {byte: chr(256 + number) for number, byte in enumerate(others)}
    return {byte: moved.get(byte, chr(byte)) for byte in range(256)}


_CHARACTERS = _printable_bytes()
_BYTES = {character: byte for byte, character in _CHARACTERS.items()}
_TRANSLATION = str.maketrans({chr(byte): text for byte, text in _CHARACTERS.items()})


def _text(token: bytes) -> str:
    return token.decode("latin-1").translate(_TRANSLATION)


def _bytes(text: str) -> bytes:
    """The token's bytes; none for a text that is not made of the alphabet."""
    try:
        return bytes(_BYTES[character] for character in text)
    except KeyError:
        return b""
