"""The nano model's vocabulary: single bytes, and whole words of the texts that occur all the time.

A word gets a token only if it is frequent in the training conversations, if it is none of the words
that fill the gaps of wordings (names, things, parameters), and if no two tokens of the vocabulary
merge into it. So byte-pair encoding splits every other word into its letters, the same ones after a
space, a quotation mark or an underscore: to copy, spell or reverse a word is then a matter of
looking, not of knowing by heart. Digits never share a token.

`python -m motet.training.vocabulary` writes the list of ranks anew; training uses the file.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from functools import cache, lru_cache
from importlib.resources import files
from pathlib import Path

from motet.harmony import Vocabulary, o200k_harmony
from motet.training.phrases import phrase_book, phrases

_FILE = files("motet.training") / "data" / "nano_vocabulary.json"
_CONVERSATIONS = 15_000
_SEED = 900_000_000
_LEAST_SHARE = 0.003
_FILLING_FUNCTIONS = (
    "verbs",
    "nouns",
    "text_parameters",
    "number_parameters",
    "flag_parameters",
    "result_keys",
    "states",
)
_PIECE = re.compile(r" ?[A-Z]*[a-z]+| ?[A-Z]+|[^A-Za-z0-9]+?(?= ?[A-Za-z0-9]|\Z)")


@cache
def nano_vocabulary() -> Vocabulary:
    """The vocabulary the nano model is trained with."""
    return Vocabulary.from_json(json.loads(_FILE.read_text(encoding="utf-8")))


def frequent_ranks(texts: list[str], least_share: float) -> list[int]:
    """The o200k ranks to keep besides the bytes, each in at least `least_share` of the texts."""
    full = o200k_harmony()
    shares = Counter(token for text in texts for token in _whole_tokens(text))
    frequent = sorted(token for token, count in shares.items() if count >= least_share * len(texts))
    reachable = {full.token_bytes(rank) for rank in range(256)}
    fillings, kept = filling_words(), []
    for rank in frequent:
        token = full.token_bytes(rank) or b""
        if token.decode(errors="replace").strip().lower() in fillings:
            continue
        merges = any(
            token[:cut] in reachable and token[cut:] in reachable for cut in range(1, len(token))
        )
        if not any(chr(value).isalpha() for value in token):
            reachable.add(token)
        elif merges:
            continue
        kept.append(rank)
    return kept


def filling_words() -> set[str]:
    """The words in lists that exercises fill their wordings with, in lower case."""
    from motet.training.tasks.lookup import KEYS

    lists = [*phrase_book("lexicon").values(), *phrase_book("functions")["enums"].values()]
    lists += [phrases("functions", kind) for kind in _FILLING_FUNCTIONS]
    lists.append(tuple(KEYS))
    return {part.lower() for words in lists for word in words for part in word.split()}


def _whole_tokens(text: str) -> set[int]:
    """Words of `text` that are one token, and all tokens of what stands between words."""
    tokens: set[int] = set()
    for piece in set(_PIECE.findall(text)):
        ids = _encode(piece)
        if len(ids) == 1 or not piece.strip(" ").isalpha():
            tokens.update(token for token in ids if token >= 256)
    return tokens


@lru_cache(maxsize=100_000)
def _encode(piece: str) -> tuple[int, ...]:
    return tuple(o200k_harmony().encode(piece))


def main() -> None:
    """Write the vocabulary file from a fixed sample of training conversations."""
    from motet.training.conversations import sample_texts

    ranks = frequent_ranks(sample_texts(_CONVERSATIONS, _SEED), _LEAST_SHARE)
    vocabulary = o200k_harmony().subset(ranks)
    Path(str(_FILE)).write_text(json.dumps(vocabulary.to_json()) + "\n", encoding="utf-8")
    print(f"{len(ranks)} tokens besides the bytes, {vocabulary.size} in all")


if __name__ == "__main__":
    main()
