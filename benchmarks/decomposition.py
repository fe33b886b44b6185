"""Projective decomposition: how many passes each method takes, and what a pass costs.

    python benchmarks/decomposition.py                  # passes, and a pass at 4,000 × 4,000
    python benchmarks/decomposition.py --mapped 20000   # one float32 file of that size too

The first table counts passes over the matrix to a residual of 1e-6 (the largest |root mean square −
1| of a row or column). The second times one pass beside single reads of the same matrix by NumPy,
measured in turns in the same run; read the ratios. The third decomposes a mapped file and the same
matrix in memory, and gives the memory that NumPy and Python asked for beyond it.
"""

import argparse
import os
import tempfile
import time
import tracemalloc
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from scipy import sparse

import projective
from projective.iteration import METHODS

ROUNDS = 7
LIMIT = 10_000


def sparse_matrix(rng: np.random.Generator, m: int, n: int, density: float) -> sparse.csr_array:
    count = round(density * m * n)
    places = np.concatenate([rng.integers(m * n, size=count), np.arange(m) * n + np.arange(m) % n])
    places = np.unique(places)
    values = rng.standard_normal(len(places))
    return sparse.csr_array((values, (places // n, places % n)), shape=(m, n))


def cycle() -> np.ndarray:
    """A 12-cycle of which one entry is so small that alternating steps take about a thousand."""
    matrix = np.eye(12) + np.roll(np.eye(12), 1, axis=1)
    matrix[0, 0] = 2.7e-8
    return matrix


def matrices(m: int, n: int) -> Iterator[tuple[str, object]]:
    rng = np.random.default_rng(0)
    yield "Gaussian", rng.standard_normal((m, n))
    yield "Poisson(0.5)", rng.poisson(0.5, (m, n)).astype(float)
    yield "5 % sparse", sparse_matrix(rng, m, n, 0.05)
    yield "Student t₂", rng.standard_t(2, (m, n))
    yield "lognormal(2)", rng.lognormal(0, 2, (m, n))
    yield "Cauchy", rng.standard_cauchy((m, n))
    gaussian = rng.standard_normal((m, n))
    yield (
        "Gaussian × e^(10 N) rows, columns",
        (gaussian * np.exp(10 * rng.standard_normal((m, 1)) + 10 * rng.standard_normal(n))),
    )
    yield "12-cycle", cycle()


def count_passes(sizes: list[tuple[int, int]]) -> None:
    print("| matrix | size | " + " | ".join(METHODS) + " |")
    print("|---|---|" + "--:|" * len(METHODS))
    for m, n in sizes:
        for name, matrix in matrices(m, n):
            cells = []
            for method in METHODS:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore", projective.ProjectiveWarning)
                    found = projective.decompose(
                        matrix, method=method, tolerance=1e-6, max_passes=LIMIT
                    )
                record = found.convergence
                cells.append(str(record.passes) if record.converged else f"> {LIMIT}")
            size = "12 × 12" if name == "12-cycle" else f"{m} × {n}"
            print(f"| {name} | {size} | " + " | ".join(cells) + " |", flush=True)


def seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


class PassTimes:
    """Wall-clock times of single passes, by kind of arithmetic."""

    def __init__(self, matrix: object) -> None:
        from projective.balance import Balance
        from projective.inputs import open_cells

        opened = open_cells(matrix, zeros_missing=False, threads=None)
        ones = [np.ones(length) for length in opened.cells.shape]
        self._inventory = lambda: opened.cells.inventory(*ones)
        self._balance = Balance(opened.cells, self._inventory(), *ones, 1e-6)

    def first(self) -> object:
        return self._inventory()

    def single(self) -> object:
        self._balance.residuals.clear()
        return self._balance.at(self._balance.start)

    def double(self) -> object:
        self._balance.residuals[:] = [0.0]
        return self._balance.at(self._balance.start)


def time_passes(size: int) -> None:
    print("\n| matrix | work | ms | × einsum read | × A.sum() | × np.square(A).sum() |")
    print("|---|---|--:|--:|--:|--:|")
    rng = np.random.default_rng(0)
    for dtype in (np.float64, np.float32):
        matrix = rng.standard_normal((size, size), dtype=np.float32).astype(dtype)
        passes = PassTimes(matrix)
        works: dict[str, Callable[[], object]] = {
            "einsum('ij,ij->')": lambda a=matrix: np.einsum("ij,ij->", a, a),
            "A.sum()": lambda a=matrix: a.sum(),
            "np.square(A).sum()": lambda a=matrix: np.square(a).sum(),
            "first look": passes.first,
            "pass": passes.double,
        }
        if dtype is np.float32:
            works["pass in single precision"] = passes.single
        best = dict.fromkeys(works, float("inf"))
        for _ in range(ROUNDS):
            for name, work in works.items():
                best[name] = min(best[name], seconds(work))
        reads = list(best.values())[:3]
        for name, took in best.items():
            label = f"| {np.dtype(dtype)} {size} × {size} | {name} | {took * 1e3:.1f} |"
            print(label, " | ".join(f"{took / read:.2f}" for read in reads), "|")


def decompose_mapped(size: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "matrix.npy"
        shape = (size, size)
        written = np.lib.format.open_memmap(path, "w+", np.float32, shape)
        rng = np.random.default_rng(0)
        for start in range(0, size, 500):
            written[start : start + 500] = rng.standard_normal((min(500, size - start), size))
        written.flush()
        megabytes = written.nbytes / 1e6
        del written
        mapped = np.load(path, mmap_mode="r")
        read = min(seconds(lambda: np.einsum("ij,ij->", mapped, mapped)) for _ in range(2))
        print(f"\nfloat32 {size} × {size}, {megabytes:.0f} MB, one einsum read in {read:.2f} s")
        for kind, source in (("mapped", path), ("in memory", np.array(mapped))):
            tracemalloc.start()
            started = time.perf_counter()
            found = projective.decompose(source, tolerance=1e-6)
            took = time.perf_counter() - started
            _, peak = tracemalloc.get_traced_memory()
            tracemalloc.stop()
            passes = found.convergence.passes
            share = f"{peak / 1e6:.1f} MB beyond it, {peak / megabytes / 1e4:.2f} %"
            print(f"{kind}: {passes} passes and the first look in {took:.1f} s, {share}")


def main() -> None:
    parser = argparse.ArgumentParser(description="Passes of projective decomposition, their cost.")
    parser.add_argument("--sizes", nargs="+", default=["300x200", "1000x1000"], metavar="MxN")
    parser.add_argument("--timed", type=int, default=4000, help="side of the matrices timed")
    parser.add_argument("--mapped", type=int, help="side of a float32 file to decompose")
    options = parser.parse_args()
    print(f"{os.cpu_count()} processors, load {os.getloadavg()[0]:.1f}\n")
    sizes = [tuple(map(int, size.split("x"))) for size in options.sizes]
    count_passes([(size[0], size[1]) for size in sizes])
    time_passes(options.timed)
    if options.mapped:
        decompose_mapped(options.mapped)


if __name__ == "__main__":
    main()
