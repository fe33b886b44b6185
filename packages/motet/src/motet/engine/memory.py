"""Whether a model fits into this machine's memory, said before anything is loaded.

Mapped weights take no memory of their own, but a model whose weights do not stay in memory reads
them from the disk for every token. So they count in full, but for what the fast mode derives and
then never reads again.
"""

from __future__ import annotations

from collections.abc import Iterable

from motet.checkpoint import Checkpoint, ModelConfig, Tensor, TensorSpec
from motet.checkpoint.inspection import available_memory, show_bytes
from motet.checkpoint.layout import tensor_specs
from motet.checkpoint.published import published_config
from motet.checkpoint.sizes import cache_bytes
from motet.engine.derived import derived_bytes, derived_dtype, searched_bytes
from motet.engine.errors import EngineError
from motet.engine.pages import PageSizes

_CONTEXT = 4096  # tokens that have to fit at least
_SHARE = 0.5  # of the memory beside the weights that keys and values may take
_DERIVING = ("fast", "fast4")  # the smallest last


def memory_needed(checkpoint: Checkpoint, precision: str, tokens: int) -> int:
    """Bytes for the weights that are read again and again and a context of so many tokens."""
    return _needed(checkpoint.config, checkpoint.tensors.values(), precision, tokens)


def require_memory(checkpoint: Checkpoint, precision: str) -> None:
    """Raises EngineError with what would fit, if the model does not."""
    available = available_memory()
    needed = memory_needed(checkpoint, precision, _CONTEXT)
    if available is None or needed <= available:
        return
    raise EngineError(
        f"the model needs {show_bytes(needed)} of memory at the precision {precision}, but"
        f" {show_bytes(available)} are free here; {_what_fits(checkpoint, available)}"
    )


def spare_memory(checkpoint: Checkpoint, precision: str) -> int | None:
    """Bytes that will be free beside the weights of a model that is not loaded yet, if known."""
    available = available_memory()
    if available is None:
        return None
    return available - memory_needed(checkpoint, precision, tokens=0)


def default_limit(spare: int | None, sizes: PageSizes, context_length: int) -> int:
    """How much keys and values may take: half of what is spare, and always a context of some use.

    Where nobody knows what is spare, it is one whole context.
    """
    whole = sizes.needed(context_length)
    least = sizes.needed(min(context_length, _CONTEXT))
    return whole if spare is None else max(least, round(_SHARE * spare))


def _what_fits(checkpoint: Checkpoint, available: int) -> str:
    for precision in _DERIVING:
        if memory_needed(checkpoint, precision, _CONTEXT) <= available:
            return f"the {precision} precision would fit"
    smaller = published_config("20b")
    if _needed(smaller, tensor_specs(smaller), "fast", _CONTEXT) <= available:
        return "end other programs, or use a smaller model: gpt-oss-20b would fit"
    return "end other programs, or use a smaller model"


def _needed(
    config: ModelConfig, tensors: Iterable[Tensor | TensorSpec], precision: str, tokens: int
) -> int:
    weights = sum(_resident_bytes(each, precision) for each in tensors)
    cache = cache_bytes(config, min(tokens, config.context_length))
    return weights + (2 * cache if precision == "exact" else cache)


def _resident_bytes(tensor: Tensor | TensorSpec, precision: str) -> int:
    if tensor.name == "model.embed_tokens.weight":
        return 0  # a row for each token, and no more
    dtype = derived_dtype(tensor.name, precision)
    first = derived_bytes(tensor, dtype) if dtype else tensor.nbytes
    return first + searched_bytes(tensor, precision)
