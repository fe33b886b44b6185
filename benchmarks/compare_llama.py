"""Motet's native engine beside llama.cpp, on one file of random weights in gpt-oss's shape.

    python benchmarks/compare_llama.py --json

Both read the same GGUF file (MXFP4 experts, 8-bit attention and head), with the same number of
threads. One kind of test comes after the other: answers, then answers at once, and so on. In every
round of it each program is started anew, measured three times in a row (llama.cpp's prompts, long
contexts and answers at once only once: they take it a while) and ended, with the file in the
system's cache. Figures are medians over the rounds, and the ratios are what to read.

Shared machines have a memory that changes its speed within minutes, by nearly a half where two
virtual processors are now on one chiplet, now on two. If it did so between the rounds, those with
the memory fast and those with it slow are shown apart too. With `--memory 55` whatever the memory
bounds (all but prompts and starting) is measured while it gives 55 GB/s: a run of either program,
whatever its speed, is taken again if the memory was slower right after it, or in the median around
Motet's tests, and the number of such runs is printed.

llama.cpp is built from the source that the llama-cpp-python package carries, unless `--llama` names
a folder with llama-bench and llama-batched-bench. Model and build are kept in `--folder` (13 GB for
the full shape).

A long context has to be read before an answer at its end can be measured, which takes llama.cpp an
hour at full size. So `decode_8k` is measured with `--deep-layers` layers, with and without the
context, each several times (but llama.cpp's with the context once a round); what the context adds
to a token is scaled to all layers and added to the time of a token without. Fewer layers add the
same time each: half of them are full, half sliding, as in the whole.
"""

import argparse
import json
import mmap
import os
import statistics
import subprocess
import sys
import tarfile
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from tempfile import TemporaryFile

from steady_memory import SteadyMemory

LAYERS = 24  # of gpt-oss-20b
GENERATED = 16  # tokens of an answer
REPEATS = 3  # of a test in one run of a program, if it takes seconds
DEPTH = 8192
DEEP_REPEATS = 5  # of few layers, which are read in a moment
SPREAD = 1.3  # a memory that is so much faster in some rounds than in others has two speeds
PROMPTS, BATCHES = (512, 2048), (8, 16)
PROGRAMS = ("llama-bench", "llama-batched-bench", "llama-server")
ONE_TOKEN = """
import sys
from motet.checkpoint import open_checkpoint
from motet.engine.native import native_model
model = native_model(open_checkpoint(sys.argv[1]), precision="fast", threads=int(sys.argv[2]))
import numpy
model.step([(model.sequence(), numpy.zeros(1, numpy.int32), 1)])
"""

Figures = dict[str, float]


@dataclass(frozen=True)
class Finished:
    """A program that has run: what it printed, how long it took, its largest resident memory."""

    output: str
    seconds: float
    resident_bytes: int


def run(command: list[str]) -> Finished:
    """Run a program to its end; stops this one with the other's words if it fails."""
    with TemporaryFile("w+") as output, TemporaryFile("w+") as errors:
        started = time.perf_counter()
        process = subprocess.Popen(command, stdout=output, stderr=errors)
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - started
        output.seek(0)
        errors.seek(0)
        if status:
            sys.exit(f"{' '.join(command)} failed:\n{errors.read()[-2000:]}")
        return Finished(output.read(), seconds, usage.ru_maxrss * 1024)


@dataclass(frozen=True)
class Tests:
    """What to measure: prompts of so many tokens, answers at these depths, so many answers at once.

    Prompts are measured without any context, at depth 0.
    """

    prompts: tuple[int, ...] = ()
    depths: tuple[int, ...] = ()
    batches: tuple[int, ...] = ()


@dataclass(frozen=True)
class Measured:
    """Tokens a second by the tests' names, and the largest resident memory of the programs.

    Of Motet also the shares of the machine's limit, and the memory's bytes a second, by the same
    names.
    """

    speeds: Figures
    resident_bytes: int
    shares: Figures = field(default_factory=dict)
    read_bytes: Figures = field(default_factory=dict)


class Motet:
    """`motet bench model`, and a short program that opens the model for one token."""

    def __init__(self, threads: int) -> None:
        self.threads = threads

    def bench(self, model: Path, tests: Tests, precision: str = "fast") -> Measured:
        """Run a program for the tests, each REPEATS times, of which the medians count."""
        command = [sys.executable, "-m", "motet", "bench", "model", str(model), "--json"]
        command += ["--threads", str(self.threads), "--precision", precision]
        command += ["--rounds", str(REPEATS)]
        for option, values in asdict(tests).items():
            command += [f"--{option}", ",".join(map(str, values))]
        finished = run(command)
        phases = {phase["name"]: phase for phase in json.loads(finished.output)["phases"]}
        return Measured(
            {name: phase["tokens_per_second"] for name, phase in phases.items()},
            finished.resident_bytes,
            {name: phase["share"] for name, phase in phases.items()},
            {name: phase["read_bytes"] for name, phase in phases.items()},
        )

    def one_token(self, model: Path) -> Finished:
        """Start, one token, end."""
        return run([sys.executable, "-c", ONE_TOKEN, str(model), str(self.threads)])


class Llama:
    """llama-bench and llama-batched-bench."""

    def __init__(self, binaries: Path, threads: int) -> None:
        self.binaries, self.threads = binaries, threads

    def bench(self, model: Path, tests: Tests) -> Measured:
        """Run a program for the tests, batches in another, whose memory does not count.

        Answers without a context are averages of REPEATS, all else is measured once.
        """
        found: Figures = {}
        largest = 0
        runs = [self._bench(model, (), GENERATED, depth) for depth in tests.depths]
        if tests.prompts:
            runs.append(self._bench(model, tests.prompts, 0, 0))
        for command in runs:
            finished = run([*command, "-o", "json"])
            for each in json.loads(finished.output):
                prompt, depth = each["n_prompt"], each["n_depth"]
                found[f"prompt {prompt}" if prompt else f"answer at {depth}"] = each["avg_ts"]
            largest = max(largest, finished.resident_bytes)
        if tests.batches:
            found |= self._batched(model, tests.batches)
        return Measured(found, largest)

    def one_token(self, model: Path) -> Finished:
        """Start, one token, end."""
        return run([*self._bench(model, (1,), 0, 0), "--no-warmup"])

    def _bench(
        self, model: Path, prompts: tuple[int, ...], generated: int, depth: int
    ) -> list[str]:
        sizes = ",".join(map(str, prompts)) or "0"
        command = [str(self.binaries / "llama-bench"), "-m", str(model), "-t", str(self.threads)]
        repeats = 1 if prompts or depth else REPEATS
        command += ["-p", sizes, "-n", str(generated), "-d", str(depth)]
        return [*command, "-r", str(repeats)]

    def _batched(self, model: Path, batches: tuple[int, ...]) -> Figures:
        command = [str(self.binaries / "llama-batched-bench"), "-m", str(model)]
        command += ["-t", str(self.threads), "-tb", str(self.threads), "-c", "2048"]
        command += ["-npp", "8", "-ntg", str(GENERATED), "-npl", ",".join(map(str, batches))]
        lines = run([*command, "--output-format", "jsonl"]).output.splitlines()
        found = [json.loads(line) for line in lines if line.startswith('{"n_kv_max"')]
        return {f"batch {each['pl']}": each["speed_tg"] for each in found}


def built_llama(folder: Path) -> Path:
    """llama.cpp's programs, built from the source inside llama-cpp-python."""
    binaries = folder / "llama-build" / "bin"
    if all((binaries / program).exists() for program in PROGRAMS):
        return binaries
    print("Building llama.cpp; this takes a while.", file=sys.stderr)
    download = [sys.executable, "-m", "pip", "download", "--no-deps", "--no-binary", ":all:"]
    run([*download, "--dest", str(folder), "llama-cpp-python"])
    (archive,) = folder.glob("llama_cpp_python*.tar.gz")
    with tarfile.open(archive) as source:
        source.extractall(folder, filter="data")
    (source_folder,) = folder.glob("llama_cpp_python*/vendor/llama.cpp")
    options = ["LLAMA_CURL", "LLAMA_OPENSSL", "BUILD_SHARED_LIBS", "LLAMA_BUILD_TESTS"]
    configure = ["cmake", "-S", str(source_folder), "-B", str(binaries.parent)]
    run(
        [
            *configure,
            "-DCMAKE_BUILD_TYPE=Release",
            "-DLLAMA_BUILD_SERVER=ON",
            *(f"-D{each}=OFF" for each in options),
        ]
    )
    run(["cmake", "--build", str(binaries.parent), "--target", *PROGRAMS, "--parallel"])
    return binaries


def made_model(folder: Path, layers: int) -> Path:
    """A file of random weights with so many layers."""
    model = folder / f"gpt-oss-20b-{layers}-layers.gguf"
    if not model.exists():
        print(f"Writing {model}.", file=sys.stderr)
        command = [sys.executable, "-m", "motet", "bench", "synth", str(model), "--shape", "20b"]
        run([*command, "--layers", str(layers)])
    return model


@dataclass(frozen=True)
class Round:
    """One test of one round: tokens a second, Motet's share of the limit, memory's bytes a second.

    A token in a long context has no share, since what bounds it was measured with few layers.
    """

    motet: float
    llama: float
    share: float | None
    read_bytes: float


class Comparison:
    """Runs both programs in turns, and keeps what they gave, by test."""

    def __init__(self, options: argparse.Namespace) -> None:
        folder: Path = options.folder
        folder.mkdir(parents=True, exist_ok=True)
        self.llama = Llama(options.llama or built_llama(folder), options.threads)
        self.motet = Motet(options.threads)
        self.memory = SteadyMemory(options.memory * 1e9, options.threads)
        self.model = made_model(folder, options.layers)
        self.layers: int = options.layers
        self.rounds: dict[str, list[Round]] = defaultdict(list)
        self.starts: list[tuple[float, float]] = []
        self.resident_bytes = [0, 0]

    def answers(self) -> None:
        """One round of a single answer: in 8 bits, and in Motet's 4-bit mode."""
        tests, name = Tests(depths=(0,)), "answer at 0"
        few_bits = self._motet(tests, "fast4")
        ours = self._motet(tests)
        theirs = self._llama(tests)
        self._add("decode", name, ours, theirs)
        self._add("decode_4bit", name, few_bits, theirs)

    def long_context(self, few_layers: Path, layers: int) -> None:
        """One round of an answer in a long context, which so many layers stand for."""
        tests, name = Tests(depths=(0,)), "answer at 0"
        ours, theirs = self._motet(tests), self._llama(tests)
        bring_into_cache(few_layers)
        our_added, their_added = self._added(few_layers)
        scale = self.layers / layers
        self._keep(
            "decode_8k",
            Round(
                1 / (1 / ours.speeds[name] + scale * our_added),
                1 / (1 / theirs.speeds[name] + scale * their_added),
                None,
                ours.read_bytes[name],
            ),
        )

    def prompts(self, sizes: tuple[int, ...]) -> None:
        """One round of prompts of these lengths."""
        ours, theirs = self._motet(Tests(prompts=sizes)), self._llama(Tests(prompts=sizes))
        for size in sizes:
            self._add(f"prefill_{size}", f"prompt {size}", ours, theirs)

    def batches(self, sizes: tuple[int, ...]) -> None:
        """One round of so many answers at once."""
        ours = [self._motet(Tests(batches=(size,))) for size in sizes]
        theirs = self._llama(Tests(batches=sizes))
        for size, each in zip(sizes, ours, strict=True):
            self._add(f"batch_{size}", f"batch {size}", each, theirs)

    def start(self) -> None:
        """One round of opening the model for one token."""
        bring_into_cache(self.model)
        ours = self.motet.one_token(self.model).seconds
        bring_into_cache(self.model)
        self.starts.append((ours, self.llama.one_token(self.model).seconds))

    def _added(self, model: Path) -> tuple[float, float]:
        """The seconds that a long context adds to a token of Motet's and of llama.cpp's."""
        without, within = Tests(depths=(0,)), Tests(depths=(DEPTH,))

        def seconds(measured: Measured, depth: int) -> float:
            return 1 / measured.speeds[f"answer at {depth}"]

        def theirs(tests: Tests) -> Measured:
            return self.memory.run(lambda: self.llama.bench(model, tests))

        repeats = range(DEEP_REPEATS)
        twofold = Tests(depths=(0, DEPTH))
        both = [self.memory.run(lambda: self.motet.bench(model, twofold)) for _ in repeats]
        ours = statistics.median(seconds(each, DEPTH) - seconds(each, 0) for each in both)
        base = statistics.median(seconds(theirs(without), 0) for _ in repeats)
        return ours, seconds(theirs(within), DEPTH) - base

    def _motet(self, tests: Tests, precision: str = "fast") -> Measured:
        bring_into_cache(self.model)
        measured = self._run(tests, lambda: self.motet.bench(self.model, tests, precision))
        if precision == "fast":
            self.resident_bytes[0] = max(measured.resident_bytes, self.resident_bytes[0])
        return measured

    def _llama(self, tests: Tests) -> Measured:
        bring_into_cache(self.model)
        measured = self._run(tests, lambda: self.llama.bench(self.model, tests))
        self.resident_bytes[1] = max(measured.resident_bytes, self.resident_bytes[1])
        return measured

    def _run(self, tests: Tests, bench: Callable[[], Measured]) -> Measured:
        """A run with the memory as fast as was asked for, unless arithmetic bounds the tests."""
        return bench() if tests.prompts else self.memory.run(bench)

    def _add(self, test: str, name: str, ours: Measured, theirs: Measured) -> None:
        speeds = (ours.speeds[name], theirs.speeds[name])
        self._keep(test, Round(*speeds, ours.shares[name], ours.read_bytes[name]))

    def _keep(self, test: str, each: Round) -> None:
        self.rounds[test].append(each)
        speeds = f"{each.motet:.1f} and {each.llama:.1f}"
        memory = f"memory at {each.read_bytes / 1e9:.0f} GB/s"
        print(f"  {test}: {speeds} tokens a second, {memory}", file=sys.stderr)


def bring_into_cache(model: Path) -> None:
    """Touch every page of the file, which the other program's memory may have driven out."""
    with model.open("rb") as file, mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as mapped:
        mapped.madvise(mmap.MADV_HUGEPAGE)
        bytes(memoryview(mapped)[:: mmap.PAGESIZE])


def compared(options: argparse.Namespace) -> Comparison:
    """All rounds of all tests."""
    comparison = Comparison(options)
    prompts, batches = tuple(options.prompts), tuple(options.batches)
    kinds: list[tuple[str, Callable[[], None]]] = [("An answer", comparison.answers)]
    if batches:
        kinds.append(("Answers at once", lambda: comparison.batches(batches)))
    if layers := options.deep_layers:
        few_layers = made_model(options.folder, layers)
        kinds.append(
            ("An answer in a long context", lambda: comparison.long_context(few_layers, layers))
        )
    kinds.append(("Starting", comparison.start))
    if prompts:
        kinds.append(("Prompts", lambda: comparison.prompts(prompts)))
    for kind, one_round in kinds:
        for number in range(options.rounds):
            print(f"{kind}, round {number + 1} of {options.rounds}", file=sys.stderr)
            one_round()
    return comparison


def by_memory(tests: dict[str, list[Round]]) -> dict[str, dict[str, list[Round]]]:
    """The rounds with the memory fast, and those with it slow, if it had two speeds."""
    speeds = [each.read_bytes for rounds in tests.values() for each in rounds]
    if max(speeds) < SPREAD * min(speeds):
        return {}
    middle = (max(speeds) + min(speeds)) / 2
    parts: dict[str, dict[str, list[Round]]] = {"fast_memory": {}, "slow_memory": {}}
    for test, rounds in tests.items():
        for each in rounds:
            part = parts["fast_memory" if each.read_bytes > middle else "slow_memory"]
            part.setdefault(test, []).append(each)
    return parts


def show(tests: dict[str, list[Round]]) -> Figures:
    """Print a line for each test; the ratios."""
    print("| test | motet | llama.cpp | ratio | share of the limit | memory, GB/s | rounds |")
    print("|---|--:|--:|--:|--:|--:|--:|")
    ratios: Figures = {}
    for test, rounds in tests.items():
        motet = statistics.median(each.motet for each in rounds)
        llama = statistics.median(each.llama for each in rounds)
        shares = [each.share for each in rounds if each.share is not None]
        share = f"{statistics.median(shares):.0%}" if shares else ""
        speed = statistics.median(each.read_bytes for each in rounds) / 1e9
        ratios[test] = motet / llama
        both = f"{motet:.2f} | {llama:.2f} | {ratios[test]:.2f}"
        print(f"| {test} | {both} | {share} | {speed:.0f} | {len(rounds)} |")
    return ratios


def rounded(ratios: Figures) -> Figures:
    """As many digits as mean something."""
    return {name: round(ratio, 3) for name, ratio in ratios.items()}


def main() -> None:
    """Print tables, and with --json the ratios as one line."""
    options = _parser().parse_args()
    comparison = compared(options)
    print(f"gpt-oss-20b's shape, {options.layers} layers, {options.threads} threads;")
    print("tokens a second, medians over the rounds\n")
    ratios = show(comparison.rounds)
    ours, theirs = (statistics.median(each) for each in zip(*comparison.starts, strict=True))
    ratios["start"] = theirs / ours
    print(f"| start, seconds | {ours:.1f} | {theirs:.1f} | {ratios['start']:.1f} | | | |")
    ours, theirs = comparison.resident_bytes
    ratios["memory"] = ours / theirs
    both = f"{ours / 1e9:.1f} | {theirs / 1e9:.1f}"
    print(f"| resident memory, GB | {both} | {ratios['memory']:.2f} | | | |")
    memory = comparison.memory
    if memory.least:
        print(
            f"\nAll but prompts and starting with the memory at {memory.least / 1e9:.0f} GB/s or"
            f" more: {memory.taken} runs, and {memory.repeated} others that were taken again."
        )
    report: dict[str, float | Figures] = dict(rounded(ratios))
    for part, tests in by_memory(comparison.rounds).items():
        print(f"\nRounds with {part.replace('_', ' ')}:\n")
        report[part] = rounded(show(tests))
    if options.json:
        print(json.dumps(report))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    common_options(parser, LAYERS)
    add("--deep-layers", type=int, default=4, help="for the long context, even; 0: leave it out")
    add("--batches", type=int, nargs="*", default=BATCHES)
    add("--prompts", type=int, nargs="*", default=PROMPTS)
    add("--memory", type=float, default=0.0, metavar="GB/S", help="measure while it is so fast")
    return parser


def common_options(parser: argparse.ArgumentParser, layers: int) -> None:
    """What every comparison with llama.cpp can be told."""
    add = parser.add_argument
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    add("--folder", type=Path, default=cache / "motet" / "benchmarks")
    add("--llama", type=Path, help="folder of llama.cpp's programs")
    add("--layers", type=int, default=layers)
    add("--rounds", type=int, default=3)
    add("--threads", type=int, default=len(os.sched_getaffinity(0)))
    add("--json", action="store_true", help="the figures as JSON in the last line")


if __name__ == "__main__":
    main()
