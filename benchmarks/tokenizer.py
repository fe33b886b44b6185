"""The tokenizer's speed beside tiktoken, bpe-openai and openai-harmony, and on long hard texts.

    python benchmarks/tokenizer.py

All are measured in turns within one run, in processor time and the best of several rounds each,
because the machine's speed may change from run to run; read the ratios rather than the MB/s. The
second table doubles a text without words: linear time takes twice as long, quadratic time four
times.
"""

import gzip
import hashlib
import importlib.metadata
import os
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

ROUNDS = 7
ROOT = Path(__file__).parents[1]
RANKS_URL = "https://openaipublic.blob.core.windows.net/encodings/o200k_base.tiktoken"

Encode = Callable[[str], list[int]]


def prepare_peers(folder: Path) -> dict[str, Encode]:
    """The peers' encoders, their ranks taken from the bpe-openai wheel instead of the network."""
    wheel = importlib.metadata.distribution("bpe-openai")
    packed = Path(str(wheel.locate_file("bpe_openai/data/o200k_base.tiktoken.gz")))
    content = gzip.decompress(packed.read_bytes())
    for name in ("o200k_base.tiktoken", hashlib.sha1(RANKS_URL.encode()).hexdigest()):
        (folder / name).write_bytes(content)
    os.environ["TIKTOKEN_CACHE_DIR"] = os.environ["TIKTOKEN_ENCODINGS_BASE"] = str(folder)

    import bpe_openai
    import tiktoken
    from openai_harmony import HarmonyEncodingName, load_harmony_encoding

    harmony = load_harmony_encoding(HarmonyEncodingName.HARMONY_GPT_OSS)
    return {
        "tiktoken": tiktoken.get_encoding("o200k_harmony").encode_ordinary,
        "bpe-openai": bpe_openai.get_encoding("o200k_base").encode_ordinary,
        "openai-harmony": lambda text: harmony.encode(text, disallowed_special=()),
    }


def corpora() -> dict[str, str]:
    """Texts of 400,000 to 700,000 characters."""
    sources = sorted(Path(sysconfig.get_path("stdlib")).glob("*.py"))
    code = "".join(source.read_text(encoding="utf-8") for source in sources)[:500_000]
    languages = ROOT / "packages/motet/tests/harmony/data/multilingual.txt"
    prose = [line for line in code.splitlines() if line.strip() and line.strip().isprintable()]
    return {
        "Python": code,
        "comments": "\n".join(line.strip("# ") for line in prose if line.lstrip()[0] == "#") * 12,
        "languages": languages.read_text(encoding="utf-8") * 60,
    }


def seconds(encode: Encode, text: str) -> float:
    """Processor time of one encoding."""
    started = time.thread_time()
    encode(text)
    return time.thread_time() - started


def compare(encoders: dict[str, Encode]) -> None:
    """Print MB/s of each encoder and its ratio to tiktoken."""
    print("| text | MB | " + " | ".join(encoders) + " |")
    print("|---|---|" + "---|" * len(encoders))
    for name, text in corpora().items():
        best = dict.fromkeys(encoders, float("inf"))
        for _ in range(ROUNDS):
            for encoder, encode in encoders.items():
                best[encoder] = min(best[encoder], seconds(encode, text))
        size = len(text.encode()) / 1e6
        cells = [f"{size / best[e]:.1f} MB/s ({best['tiktoken'] / best[e]:.2f}×)" for e in encoders]
        print(f"| {name} | {size:.2f} | " + " | ".join(cells) + " |", flush=True)


def double(encode: Encode) -> None:
    """Print the time for hard texts of growing length."""
    lengths = (500_000, 1_000_000, 2_000_000)
    print("| text without words | " + " | ".join(f"{length:,}" for length in lengths) + " |")
    print("|---|" + "---|" * len(lengths))
    hard = {"spaces": " ", "spaces, then a word": " ", "line breaks": "\n", "a": "a", "漢": "漢"}
    for name, unit in hard.items():
        tail = "word" if name.endswith("word") else ""
        times = [seconds(encode, unit * n + tail) for n in lengths]
        print(f"| {name} | " + " | ".join(f"{t:.2f} s" for t in times) + " |", flush=True)


def starting(script: str) -> float:
    """Processor seconds a fresh interpreter takes for `script`, the best of three."""
    measured = f"import time; {script}; print(time.process_time())"
    command = [sys.executable, "-c", measured]
    return min(float(subprocess.check_output(command)) for _ in range(3))


def main() -> None:
    """Print all tables."""
    from motet.harmony import o200k_harmony

    vocabulary = o200k_harmony()
    with tempfile.TemporaryDirectory() as folder:
        peers = prepare_peers(Path(folder))
        print("Encoding, and the speed in parts of tiktoken's:\n")
        compare({"motet": vocabulary.encode} | peers)
        print("\nMotet on texts without words, by length in characters:\n")
        double(vocabulary.encode)
        idle = starting("pass")
        imports = "from motet.harmony import o200k_harmony as o; "
        first = {
            "motet, whole": imports + "o().encode('a')",
            "motet, first 2,000 ranks": imports + "o().first(2000).encode('a')",
            "tiktoken": "import tiktoken; tiktoken.get_encoding('o200k_harmony').encode('a')",
        }
        print(
            "\nProcessor time from the start of a process to its first token, less a bare one's:\n"
        )
        for name, script in first.items():
            print(f"- {name}: {starting(script) - idle:.2f} s", flush=True)


if __name__ == "__main__":
    main()
