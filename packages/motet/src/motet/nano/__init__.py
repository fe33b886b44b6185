"""The embedded nano model: a gpt-oss model of a few megabytes, part of the package.

Made by `motet.training.train_nano`; MODEL_CARD.md says what it can do, measured.
"""

from importlib.resources import files
from pathlib import Path


def embedded_nano_path() -> Path:
    """The folder of the embedded checkpoint."""
    return Path(str(files("motet.nano") / "model"))
