"""The kernels of another architecture, compiled by a cross-compiler and run in an emulator."""

import shutil
import subprocess
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2]
NATIVE = PACKAGE / "native"
COMPILER, EMULATOR = "aarch64-linux-gnu-g++", "qemu-aarch64"
FLAGS = ("-std=c++20", "-O2", "-Wall", "-Wextra", "-Werror", "-ffp-contract=off", "-static")


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The check, with the portable and the dot-product kernels of arm64."""
    if not (shutil.which(COMPILER) and shutil.which(EMULATOR)):
        pytest.skip(
            f"there is no {COMPILER} and {EMULATOR} (Debian: g++-aarch64-linux-gnu, qemu-user)"
        )
    folder = tmp_path_factory.mktemp("arm64")
    includes = f"-I{NATIVE}"
    objects = []
    for isa, options in (("portable", ()), ("dotprod", ("-march=armv8.2-a+dotprod",))):
        for source in sorted((NATIVE / "kernels").glob("*.cpp")):
            if source.stem == "dispatch":
                continue
            target = folder / f"{source.stem}-{isa}.o"
            define = f"-DMOTET_ISA={isa}"
            compile_(*options, define, includes, "-c", str(source), "-o", str(target))
            objects.append(str(target))
    check = PACKAGE / "tests" / "native" / "kernel_check.cpp"
    dispatch = NATIVE / "kernels" / "dispatch.cpp"
    executable = folder / "kernel_check"
    compile_(includes, str(check), str(dispatch), *objects, "-o", str(executable))
    return executable


def compile_(*arguments: str) -> None:
    done = subprocess.run([COMPILER, *FLAGS, *arguments], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("isa", ["portable", "dotprod"])
def test_arm64_kernels_against_double_precision(program: Path, isa: str) -> None:
    command = [EMULATOR, "-cpu", "max", "-E", f"MOTET_ISA={isa}", str(program)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.startswith(f"{isa}: ")
