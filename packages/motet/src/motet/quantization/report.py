"""What rounding has cost, tensor by tensor."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from motet.quantization.weights import Floats

BITS = {"MXFP4": 4.25, "Q8_0": 8.5, "BF16": 16.0}


@dataclass
class TensorError:
    """Squares summed over a tensor; `error / square` is its relative squared error.

    `plain_error`: what plain rounding to MXFP4 would have cost. Factors that were taken out are put
    back first, so that errors compare.
    """

    name: str
    encoding: str
    method: str
    square: float = 0.0
    error: float = 0.0
    plain_error: float = 0.0

    def add(self, square: float, error: float, plain_error: float) -> None:
        """Count some of its values."""
        self.square += square
        self.error += error
        self.plain_error += plain_error

    @property
    def bits(self) -> float:
        """Bits a value takes, its share of the block's scale included."""
        return BITS[self.encoding]

    @property
    def relative(self) -> float:
        """The relative squared error."""
        return self.error / self.square if self.square else 0.0

    @property
    def plain_relative(self) -> float:
        """The relative squared error of plain rounding to MXFP4."""
        return self.plain_error / self.square if self.square else 0.0

    def to_json(self) -> dict[str, Any]:
        """For programs, and to be kept with an unfinished model."""
        return asdict(self) | {
            "bits": self.bits,
            "relative_error": self.relative,
            "plain_relative_error": self.plain_relative,
        }

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> TensorError:
        """What `to_json` made."""
        names = ("name", "encoding", "method", "square", "error", "plain_error")
        return cls(**{name: values[name] for name in names})


def by_kind(errors: Iterable[TensorError]) -> list[TensorError]:
    """The same, added up over the layers: one for each kind of tensor, in order."""
    kinds: dict[tuple[str, str, str], TensorError] = {}
    for each in errors:
        kind = ".".join(part for part in each.name.split(".")[-2:] if part not in _NOISE)
        key = (kind, each.encoding, each.method)
        total = kinds.setdefault(key, TensorError(*key))
        total.add(each.square, each.error, each.plain_error)
    return list(kinds.values())


_NOISE = ("weight", "experts", "model")


def squared(values: Floats) -> float:
    """The sum of squares."""
    return float(np.square(values).sum(dtype=np.float64))
