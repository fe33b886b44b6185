"""Motet's native engine beside llama.cpp, on one file of random weights in gpt-oss's shape.

    python benchmarks/compare_llama.py --json

Both read the same GGUF file (MXFP4 experts, 8-bit attention and head), with the same number of
threads. One kind of test comes after the other: answers, then answers at once, and so on. In every
round of it each program is started anew, measured, and ended, so that what is compared was measured
within the same minute; the file is brought into the system's cache before. Figures are medians over
the rounds; the ratios are what to read, beside the memory's speed during them: on shared machines
that changes within minutes. llama.cpp is built from the source that the llama-cpp-python package
carries, unless `--llama` names a folder with llama-bench and llama-batched-bench. Model and build
are kept in `--folder` (13 GB for the full shape).

A long context has to be read before an answer at its end can be measured, which takes llama.cpp an
hour at full size. So `decode_8k` is measured with `--deep-layers` layers, with and without the
context; what the context adds to a token is scaled to all layers and added to the time of a token
without. Fewer layers add the same time each: half of them are full, half sliding, as in the whole.
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
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryFile

LAYERS = 24  # of gpt-oss-20b
GENERATED = 16  # tokens of an answer
DEPTH = 8192
DEEP_REPEATS = 5  # for Motet, whose few layers are read in a moment
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
"""Tokens a second by test; by "start" seconds, by "memory" bytes, by "added" the seconds that a
context adds to a token."""


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


class Motet:
    """`motet bench model`, and a short program that opens the model for one token."""

    def __init__(self, threads: int) -> None:
        self.threads = threads

    def bench(
        self, model: Path, tests: Tests, precision: str = "fast"
    ) -> tuple[Figures, Figures, Figures]:
        """Tokens a second with the memory; shares of the limit; the memory's bytes a second."""
        command = [sys.executable, "-m", "motet", "bench", "model", str(model), "--json"]
        command += ["--threads", str(self.threads), "--rounds", "1", "--precision", precision]
        for option, values in asdict(tests).items():
            command += [f"--{option}", ",".join(map(str, values))]
        finished = run(command)
        report = json.loads(finished.output)
        phases = report["phases"]
        figures = {each["name"]: each["tokens_per_second"] for each in phases}
        figures["memory"] = finished.resident_bytes
        shares = {each["name"]: each["share"] for each in phases}
        return figures, shares, dict.fromkeys(shares, report["machine"]["read_bytes"])

    def one_token(self, model: Path) -> Finished:
        """Start, one token, end."""
        return run([sys.executable, "-c", ONE_TOKEN, str(model), str(self.threads)])


class Llama:
    """llama-bench and llama-batched-bench."""

    def __init__(self, binaries: Path, threads: int) -> None:
        self.binaries, self.threads = binaries, threads

    def bench(self, model: Path, tests: Tests) -> Figures:
        """Tokens a second with the memory, by the same names."""
        figures: Figures = {}
        largest = 0
        for depth in tests.depths:
            finished = run([*self._bench(model, (), GENERATED, depth), "-o", "json"])
            (each,) = json.loads(finished.output)
            figures[f"answer at {depth}"] = each["avg_ts"]
            largest = max(largest, finished.resident_bytes)
        if tests.prompts:
            finished = run([*self._bench(model, tests.prompts, 0, 0), "-o", "json"])
            for each in json.loads(finished.output):
                figures[f"prompt {each['n_prompt']}"] = each["avg_ts"]
            largest = max(largest, finished.resident_bytes)
        if tests.batches:
            figures |= self._batched(model, tests.batches)
        return figures | {"memory": largest}

    def one_token(self, model: Path) -> Finished:
        """Start, one token, end."""
        return run([*self._bench(model, (1,), 0, 0), "--no-warmup"])

    def _bench(
        self, model: Path, prompts: tuple[int, ...], generated: int, depth: int
    ) -> list[str]:
        sizes = ",".join(map(str, prompts)) or "0"
        command = [str(self.binaries / "llama-bench"), "-m", str(model), "-t", str(self.threads)]
        return [*command, "-p", sizes, "-n", str(generated), "-d", str(depth), "-r", "1"]

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


class Comparison:
    """Figures of both programs (and Motet's 4-bit mode), round after round, by program and test."""

    def __init__(self, options: argparse.Namespace) -> None:
        folder: Path = options.folder
        folder.mkdir(parents=True, exist_ok=True)
        self.llama = Llama(options.llama or built_llama(folder), options.threads)
        self.motet = Motet(options.threads)
        self.model = made_model(folder, options.layers)
        self.collected: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))

    def beside_llama(self, tests: Tests) -> None:
        """One round of these tests."""
        self._motet(tests, "fast", ("motet", "share", "bandwidth"))
        bring_into_cache(self.model)
        self._add("llama.cpp", self.llama.bench(self.model, tests))

    def answers(self) -> None:
        """One round of a single answer, in Motet's 4-bit mode too."""
        tests = Tests(depths=(0,))
        self._motet(tests, "fast4", ("4-bit", "4-bit share", "4-bit bandwidth"))
        self.beside_llama(tests)

    def deep_answers(self, few_layers: Path) -> None:
        """One round of what a long context adds to a token."""
        tests = Tests(depths=(0, DEPTH))
        bring_into_cache(few_layers)
        for _ in range(DEEP_REPEATS):
            self._add("motet", added(self.motet.bench(few_layers, tests)[0]))
        self._add("llama.cpp", added(self.llama.bench(few_layers, tests)))

    def starts(self) -> None:
        """One round of opening the model for one token."""
        for name, program in (("motet", self.motet), ("llama.cpp", self.llama)):
            bring_into_cache(self.model)
            self._add(name, {"start": program.one_token(self.model).seconds})

    def medians(self) -> dict[str, Figures]:
        """The median of every figure, but of resident memory the largest."""
        return {
            program: {
                name: max(values) if name == "memory" else statistics.median(values)
                for name, values in tests.items()
            }
            for program, tests in self.collected.items()
        }

    def _motet(self, tests: Tests, precision: str, names: tuple[str, str, str]) -> None:
        bring_into_cache(self.model)
        for name, figures in zip(
            names, self.motet.bench(self.model, tests, precision), strict=True
        ):
            self._add(name, figures)

    def _add(self, program: str, figures: Figures) -> None:
        for name, value in figures.items():
            self.collected[program][name].append(value)


def bring_into_cache(model: Path) -> None:
    """Touch every page of the file, which the other program's memory may have driven out."""
    with model.open("rb") as file, mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as mapped:
        mapped.madvise(mmap.MADV_HUGEPAGE)
        bytes(memoryview(mapped)[:: mmap.PAGESIZE])


def added(figures: Figures) -> Figures:
    """The seconds that a long context adds to a token."""
    return {"added": 1 / figures[f"answer at {DEPTH}"] - 1 / figures["answer at 0"]}


def measured(options: argparse.Namespace) -> dict[str, Figures]:
    """Medians by program and test, with Motet's shares of the limit and the memory's speeds."""
    comparison = Comparison(options)
    kinds: dict[str, Callable[[], None]] = {"An answer": comparison.answers}
    if options.batches:
        batches = Tests(batches=tuple(options.batches))
        kinds["Answers at once"] = lambda: comparison.beside_llama(batches)
    if options.deep_layers:
        few_layers = made_model(options.folder, options.deep_layers)
        kinds["An answer in a long context"] = lambda: comparison.deep_answers(few_layers)
    kinds["Starting"] = comparison.starts
    if options.prompts:
        prompts = Tests(prompts=tuple(options.prompts))
        kinds["Prompts"] = lambda: comparison.beside_llama(prompts)
    for kind, one_round in kinds.items():
        for number in range(options.rounds):
            print(f"{kind}, round {number + 1} of {options.rounds}", file=sys.stderr)
            one_round()
    medians = comparison.medians()
    if options.deep_layers:
        scale = options.layers / options.deep_layers
        for figures in (medians["motet"], medians["llama.cpp"]):
            seconds = 1 / figures["answer at 0"] + scale * figures["added"]
            figures["answer at 8k"] = 1 / seconds
    return medians


def main() -> None:
    """Print a table, and with --json the ratios as one line."""
    options = _parser().parse_args()
    medians = measured(options)
    ours, theirs, shares = medians["motet"], medians["llama.cpp"], medians["share"]
    speeds = medians["bandwidth"]
    few_bits = (medians["4-bit"], medians["4-bit share"], medians["4-bit bandwidth"])
    rows = [("decode", "answer at 0", ours, shares, speeds)]
    rows += [("decode_4bit", "answer at 0", *few_bits)]
    if options.deep_layers:
        rows += [("decode_8k", "answer at 8k", ours, {}, {})]
    rows += [(f"prefill_{n}", f"prompt {n}", ours, shares, speeds) for n in options.prompts]
    rows += [(f"batch_{n}", f"batch {n}", ours, shares, speeds) for n in options.batches]
    print(f"gpt-oss-20b's shape, {options.layers} layers, {options.threads} threads;")
    print(f"tokens a second, median of {options.rounds} rounds\n")
    print("| test | motet | llama.cpp | ratio | share of the limit | memory, GB/s |")
    print("|---|--:|--:|--:|--:|--:|")
    ratios: Figures = {}
    for key, name, figures, of_limit, bandwidth in rows:
        ratios[key] = figures[name] / theirs[name]
        share = f"{of_limit[name]:.0%}" if of_limit else ""
        speed = f"{bandwidth[name] / 1e9:.0f}" if bandwidth else ""
        both = f"{figures[name]:.2f} | {theirs[name]:.2f}"
        print(f"| {key} | {both} | {ratios[key]:.2f} | {share} | {speed} |")
    ratios["start"] = theirs["start"] / ours["start"]
    ratios["memory"] = ours["memory"] / theirs["memory"]
    seconds = f"{ours['start']:.1f} | {theirs['start']:.1f} | {ratios['start']:.1f}"
    gigabytes = f"{ours['memory'] / 1e9:.1f} | {theirs['memory'] / 1e9:.1f}"
    print(f"| start to first token, seconds | {seconds} | | |")
    print(f"| resident memory, GB | {gigabytes} | {ratios['memory']:.2f} | | |")
    if options.json:
        print(json.dumps({name: round(ratio, 3) for name, ratio in ratios.items()}))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    common_options(parser, LAYERS)
    add("--deep-layers", type=int, default=4, help="for the long context, even; 0: leave it out")
    add("--batches", type=int, nargs="*", default=BATCHES)
    add("--prompts", type=int, nargs="*", default=PROMPTS)
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
