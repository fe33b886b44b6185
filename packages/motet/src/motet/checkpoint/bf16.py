"""bfloat16 in numpy: the upper half of a float32, as `uint16` bit patterns.

Rounding is to nearest, ties to even, as the hardware and torch do it: adding 0x7FFF plus the lowest
kept bit carries into the upper half exactly when it should. Work goes in slices that fit a cache.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

_SLICE = 1 << 16


def to_bf16(values: NDArray[np.floating[Any]]) -> NDArray[np.uint16]:
    """Round to bfloat16, ties to even; too large becomes infinity, NaN stays NaN. Any shape."""
    source = np.asarray(values, dtype=np.float32, order="C")
    result = np.empty(source.shape, dtype=np.uint16)
    bits, out = source.reshape(-1).view(np.uint32), result.reshape(-1)
    for start in range(0, bits.size, _SLICE):
        piece = bits[start : start + _SLICE]
        rounded = piece >> 16
        rounded &= 1
        rounded += 0x7FFF
        rounded += piece
        rounded >>= 16
        nan = (piece & 0x7FFFFFFF) > 0x7F800000
        if nan.any():
            rounded[nan] = (piece[nan] >> 16) | 0x40
        out[start : start + _SLICE] = rounded
    return result


def from_bf16(patterns: NDArray[np.uint16]) -> NDArray[np.float32]:
    """Widen to float32, exactly. Any shape."""
    widened = np.asarray(patterns, dtype=np.uint16).astype(np.uint32)
    widened <<= 16
    return widened.view(np.float32)
