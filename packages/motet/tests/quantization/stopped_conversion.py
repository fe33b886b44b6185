"""Quantises a model and kills itself, by SIGKILL, in the middle of a layer's experts.

python stopped_conversion.py SOURCE TARGET METHOD LAYER: as if the power had gone while that layer
was being written.
"""

import os
import signal
import sys

from floating_models import texts

from motet.checkpoint import open_floating, shards
from motet.quantization import Recipe, quantize_checkpoint

source, target, method, layer = sys.argv[1:]
write = shards.ShardWriter.write


def write_half(self, tensor, written):  # type: ignore[no-untyped-def]
    write(self, tensor, written)
    if tensor.name == f"model.layers.{layer}.mlp.experts.down_proj_blocks":
        os.kill(os.getpid(), signal.SIGKILL)


shards.ShardWriter.write = write_half  # type: ignore[method-assign]
recipe = Recipe(method, dual_scaled=method == "calibrated")  # type: ignore[arg-type]
quantize_checkpoint(
    open_floating(source), target, recipe, texts() if method == "calibrated" else ()
)
