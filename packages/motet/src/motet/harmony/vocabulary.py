"""The o200k_harmony vocabulary: text to token ids and back, special tokens by name.

Ordinary text never becomes a special token: special ids exist only by name, so `<|end|>` in a
user's message stays seven characters of text. A vocabulary can be cut to any subset of its ranks;
byte-pair encoding with fewer merges is still byte-pair encoding, and since the 256 single bytes
always stay, every text stays encodable. Decoding never raises, as it must print whatever a model
produces.
"""

import codecs
from collections.abc import Iterable, Mapping, Sequence
from functools import cache, cached_property
from operator import index
from types import MappingProxyType
from typing import Any

from motet.harmony.byte_pairs import BytePairEncoder
from motet.harmony.errors import HarmonyError
from motet.harmony.ranks import RANK_COUNT, o200k_tokens

VOCABULARY_FILE = "motet_vocabulary.json"
"""In a checkpoint folder: the `Vocabulary.to_json` of a model whose vocabulary is cut."""

BASE_NAME = "o200k_harmony"
O200K_HARMONY_SIZE = 201_088

O200K_HARMONY_SPECIAL = {
    "startoftext": 199_998,
    "endoftext": 199_999,
    "return": 200_002,
    "constrain": 200_003,
    "channel": 200_005,
    "start": 200_006,
    "end": 200_007,
    "message": 200_008,
    "call": 200_012,
}
"""Every other id from 199,998 to 201,087 is reserved and reads `<|reserved_N|>`. That includes
200,018, which o200k_base calls `<|endofprompt|>`: OpenAI's harmony library defines the format the
models were trained on and does not know that name."""

_REPLACEMENT = "\N{REPLACEMENT CHARACTER}".encode()


class Vocabulary:
    """An immutable set of tokens; make one with `o200k_harmony`, `subset`, `first` or `from_json`.

    Ordinary ids are 0 to n-1 in rank order; the special ids follow.
    """

    def __init__(self, ranks: Iterable[int] | None = None) -> None:
        """The whole of o200k_harmony, or only the given o200k ranks and all 256 single bytes.

        Raises HarmonyError for a number that is no o200k rank.
        """
        self._is_cut = ranks is not None
        self._ranks = range(RANK_COUNT) if ranks is None else _with_single_bytes(ranks)
        base = o200k_tokens()
        names = list(O200K_HARMONY_SPECIAL) if self._is_cut else _o200k_harmony_names()
        self._texts = [base[rank] for rank in self._ranks]
        self._texts += [f"<|{name}|>".encode() for name in names]
        self._special = MappingProxyType(
            {
                name: token
                for token, name in enumerate(names, start=len(self._ranks))
                if name in O200K_HARMONY_SPECIAL
            }
        )

    @property
    def size(self) -> int:
        """Rows of the embedding table: the highest id plus one."""
        return len(self._texts)

    @property
    def ranks(self) -> Sequence[int]:
        """The o200k rank of every ordinary id, increasing."""
        return self._ranks

    def encode(self, text: str) -> list[int]:
        """The ids of ordinary text, the same ones tiktoken gives.

        Special names in `text` are plain text. Pairs of surrogates are joined and lone ones
        replaced by U+FFFD, since no UTF-8 can carry them; everything else decodes to itself.
        """
        return self._encoder.encode(text)

    def decode_bytes(self, ids: Iterable[int]) -> bytes:
        """The bytes of `ids`: special ids as their names, ids outside as U+FFFD."""
        texts, size = self._texts, len(self._texts)
        return b"".join([texts[token] if 0 <= token < size else _REPLACEMENT for token in ids])

    def decode(self, ids: Iterable[int]) -> str:
        """The text of `ids`; bytes that are no UTF-8 become U+FFFD."""
        return self.decode_bytes(ids).decode("utf-8", errors="replace")

    def token_bytes(self, token: int) -> bytes | None:
        """The bytes of an ordinary token; None for special and unknown ids."""
        return self._texts[token] if 0 <= token < len(self._ranks) else None

    @property
    def special(self) -> Mapping[str, int]:
        """The nine special ids that have a meaning, by name without `<|` and `|>`."""
        return self._special

    def is_special(self, token: int) -> bool:
        """Whether `token` is one of the special or reserved ids."""
        return len(self._ranks) <= token < len(self._texts)

    @property
    def start(self) -> int:
        """`<|start|>`, before a message's header."""
        return self._special["start"]

    @property
    def end(self) -> int:
        """`<|end|>`, after a message."""
        return self._special["end"]

    @property
    def message(self) -> int:
        """`<|message|>`, between a message's header and its content."""
        return self._special["message"]

    @property
    def channel(self) -> int:
        """`<|channel|>`, before a channel's name in a header."""
        return self._special["channel"]

    @property
    def constrain(self) -> int:
        """`<|constrain|>`, before a content type the answer is held to."""
        return self._special["constrain"]

    @property
    def return_(self) -> int:
        """`<|return|>`, after the last message of an answer."""
        return self._special["return"]

    @property
    def call(self) -> int:
        """`<|call|>`, after a message to a tool."""
        return self._special["call"]

    @property
    def startoftext(self) -> int:
        """`<|startoftext|>`, before a document in training."""
        return self._special["startoftext"]

    @property
    def endoftext(self) -> int:
        """`<|endoftext|>`, after a document in training; also the padding."""
        return self._special["endoftext"]

    @property
    def stop_ids(self) -> frozenset[int]:
        """Where a completion ends: return, call and endoftext."""
        return frozenset((self.return_, self.call, self.endoftext))

    def subset(self, ranks: Iterable[int]) -> "Vocabulary":
        """Keep only these o200k ranks and the 256 single bytes, renumbered in rank order.

        The nine named special tokens follow directly. Raises HarmonyError for a rank that is not
        in this vocabulary.
        """
        kept = frozenset(ranks)
        if missing := kept.difference(self._ranks):
            raise HarmonyError(f"The vocabulary to cut has no o200k rank {min(missing)}.")
        return Vocabulary(kept)

    def first(self, count: int) -> "Vocabulary":
        """Keep only the first `count` ranks, as `subset` does."""
        if not 0 <= count <= len(self._ranks):
            raise HarmonyError(
                f"A vocabulary of {len(self._ranks)} ranks cannot be cut to its first {count}."
            )
        return Vocabulary(self._ranks[:count])

    def to_json(self) -> dict[str, Any]:
        """What `from_json` reads: the base's name and, if cut, the ranks kept."""
        return {"base": BASE_NAME} | ({"ranks": list(self._ranks)} if self._is_cut else {})

    @classmethod
    def from_json(cls, value: Any) -> "Vocabulary":
        """The vocabulary `to_json` described. Raises HarmonyError for anything else."""
        if not isinstance(value, dict) or value.get("base") != BASE_NAME:
            raise HarmonyError(f'A vocabulary must be an object with "base": "{BASE_NAME}".')
        if "ranks" not in value:
            return o200k_harmony()
        ranks = value["ranks"]
        if not isinstance(ranks, list) or any(type(rank) is not int for rank in ranks):
            raise HarmonyError('The "ranks" of a vocabulary must be a list of integers.')
        vocabulary = cls(ranks)
        if ranks != list(vocabulary.ranks):
            raise HarmonyError('The "ranks" of a vocabulary must increase and begin with 0 to 255.')
        return vocabulary

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Vocabulary):
            return NotImplemented
        return self.size == other.size and self._ranks == other._ranks

    def __hash__(self) -> int:
        return hash((self.size, self._ranks))

    def __repr__(self) -> str:
        return f"<Vocabulary of {len(self._ranks)} ranks, {self.size} ids>"

    def __reduce__(self) -> tuple[type["Vocabulary"], tuple[Sequence[int] | None]]:
        return Vocabulary, (self._ranks if self._is_cut else None,)

    @cached_property
    def _encoder(self) -> BytePairEncoder:
        return BytePairEncoder(self._texts[: len(self._ranks)])


@cache
def o200k_harmony() -> Vocabulary:
    """The whole vocabulary of the gpt-oss models: 199,998 ranks and 1,090 special ids."""
    return Vocabulary()


class StreamingDecoder:
    """Token ids to text as they come, a character only once all its bytes are there.

    The joined output equals `Vocabulary.decode` of all the ids.
    """

    def __init__(self, vocabulary: Vocabulary) -> None:
        self._vocabulary = vocabulary
        self._utf8 = codecs.getincrementaldecoder("utf-8")(errors="replace")

    def feed(self, token: int) -> str:
        """The characters that `token` completes, often one word, sometimes none."""
        return self._utf8.decode(self._vocabulary.decode_bytes((token,)))

    def finish(self) -> str:
        """The end of the text: U+FFFD for a character left incomplete, else nothing."""
        rest = self._utf8.decode(b"", final=True)
        self._utf8.reset()
        return rest


def _with_single_bytes(ranks: Iterable[int]) -> tuple[int, ...]:
    kept = sorted({index(rank) for rank in ranks}.union(range(256)))
    for rank in (kept[0], kept[-1]):
        if not 0 <= rank < RANK_COUNT:
            raise HarmonyError(f"{rank} is no o200k rank; they go from 0 to {RANK_COUNT - 1}.")
    return tuple(kept)


def _o200k_harmony_names() -> list[str]:
    named = {token: name for name, token in O200K_HARMONY_SPECIAL.items()}
    reserved = range(RANK_COUNT, O200K_HARMONY_SIZE)
    return [named.get(token, f"reserved_{token}") for token in reserved]
