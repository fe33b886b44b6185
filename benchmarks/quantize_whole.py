"""Quantising a fine-tune of full size: memory, SIGKILL in the middle, and whether the result runs.

    python benchmarks/quantize_whole.py --work FOLDER              # gpt-oss-20b; 70 GB of disk
    python benchmarks/quantize_whole.py --work FOLDER --layers 2   # the same, small

Random weights in a published shape are written in bfloat16 throughout, as a fine-tune is, and
quantised by `motet quantize`, which is killed when half of the layers are there and started again.
Memory is the largest resident set of any of its processes, mapped pages included. The result is
compared with the experts the weights came from and computes a few tokens. All that is written in
the folder is removed again.
"""

import argparse
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from motet.checkpoint import Tensor, dequantize, open_checkpoint
from motet.engine.native import native_model

SECONDS = 0.05  # between two looks at a process
TOKENS = 8


@dataclass(frozen=True)
class Ran:
    """How a command went."""

    seconds: float
    peak: int  # bytes resident


def resident(process: int) -> int:
    """The most bytes that a running process has had resident; 0 if it has ended."""
    try:
        status = Path(f"/proc/{process}/status").read_text()
    except OSError:
        return 0
    lines = [line for line in status.splitlines() if line.startswith("VmHWM:")]
    return int(lines[0].split()[1]) * 1024 if lines else 0


def run(*arguments: str, kill_at: tuple[Path, int] | None = None) -> Ran:
    """Run `motet`; with `kill_at`, kill it once a folder holds so many finished parts."""
    started, peak = time.monotonic(), 0
    process = subprocess.Popen([sys.executable, "-m", "motet", *arguments])
    while process.poll() is None:
        peak = max(peak, resident(process.pid))
        if kill_at and len(list(kill_at[0].glob("*.safetensors"))) >= kill_at[1]:
            process.kill()
            process.wait()
            return Ran(time.monotonic() - started, peak)
        time.sleep(SECONDS)
    if process.returncode:
        raise SystemExit(f"motet {' '.join(arguments)} ended with {process.returncode}")
    if kill_at:
        raise SystemExit("it was finished before it could be killed; take more --layers")
    return Ran(time.monotonic() - started, peak)


def same_values(first: Path, second: Path, layers: list[int]) -> bool:
    """Whether the experts of some layers have the same values in both."""
    ours, theirs = (open_checkpoint(path).tensors for path in (first, second))

    def values(tensors: Mapping[str, Tensor], name: str, expert: int) -> NDArray[np.float32]:
        blocks, scales = (tensors[f"{name}_{part}"].data[expert] for part in ("blocks", "scales"))
        return dequantize(blocks, scales)

    return all(
        np.array_equal(values(ours, name, expert), values(theirs, name, expert))
        for layer in layers
        for matrix in ("gate_up_proj", "down_proj")
        for name in [f"model.layers.{layer}.mlp.experts.{matrix}"]
        for expert in range(len(ours[f"{name}_scales"].data))
    )


def computes(path: Path) -> bool:
    """Whether the engine opens the model and makes finite logits."""
    model = native_model(open_checkpoint(path), precision="fast")
    logits = model.step([(model.sequence(), np.arange(TOKENS, dtype=np.int32), TOKENS)])
    return bool(np.isfinite(logits).all())


def main() -> None:
    """Print one table."""
    parser = argparse.ArgumentParser(description="Quantise a model of full size, killed once.")
    parser.add_argument("--work", type=Path, required=True, help="a folder on a large disk")
    parser.add_argument("--shape", default="20b")
    parser.add_argument("--layers", type=int, default=24)
    options = parser.parse_args()
    released, wide, result = (options.work / name for name in ("released", "wide", "result"))
    for folder in (released, wide, result):
        if folder.exists():
            raise SystemExit(f"{folder} is in the way; name another folder with --work")
    options.work.mkdir(parents=True, exist_ok=True)
    try:
        shape = ("--shape", options.shape, "--layers", str(options.layers))
        run("bench", "synth", str(released), *shape)
        widened = run("dequantize", str(released), str(wide))
        size = sum(path.stat().st_size for path in wide.glob("*.safetensors"))
        quantize = ("quantize", str(wide), str(result))
        partial = result.with_name("result.partial")
        killed = run(*quantize, kill_at=(partial, options.layers // 2))
        resumed = run(*quantize)
        looked_at = sorted({0, options.layers // 2, options.layers - 1})
        same, works = same_values(released, result, looked_at), computes(result)
    finally:
        for folder in (released, wide, result, result.with_name("result.partial")):
            shutil.rmtree(folder, ignore_errors=True)
    print(f"\ngpt-oss-{options.shape}'s shape, {options.layers} layers, {size / 1e9:.1f} GB wide\n")
    print("| | seconds | largest resident set, MiB |\n|---|--:|--:|")
    rows = {
        "motet dequantize": widened,
        "motet quantize, killed in the middle": killed,
        "motet quantize, resumed": resumed,
    }
    for name, ran in rows.items():
        print(f"| {name} | {ran.seconds:.0f} | {ran.peak / 2**20:.0f} |")
    print(f"\nThe experts of layers {looked_at} have the values they came from: {same}.")
    print(f"The result computes {TOKENS} tokens: {works}.")


if __name__ == "__main__":
    main()
