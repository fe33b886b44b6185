"""What tests have to know of the machine they run on."""

import os
from functools import partial

import numpy as np
import pytest

from motet import _native
from motet.checkpoint import Checkpoint
from motet.engine.native import Precision, native_model


def executable(isa: str) -> bool:
    """Whether this machine can execute the kernels of an instruction set."""
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("MOTET_ISA", isa)
        try:
            _native.quantise(np.zeros((1, 32), np.float32), False)
        except ValueError:
            return False
    return True


KNOWN = ("portable", "avx2", "avxvnni", "avx512", "avx512vbmi", "dotprod")
INSTRUCTION_SETS = tuple(filter(executable, KNOWN))
"""Those of this machine; test_native_kernels.py says which are missing, and test_foreign_kernels.py
checks some of them all the same."""

not_sanitized = partial(pytest.mark.skipif, "asan" in os.environ.get("LD_PRELOAD", ""))
"""Skips a test under AddressSanitizer, for a `reason`."""


def model_on(
    isa: str, checkpoint: Checkpoint, *, precision: Precision = "exact", threads: int | None = None
) -> _native.Model:
    """The native model with the kernels of this instruction set."""
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("MOTET_ISA", isa)
        model = native_model(checkpoint, precision=precision, threads=threads)
    assert model.instruction_set == isa
    return model
