"""Kernels this machine cannot execute, checked all the same.

Those of arm64 are compiled by a cross-compiler and run in an emulator; those of AVX-VNNI and
AVX-512 are compiled with the few instructions AVX2 lacks written out in C++.
"""

import platform
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2]
NATIVE, TESTS = PACKAGE / "native", PACKAGE / "tests" / "native"
ARM_COMPILER, ARM_EMULATOR = "aarch64-linux-gnu-g++", "qemu-aarch64"
FLAGS = ("-std=c++20", "-O2", "-ffp-contract=off", f"-I{NATIVE}")


def compile_(compiler: str, *arguments: str | Path) -> None:
    command = [compiler, *FLAGS, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def compiled_kernels(
    compiler: str, folder: Path, isa: str, options: Sequence[str | Path], without: str = ""
) -> list[Path]:
    """The object files of one instruction set."""
    objects = []
    for source in sorted((NATIVE / "kernels").glob("*.cpp")):
        if source.stem in ("dispatch", without):
            continue
        objects.append(folder / f"{source.stem}-{isa}.o")
        compile_(compiler, *options, f"-DMOTET_ISA={isa}", "-c", source, "-o", objects[-1])
    return objects


@pytest.fixture(scope="module")
def arm_program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The check with the portable and the dot-product kernels of arm64."""
    if not (shutil.which(ARM_COMPILER) and shutil.which(ARM_EMULATOR)):
        pytest.skip(
            f"there is no {ARM_COMPILER} and {ARM_EMULATOR}"
            " (Debian: g++-aarch64-linux-gnu, qemu-user)"
        )
    folder = tmp_path_factory.mktemp("arm64")
    strict = ("-Wall", "-Wextra", "-Werror", "-static")
    sources: list[Path] = [TESTS / "kernel_check.cpp", NATIVE / "kernels" / "dispatch.cpp"]
    for isa, options in (("portable", ()), ("dotprod", ("-march=armv8.2-a+dotprod",))):
        sources += compiled_kernels(ARM_COMPILER, folder, isa, (*strict, *options))
    compile_(ARM_COMPILER, *strict, *sources, "-o", folder / "check")
    return folder / "check"


@pytest.mark.parametrize("isa", ["portable", "dotprod"])
def test_arm64_kernels_against_double_precision(arm_program: Path, isa: str) -> None:
    command = [ARM_EMULATOR, "-cpu", "max", "-E", f"MOTET_ISA={isa}", str(arm_program)]
    assert output_of(command).startswith(f"{isa}: ")


@pytest.mark.parametrize(
    "defined",
    [
        pytest.param([], id="AVX-VNNI"),
        pytest.param(["-DEMULATED_AVX512"], id="AVX-512"),
        pytest.param(["-DEMULATED_AVX512", "-DEMULATED_VBMI"], id="AVX-512 with VBMI"),
    ],
)
def test_emulated_kernels_against_double_precision(tmp_path: Path, defined: list[str]) -> None:
    if platform.machine() != "x86_64" or not shutil.which("g++"):
        pytest.skip("the instructions are emulated with those of an x86-64 machine, by g++")
    options: list[str | Path] = ["-mavx2", "-mfma", "-w", "-Wno-psabi"]
    options += [*defined, "-include", TESTS / "emulated_avx512.hpp"]
    objects = compiled_kernels("g++", tmp_path, "emulated_table", options, without="peak")
    sources = (TESTS / "kernel_check.cpp", TESTS / "emulated_kernels.cpp", *objects)
    compile_("g++", *sources, "-o", tmp_path / "check")
    assert output_of([str(tmp_path / "check")]).startswith("emulated_table: ")


def output_of(command: list[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
