"""The o200k byte-pair ranks, embedded in the package.

`data/o200k.xz` holds one length byte per token, then the bytes of all tokens in rank order;
scripts/pack_ranks.py writes it from OpenAI's published file. Nothing is ever downloaded.
"""

import lzma
from functools import cache
from importlib.resources import files
from itertools import accumulate, pairwise

RANK_COUNT = 199_998
"""Ordinary tokens of o200k; their ids are their ranks, 0 to 199,997."""


@cache
def o200k_tokens() -> tuple[bytes, ...]:
    """The bytes of every ordinary o200k token, in rank order (about 0.1 s on the first call)."""
    packed = (files("motet.harmony") / "data" / "o200k.xz").read_bytes()
    content = lzma.decompress(packed)
    offsets = accumulate(content[:RANK_COUNT], initial=RANK_COUNT)
    return tuple(content[start:end] for start, end in pairwise(offsets))
