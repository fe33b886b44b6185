"""Motet's server beside llama.cpp's, and beside its own engine without HTTP, on random weights.

    python benchmarks/serve.py --layers 4

Both servers read the same GGUF file in the shape of gpt-oss-20b, get the same token ids through
`/v1/completions` and the same number of threads, and run in turns: a round starts each anew.
Figures are medians over the rounds; the ratios are what to read.

Throughput is the tokens of all answers over the time from the first request to the last token,
prompts included; every client asks once, with a prompt of its own. The gain of the prefix cache is
the time to the first token behind a long beginning that nobody has read, over that with another end
behind the same beginning. What HTTP costs is the time of the same requests through the server over
that through the engine in this process, in turns.

llama.cpp is built as in compare_llama.py; a first token of it that is no whole character is seen
with the next one.
"""

import argparse
import asyncio
import json
import random
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
from compare_llama import built_llama, common_options, made_model

from motet.checkpoint import open_checkpoint
from motet.engine import GenerationRequest, NativeEngine, SamplingParameters

LAYERS = 24  # of gpt-oss-20b
CLIENTS = (1, 4, 16)
PROMPT, ANSWER = 128, 32  # tokens
SHARED, OWN = 4096, 16  # tokens of the shared beginning, and of each end
ORDINARY = 199_000  # ids below are those of ordinary text
GREEDY = SamplingParameters(temperature=0)
FRESH = httpx.Limits(max_keepalive_connections=0)  # llama.cpp's server hangs up on idle ones

Figures = dict[str, float]


@dataclass(frozen=True)
class Timed:
    """Seconds to the first token of an answer and to its last."""

    first: float
    last: float


Ask = Callable[[list[int], int], Awaitable[Timed]]
"""Answers a prompt with so many tokens."""


def tokens(choose: random.Random, count: int) -> list[int]:
    """Ids that no prompt before began with."""
    return [choose.randrange(ORDINARY) for _ in range(count)]


def asking(http: httpx.AsyncClient, url: str) -> Ask:
    """A client of a server."""

    async def ask(prompt: list[int], count: int) -> Timed:
        body = {
            "prompt": prompt,
            "max_tokens": count,
            "temperature": 0,
            "ignore_eos": True,
            "stream": True,
            "stream_options": {"include_usage": True},
        }
        started = time.perf_counter()
        first = generated = 0.0
        async with http.stream("POST", f"{url}/v1/completions", json=body) as answer:
            answer.raise_for_status()
            async for line in answer.aiter_lines():
                if not line.startswith("data: {"):
                    continue
                first = first or time.perf_counter() - started
                usage = json.loads(line.removeprefix("data: ")).get("usage")
                generated = usage["completion_tokens"] if usage else generated
        if generated != count:
            sys.exit(f"{url} gave {generated} tokens and not {count}")
        return Timed(first, time.perf_counter() - started)

    return ask


def asking_engine(engine: NativeEngine) -> Ask:
    """The engine itself."""

    async def ask(prompt: list[int], count: int) -> Timed:
        started = time.perf_counter()
        first = 0.0
        async for _ in engine.generate(GenerationRequest(prompt, GREEDY, count)):
            first = first or time.perf_counter() - started
        return Timed(first, time.perf_counter() - started)

    return ask


async def together(ask: Ask, choose: random.Random, clients: int) -> tuple[float, float]:
    """Seconds until all are answered, and the median of those to the first token."""
    prompts = [tokens(choose, PROMPT) for _ in range(clients)]
    started = time.perf_counter()
    timed = await asyncio.gather(*(ask(prompt, ANSWER) for prompt in prompts))
    return time.perf_counter() - started, statistics.median(each.first for each in timed)


async def measure(ask: Ask, choose: random.Random, shared: int) -> Figures:
    """What one server does."""
    figures: Figures = {}
    await ask(tokens(choose, PROMPT), 2)  # pages of the file are read, buffers are there
    for clients in CLIENTS:
        seconds, first = await together(ask, choose, clients)
        figures[f"{clients} clients, tokens/s"] = clients * ANSWER / seconds
        figures[f"{clients} clients, first token, s"] = first
    beginning = tokens(choose, shared)
    cold = await ask(beginning + tokens(choose, OWN), 1)
    warm = await ask(beginning + tokens(choose, OWN), 1)
    figures[f"first token behind {shared} tokens, s"] = cold.first
    figures["the same, known from another request, s"] = warm.first
    figures["gain by the prefix cache"] = cold.first / warm.first
    return figures


async def measure_overhead(
    served: Ask, engine: NativeEngine, choose: random.Random, repeats: int
) -> Figures:
    """What HTTP costs for one client and for many: the server's time over the engine's, less 1."""
    bare = asking_engine(engine)
    for ask in (bare, served):
        await together(ask, choose, CLIENTS[-1])  # buffers grow to what they will be
    figures: Figures = {}
    for clients in (CLIENTS[0], CLIENTS[-1]):
        ratios = []
        for number in range(repeats):
            seconds = {}
            for ask in (bare, served) if number % 2 else (served, bare):
                seconds[ask], _ = await together(ask, choose, clients)
            ratios.append(seconds[served] / seconds[bare])
        figures[f"HTTP, {clients} clients"] = statistics.median(ratios) - 1
    return figures


@contextmanager
def running(command: list[str], url: str) -> Iterator[None]:
    """A server while it answers at `url`."""
    with tempfile.TemporaryFile("w+") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            _wait_until_ready(process, f"{url}/health")
            yield
        except BaseException:
            log.seek(0)
            print(log.read()[-2000:], file=sys.stderr)
            raise
        finally:
            process.terminate()
            process.wait()


def _wait_until_ready(process: "subprocess.Popen[bytes]", url: str) -> None:
    while process.poll() is None:
        try:
            if httpx.get(url).status_code == httpx.codes.OK:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.1)
    sys.exit(f"{process.args!r} has ended")


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


async def round_(options: argparse.Namespace, model: Path, number: int) -> dict[str, Figures]:
    """Both servers and the engine once, with prompts of this round's own."""
    port, threads = str(free_port()), str(options.threads)
    url = f"http://127.0.0.1:{port}"
    figures: dict[str, Figures] = {}
    motet = [sys.executable, "-m", "motet", "serve", "--model", str(model), "--port", port]
    llama = [str(options.llama / "llama-server"), "-m", str(model), "--port", port, "--no-ui"]
    llama += ["-t", threads, "-tb", threads, "-np", str(CLIENTS[-1]), "--kv-unified"]
    llama += ["-c", str(max(2 * options.shared, CLIENTS[-1] * (PROMPT + ANSWER + 64)))]
    async with httpx.AsyncClient(timeout=None, limits=FRESH) as http:
        with running([*motet, "--threads", threads], url):
            figures["motet"] = await measure(
                asking(http, url), random.Random(number), options.shared
            )
            engine = NativeEngine(open_checkpoint(model), threads=options.threads)
            figures["overhead"] = await measure_overhead(
                asking(http, url), engine, random.Random(f"{number}"), options.repeats
            )
            await engine.close()
    async with httpx.AsyncClient(timeout=None, limits=FRESH) as http:
        with running(llama, url):
            figures["llama.cpp"] = await measure(
                asking(http, url), random.Random(number), options.shared
            )
    return figures


def main() -> None:
    """Print two tables, and with --json the medians as one line."""
    options = _parser().parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    options.llama = options.llama or built_llama(options.folder)
    model = made_model(options.folder, options.layers)
    collected: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for number in range(options.rounds):
        print(f"Round {number + 1} of {options.rounds}", file=sys.stderr)
        for program, figures in asyncio.run(round_(options, model, number)).items():
            for name, value in figures.items():
                collected[program][name].append(value)
    medians = {
        program: {name: statistics.median(values) for name, values in figures.items()}
        for program, figures in collected.items()
    }
    ours, theirs = medians["motet"], medians["llama.cpp"]
    print(f"gpt-oss-20b's shape, {options.layers} layers, {options.threads} threads, prompts of")
    print(f"{PROMPT} and answers of {ANSWER} tokens, median of {options.rounds} rounds\n")
    print("| | Motet | llama.cpp | ratio |\n|---|--:|--:|--:|")
    for name, value in ours.items():
        better = theirs[name] / value if name.endswith(", s") else value / theirs[name]
        print(f"| {name} | {value:.3g} | {theirs[name]:.3g} | {better:.2f} |")
    print("\n| Motet's server beside its engine | more time |\n|---|--:|")
    for name, value in medians["overhead"].items():
        print(f"| {name} | {value:.1%} |")
    if options.json:
        print(json.dumps(medians))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    common_options(parser, LAYERS)
    add("--shared", type=int, default=SHARED, help="tokens of the shared beginning")
    add("--repeats", type=int, default=6, help="with and without HTTP, in a round")
    return parser


if __name__ == "__main__":
    main()
