"""Quantisation: a gpt-oss model in floats, such as a fine-tune, becomes one with MXFP4 experts.

`quantize_checkpoint` streams layer by layer, in memory for a layer's blocks and a few matrices, and
goes on where it was stopped. Experts are rounded plainly, by a search for each block's scale, or
with calibration texts; dual scaling may go before any of these and is folded exactly into the
model's other numbers. `compare` says what a result has lost. docs/quantization.md has the numbers.
"""

from motet.quantization.conversion import Recipe, quantize_checkpoint
from motet.quantization.evaluation import Comparison, compare
from motet.quantization.report import TensorError, by_kind
from motet.quantization.weights import StoredWeights

__all__ = [
    "Comparison",
    "Recipe",
    "StoredWeights",
    "TensorError",
    "by_kind",
    "compare",
    "quantize_checkpoint",
]
