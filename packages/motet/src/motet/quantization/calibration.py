"""What matrices are given: the inputs of calibration texts, layer by layer.

The texts' hidden states go through the layers as these are rounded, so that a layer is rounded for
the inputs it will have. They lie beside the finished parts of the result, one file for each layer
still to come, so that a conversion that was stopped goes on without computing them again.
"""

import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from motet.checkpoint import CheckpointError
from motet.checkpoint.errors import system_errors
from motet.quantization.forward import Tokens, embedded
from motet.quantization.weights import Floats, Weights


class CalibrationStates:
    """The hidden states [tokens, hidden] of each text before each layer, kept in a folder."""

    def __init__(self, folder: Path, texts: Sequence[Tokens]) -> None:
        self.folder = folder
        self.texts = texts

    def before(self, index: int, weights: Weights) -> list[Floats]:
        """The states before a layer. Raises CheckpointError where they are gone."""
        if index == 0:
            return embedded(weights, self.texts)
        path = self._path(index)
        with system_errors("read", path):
            if not path.is_file():
                raise CheckpointError(
                    f"{path} is gone, which the next layer is rounded for: delete the folder and"
                    " begin again"
                )
            rows = np.load(path, allow_pickle=False)
        return np.split(rows, np.cumsum([len(text) for text in self.texts])[:-1])

    def keep(self, index: int, states: Sequence[Floats]) -> None:
        """Keep the states before a layer, and forget those before the last but one."""
        path = self._path(index)
        temporary = path.with_suffix(".temporary")
        with system_errors("write", path):
            with temporary.open("wb") as file:
                np.save(file, np.concatenate(states))
                file.flush()
                os.fsync(file.fileno())
            temporary.rename(path)
        with suppress(OSError):
            self._path(index - 2).unlink()

    def forget(self) -> None:
        """Delete what is kept."""
        for path in self.folder.glob("states-*.npy"):
            path.unlink()

    def _path(self, index: int) -> Path:
        return self.folder / f"states-{index}.npy"


def second_moments(inputs: Floats) -> NDArray[np.float64]:
    """The mean products [inputs, inputs] of what a matrix is given [tokens, inputs]."""
    return (inputs.T @ inputs).astype(np.float64) / max(1, len(inputs))


def root_mean_squares(inputs: Floats) -> Floats:
    """The size [inputs] of each input [tokens, inputs]."""
    sizes: Floats = np.sqrt(np.square(inputs).mean(axis=0))
    return sizes
