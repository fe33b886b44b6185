"""What a constraint costs: compiling formats, masks over the whole vocabulary, and decoding.

    python benchmarks/constraint.py [--model PATH --tokens 64]

For each class of format one text is written token by token; a token costs its mask, taking it note
and looking for forced tokens. Beside it stands xgrammar on the same formats and tokens, if it is
installed (pip install xgrammar). Figures are medians of the rounds, in microseconds on one thread.

With `--model` the same model decodes the same tokens with and without a constraint, in turns: the
ratio is what the constraint costs, masks being made while the model computes.
"""

import argparse
import asyncio
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from motet.harmony import Conversation, Message, Vocabulary, o200k_harmony
from motet.harmony.grammar import AnswerFormat, TurnConstraint, TurnRules, compile_turn
from motet.harmony.grammar.formats import _compiled

ORDER = {
    "type": "object",
    "properties": {
        "customer": {"type": "string"},
        "status": {"enum": ["new", "paid", "shipped", "returned"]},
        "items": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {
                    "name": {"type": "string"},
                    "count": {"type": "integer"},
                    "price": {"type": "number"},
                },
                "required": ["name", "count", "price"],
                "additionalProperties": False,
            },
        },
    },
    "required": ["customer", "status", "items"],
    "additionalProperties": False,
}
TREE = {
    "$defs": {
        "node": {
            "type": "object",
            "properties": {
                "label": {"type": "string"},
                "children": {"type": "array", "items": {"$ref": "#/$defs/node"}},
            },
            "required": ["label", "children"],
            "additionalProperties": False,
        }
    },
    "$ref": "#/$defs/node",
}
STRICT = {
    "type": "object",
    "properties": {
        "id": {"type": "string", "pattern": "^[A-Z]{3}-[0-9]{6}$"},
        "day": {"type": "string", "format": "date"},
        "note": {"type": "string", "maxLength": 200},
    },
    "required": ["id", "day", "note"],
    "additionalProperties": False,
}
WIDE = {
    "type": "object",
    "properties": {f"field_{i}": {"type": "string"} for i in range(200)},
    "additionalProperties": False,
}
SENTENCE = "The parcel was left with the neighbours, who will be in all week."
TEXTS: dict[str, tuple[dict[str, Any], Any]] = {
    "nested object": (
        ORDER,
        {
            "customer": "Ada Lovelace, London",
            "status": "paid",
            "items": [
                {"name": "notebook, ruled", "count": 3, "price": 2.5},
                {"name": "pencil", "count": 12, "price": 0.4},
            ],
        },
    ),
    "recursive": (
        TREE,
        {"label": "root", "children": [{"label": "a", "children": []}] * 6},
    ),
    "patterns and formats": (STRICT, {"id": "ABC-123456", "day": "2026-02-28", "note": SENTENCE}),
    "200 optional properties": (WIDE, {f"field_{i}": "short text" for i in (3, 57, 120, 199)}),
    "any JSON object": ({"type": "object"}, {"text": SENTENCE, "numbers": [1, 2, 3], "ok": True}),
}


def constraint_for(answer: AnswerFormat, vocabulary: Vocabulary) -> TurnConstraint:
    conversation = Conversation((Message.system(), Message.user("Go.")))
    rules = TurnRules(answer=answer, maximum_thinking_tokens=0)
    return compile_turn(vocabulary, conversation, rules).constraint(4096)


def behind_header(constraint: TurnConstraint, vocabulary: Vocabulary) -> list[int]:
    """The forced tokens of the answer's text."""
    tokens = list(constraint.forced())
    return tokens[tokens.index(vocabulary.message) + 1 :]


def ours(
    schema: dict[str, Any], tokens: list[int], vocabulary: Vocabulary
) -> tuple[list[float], int]:
    """Seconds for each token that was not forced, and how many were."""
    constraint = constraint_for(AnswerFormat.json_schema(schema), vocabulary)
    ahead = behind_header(constraint, vocabulary)
    seconds: list[float] = []
    free = 0
    for token in tokens:
        if ahead and ahead[0] == token:
            ahead.pop(0)
            free += 1
            continue
        started = time.perf_counter()
        allowed = constraint.allowed()
        if not allowed[token]:
            raise SystemExit(f"the token {vocabulary.decode((token,))!r} is not allowed")
        constraint.accept(token)
        ahead = list(constraint.forced())
        seconds.append(time.perf_counter() - started)
    return seconds, free


def written(schema: dict[str, Any], value: Any, vocabulary: Vocabulary) -> list[int]:
    """The tokens of the value, those that are forced spelled as they are forced."""
    text = json.dumps(value, separators=(",", ":"))
    constraint = constraint_for(AnswerFormat.json_schema(schema), vocabulary)
    tokens = behind_header(constraint, vocabulary)
    while len(done := vocabulary.decode(tokens)) < len(text):
        token = vocabulary.encode(text[len(done) :])[0]
        while not constraint.allowed()[token]:
            shorter = (vocabulary.token_bytes(token) or b"")[:-1].decode()
            if not shorter:
                raise SystemExit(f"{text!r} cannot be written behind {done!r}")
            token = vocabulary.encode(shorter)[0]
        constraint.accept(token)
        tokens += [token, *constraint.forced()]
    return [token for token in tokens if not vocabulary.is_special(token)]


def theirs(
    vocabulary: Vocabulary,
) -> Callable[[dict[str, Any], list[int]], tuple[float, list[float]]]:
    """xgrammar's seconds to compile a schema, and for each token. Raises ImportError."""
    import xgrammar

    texts = [
        vocabulary.token_bytes(t) or vocabulary.decode_bytes((t,)) for t in range(vocabulary.size)
    ]
    info = xgrammar.TokenizerInfo(
        texts,
        xgrammar.VocabType.RAW,
        vocab_size=vocabulary.size,
        stop_token_ids=[vocabulary.return_],
    )
    bitmask = np.zeros((1, (vocabulary.size + 31) // 32), dtype=np.int32)

    def measure(schema: dict[str, Any], tokens: list[int]) -> tuple[float, list[float]]:
        compiler = xgrammar.GrammarCompiler(info, max_threads=1, cache_enabled=False)
        started = time.perf_counter()
        compiled = compiler.compile_json_schema(
            json.dumps(schema), any_whitespace=False, separators=(",", ":")
        )
        compiling = time.perf_counter() - started
        matcher = xgrammar.GrammarMatcher(compiled)
        seconds = []
        for token in tokens:
            started = time.perf_counter()
            matcher.fill_next_token_bitmask(bitmask)
            if not matcher.accept_token(token):
                return compiling, []  # it takes other texts of this schema
            seconds.append(time.perf_counter() - started)
        return compiling, seconds

    return measure


def formats(rounds: int) -> None:
    vocabulary = o200k_harmony()
    constraint_for(AnswerFormat.choice(["a"]), vocabulary)  # makes the vocabulary's tables
    try:
        peer = theirs(vocabulary)
    except ImportError:
        peer = None
        print("xgrammar is not installed: its columns are left out")
    print(
        f"{'format':<26}{'tokens':>7}{'forced':>8}   µs a token: median, p99   compile ms", end=""
    )
    print("   xgrammar: median, p99, compile ms" if peer else "")
    for name, (schema, value) in TEXTS.items():
        tokens = written(schema, value, vocabulary)
        own: list[float] = []
        other: list[float] = []
        compiling: list[tuple[float, float]] = []
        for _ in range(rounds):
            _compiled.cache_clear()
            started = time.perf_counter()
            constraint_for(AnswerFormat.json_schema(schema), vocabulary)
            took = time.perf_counter() - started
            seconds, free = ours(schema, tokens, vocabulary)
            # Forced tokens cost nothing: the cost is spread over all tokens of the text.
            own += [each * len(seconds) / len(tokens) for each in seconds]
            if peer:
                their_compile, their_seconds = peer(schema, tokens)
                other += their_seconds
                compiling.append((took, their_compile))
            else:
                compiling.append((took, 0.0))
        line = f"{name:<26}{len(tokens):>7}{free / len(tokens):>8.0%}{_figures(own):>26}"
        line += f"{1e3 * statistics.median(each for each, _ in compiling):>13.1f}"
        if peer:
            line += (
                f"{_figures(other):>26}{1e3 * statistics.median(e for _, e in compiling):>10.1f}"
            )
        print(line)
    text = vocabulary.encode(SENTENCE * 20)
    free_text = constraint_for(AnswerFormat.regex("(?s:.)+"), vocabulary)
    free_text.forced()
    conversation = Conversation((Message.system(), Message.user("Go.")))
    plain = compile_turn(
        vocabulary, conversation, TurnRules(maximum_thinking_tokens=0)
    ).constraint()
    plain.forced()
    for name, constraint in (("plain answer", plain), ("any text, as a pattern", free_text)):
        spent = []
        for token in text:
            started = time.perf_counter()
            constraint.allowed()
            constraint.accept(token)
            constraint.forced()
            spent.append(time.perf_counter() - started)
        print(f"{name:<26}{len(text):>7}{0:>8.0%}{_figures(spent):>26}")


def _figures(seconds: list[float]) -> str:
    if not seconds:
        return "-"
    ordered = sorted(seconds)
    p99 = ordered[min(len(ordered) - 1, int(0.99 * len(ordered)))]
    return f"{1e6 * statistics.median(ordered):.0f}, {1e6 * p99:.0f}"


async def decoding(path: Path, tokens: int, rounds: int) -> None:
    """The same model with and without a constraint, in turns, on the same number of tokens."""
    from motet.checkpoint import open_checkpoint
    from motet.engine import GenerationRequest, NativeEngine, SamplingParameters

    checkpoint = open_checkpoint(path)
    vocabulary = checkpoint.vocabulary
    engine = NativeEngine(checkpoint)
    prompt = vocabulary.encode(SENTENCE)
    schema = {"type": "string"}  # nothing in it is forced: each token is a step of one row

    async def seconds(constraint: TurnConstraint | None) -> float:
        request = GenerationRequest(
            prompt,
            SamplingParameters(temperature=1.0, seed=1),
            tokens,
            constraint=constraint,
        )
        first = 0.0
        count = 0
        async for piece in engine.generate(request):
            drawn = len(piece.tokens) - piece.forced
            if drawn and not first:  # what is forced at once comes before the prompt is read
                first, drawn = time.perf_counter(), 0
            count += drawn
        if count < tokens // 2:
            raise SystemExit("the answer ended too early to be measured; try other --tokens")
        return (time.perf_counter() - first) / count

    ratios = []
    for _ in range(rounds):
        held = constraint_for(AnswerFormat.json_schema(schema), vocabulary)
        with_constraint, without = await seconds(held), await seconds(None)
        ratios.append(with_constraint / without)
        print(f"{1e3 * with_constraint:.1f} ms a token held, {1e3 * without:.1f} ms free")
    print(f"ratio, median of {rounds}: {statistics.median(ratios):.3f}")
    await engine.close()


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--model", type=Path, help="measure decoding on this checkpoint instead")
    parser.add_argument("--tokens", type=int, default=64)
    arguments = parser.parse_args()
    if arguments.model:
        asyncio.run(decoding(arguments.model, arguments.tokens, arguments.rounds))
    else:
        formats(arguments.rounds)


if __name__ == "__main__":
    main()
