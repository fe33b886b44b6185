"""The harmony parser's speed, and that it is linear: every shape is doubled from 2^12 tokens on.

    python benchmarks/parser.py

Linear time takes twice as long for twice the tokens, quadratic time four times. Each time is
processor time, the best of several runs for the short sequences. The last column is the factor
per doubling over the whole range, its geometric mean.
"""

import argparse
import time

from motet.harmony import Vocabulary, o200k_harmony, parse_tokens

SHORTEST, LONGEST = 12, 20


def shapes(words: Vocabulary) -> dict[str, tuple[list[int], list[int]]]:
    """By name: what stands at the beginning, and what is repeated behind it."""
    s, encode = words.special, words.encode
    final = [s["channel"], *encode("final"), s["message"]]
    call = [
        *(s["channel"], *encode("commentary to=functions.f "), s["constrain"], *encode("json")),
        *(s["message"], *encode("{}"), s["end"], s["start"], *encode("assistant")),
    ]
    broken = [token for token in range(256) if words.token_bytes(token) == b"\xf0"]
    return {
        "long text": (final, encode(" the answer is, of course, forty-two.\n")),
        "many messages": ([], [*final, *encode("Hi"), s["end"], s["start"], *encode("assistant")]),
        "many calls": ([], call),
        "text without a header": ([], encode(" the answer is, of course, forty-two.\n")),
        "invalid UTF-8": (final, broken),
        "invalid UTF-8 in headers": ([], [s["start"], *broken]),
        "line breaks": ([], encode("a\n\n")[-1:]),
        "starts": ([], [s["start"]]),
        "channels": ([], [s["channel"]]),
        "channels with names": ([], [s["channel"], *encode("final")]),
        "formats": ([], [s["constrain"], *encode("json")]),
        "recipients": ([], encode(" to=functions.f")),
        "headers full of line breaks": ([], [s["start"], *encode("\n") * 127]),
        "headers full of recipients": ([], [s["start"], *encode(" to=functions.f") * 25]),
        "message tokens": (final, [s["message"]]),
        "ends": ([], [s["end"]]),
        "unknown tokens": ([], [-1]),
        "all special tokens": ([], list(s.values())),
    }


def seconds(tokens: list[int], words: Vocabulary) -> float:
    """Processor time of one reading, the best of some."""
    best = float("inf")
    for _ in range(max(1, min(5, 2**16 // len(tokens)))):
        started = time.process_time()
        parse_tokens(tokens, words)
        best = min(best, time.process_time() - started)
    return best


def main() -> None:
    """Print the table."""
    options = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    options.add_argument("--longest", type=int, default=LONGEST, help="tokens, as a power of two")
    longest = options.parse_args().longest
    words = o200k_harmony()
    words.encode("")
    powers = range(SHORTEST, longest + 1, 2)
    head = " | ".join(f"2^{power}" for power in powers)
    print(f"| thousand tokens a second | {head} | time per doubling |")
    print("|---|" + "---|" * (len(powers) + 1))
    for name, (head_tokens, unit) in shapes(words).items():
        times = []
        for power in powers:
            tokens = head_tokens + unit * (2**power // len(unit))
            times.append(seconds(tokens[: 2**power], words))
        speeds = [2**power / took / 1000 for power, took in zip(powers, times, strict=True)]
        growth = (times[-1] / times[0]) ** (1 / (powers[-1] - powers[0]))
        cells = " | ".join(f"{speed:,.0f}" for speed in speeds)
        print(f"| {name} | {cells} | {growth:.2f} |", flush=True)


if __name__ == "__main__":
    main()
