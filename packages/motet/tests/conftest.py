"""Independent oracles for the tests, prepared without a network.

tiktoken and openai-harmony both want OpenAI's rank file from the internet. The bpe-openai wheel
carries the same file, so it is unpacked into a temporary folder under the two names the two
libraries look for, and the environment points them there.
"""

from __future__ import annotations

import gzip
import hashlib
import importlib.metadata
import os
from pathlib import Path

import pytest
import tiktoken
from openai_harmony import HarmonyEncoding, HarmonyEncodingName, load_harmony_encoding

RANKS_URL = "https://openaipublic.blob.core.windows.net/encodings/o200k_base.tiktoken"


@pytest.fixture(scope="session")
def rank_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """OpenAI's o200k_base.tiktoken: one `base64(token bytes) rank` per line."""
    wheel = importlib.metadata.distribution("bpe-openai")
    packed = Path(str(wheel.locate_file("bpe_openai/data/o200k_base.tiktoken.gz")))
    path = tmp_path_factory.mktemp("o200k") / "o200k_base.tiktoken"
    path.write_bytes(gzip.decompress(packed.read_bytes()))
    return path


@pytest.fixture(scope="session")
def offline_ranks(rank_file: Path) -> Path:
    """The folder both libraries read their ranks from; sets their environment variables."""
    folder = rank_file.parent
    cached = folder / hashlib.sha1(RANKS_URL.encode()).hexdigest()
    cached.write_bytes(rank_file.read_bytes())
    os.environ["TIKTOKEN_CACHE_DIR"] = str(folder)
    os.environ["TIKTOKEN_ENCODINGS_BASE"] = str(folder)
    return folder


@pytest.fixture(scope="session")
def tiktoken_oracle(offline_ranks: Path) -> tiktoken.Encoding:
    """tiktoken's own o200k_harmony encoding."""
    return tiktoken.get_encoding("o200k_harmony")


@pytest.fixture(scope="session")
def harmony_oracle(offline_ranks: Path) -> HarmonyEncoding:
    """openai-harmony's encoding for gpt-oss."""
    return load_harmony_encoding(HarmonyEncodingName.HARMONY_GPT_OSS)
