"""From a model in floats to one with MXFP4 experts, layer by layer.

A layer is one part of `motet.checkpoint.resumable`: it is read, folded if dual scaling is wanted,
rounded and written before the next one is looked at, so that memory holds a layer's blocks and a
few matrices, whatever the model's size. As GGUF the attention matrices, embeddings and head may be
rounded too; they are kept as bytes in the parts, of which the file is then made.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from motet.checkpoint import (
    Checkpoint,
    CheckpointError,
    ModelConfig,
    Tensor,
    TensorSpec,
    TensorStream,
    dequantize,
    quantize,
    to_bf16,
)
from motet.checkpoint.gguf import write_gguf
from motet.checkpoint.gguf.blocks import pack_mxfp4
from motet.checkpoint.gguf.conversion import Encodings
from motet.checkpoint.gguf.writing import gguf_specs
from motet.checkpoint.layout import tensor_specs
from motet.checkpoint.resumable import Note, Part, fingerprint, model_parts, unfinished
from motet.checkpoint.safetensors import SafetensorsFile
from motet.checkpoint.tensors import Dtype, data_shape, row_runs
from motet.checkpoint.writing import known_vocabulary
from motet.quantization.calibration import (
    CalibrationStates,
    root_mean_squares,
    second_moments,
)
from motet.quantization.experts import (
    Method,
    RoundedExperts,
    RoundedWeights,
    round_experts,
    round_experts_for,
    rounded,
)
from motet.quantization.folding import FoldedWeights, folded_head, folded_layer
from motet.quantization.forward import (
    Tokens,
    attention_output,
    experts_output,
    normalised,
    routed,
)
from motet.quantization.report import TensorError, squared
from motet.quantization.scaling import require_projective
from motet.quantization.weights import Floats, StoredWeights, Weights

Encoding: TypeAlias = Literal["bf16", "int8", "mxfp4"]
Written: TypeAlias = Callable[[int], object]

_DTYPES: dict[Encoding, Dtype] = {"bf16": "BF16", "int8": "Q8_0", "mxfp4": "MXFP4"}
_ATTENTION = ("q_proj.weight", "k_proj.weight", "v_proj.weight", "o_proj.weight")
_EMBEDDINGS = ("model.embed_tokens.weight", "lm_head.weight")
_CALIBRATED_ROWS = 16_384  # of the head, at once


@dataclass(frozen=True)
class Recipe:
    """How to round: the experts' `method`, whether dual scaling goes before it, and what else.

    `attention` and `embeddings` (with the head): the safetensors layout of gpt-oss knows bfloat16
    only, GGUF all three; int8 is Q8_0.
    """

    method: Method = "search"
    dual_scaled: bool = False
    attention: Encoding = "bf16"
    embeddings: Encoding = "bf16"


def quantize_checkpoint(
    source: Checkpoint,
    target: Path | str,
    recipe: Recipe = Recipe(),
    texts: Sequence[Tokens] = (),
    *,
    written: Written = lambda _: None,
) -> list[TensorError]:
    """Write a model in floats (`open_floating`) with MXFP4 experts: a folder, or a .gguf file.

    `texts`: token ids of calibration texts, which the method "calibrated" needs and which tell dual
    scaling how large inputs are. `written`: told of the bytes of the result as they are made, out
    of `result_bytes`. What was stopped goes on where it was. Raises CheckpointError and, without
    the package projective, ScalingError.
    """
    target = Path(target)
    as_file = is_file_target(target)
    _check(source, target, recipe, texts, as_file)
    config = source.config
    vocabulary = known_vocabulary(target, config, source.cut_vocabulary)
    conversion = _Conversion(source, recipe, texts, written)
    parts = model_parts(conversion.specs(), conversion.make)
    steps = {
        "version": 1,
        "source": fingerprint(source),
        "recipe": asdict(recipe),
        "texts": sha256(b"".join(text.tobytes() for text in texts)).hexdigest(),
        "as_file": as_file,
    }
    with unfinished(target, steps, result_bytes(source, target, recipe)) as work:
        conversion.begin(work.folder)
        for part in parts:
            work.add(part, written)
        errors = [TensorError.from_json(note) for note in work.notes()]
        if as_file:
            tensors = conversion.parts_as_tensors(work.folder, parts)
            write_gguf(
                target, config, tensors, vocabulary, encodings=encodings(recipe), written=written
            )
            work.discard()
        else:
            conversion.end()
            work.finish(config, vocabulary, parts, "MXFP4", source.companions)
    return errors


def is_file_target(target: Path) -> bool:
    """Whether a target means a GGUF file."""
    return target.suffix == ".gguf"


def result_bytes(source: Checkpoint, target: Path, recipe: Recipe) -> int:
    """Bytes that a conversion writes, the parts that a file is made of included."""
    total = sum(spec.nbytes for spec in _part_specs(source.config, recipe))
    if is_file_target(target):
        total += sum(spec.nbytes for spec in gguf_specs(source.config, encodings(recipe)))
    return total


def encodings(recipe: Recipe) -> Encodings:
    """How the matrices of a GGUF file are encoded."""

    def encoding(name: str) -> Dtype | None:
        if name.endswith(_ATTENTION):
            return _DTYPES[recipe.attention]
        return _DTYPES[recipe.embeddings] if name in _EMBEDDINGS else None

    return encoding


def _check(
    source: Checkpoint, target: Path, recipe: Recipe, texts: Sequence[Tokens], as_file: bool
) -> None:
    if not as_file and {recipe.attention, recipe.embeddings} != {"bf16"}:
        raise CheckpointError(
            f"cannot write {target}: the safetensors layout of gpt-oss keeps attention and"
            " embeddings in bfloat16; name a .gguf file, which has 8 and 4 bits for them"
        )
    if recipe.method == "calibrated" and not texts:
        raise CheckpointError("the calibrated method needs texts to compute a layer's inputs from")
    if texts and recipe.method != "calibrated" and not recipe.dual_scaled:
        raise CheckpointError(
            "calibration texts are of no use here: choose the calibrated method or dual scaling"
        )
    if any(text.size and int(text.max()) >= source.config.vocabulary_size for text in texts):
        raise CheckpointError("the calibration texts hold token ids that the model does not have")
    if recipe.dual_scaled:
        require_projective()


def _part_specs(config: ModelConfig, recipe: Recipe) -> Iterator[TensorSpec]:
    """What the parts hold: the model's tensors, matrices in MXFP4 as bytes."""
    encoding = encodings(recipe)
    for spec in tensor_specs(config):
        if encoding(spec.name) == "MXFP4":
            yield TensorSpec(spec.name, "U8", data_shape("MXFP4", spec.shape))
        else:
            yield spec


class _Conversion:
    """Makes the parts, one after the other."""

    def __init__(
        self, source: Checkpoint, recipe: Recipe, texts: Sequence[Tokens], written: Written
    ) -> None:
        self.config = source.config
        self.source = source
        self.weights = StoredWeights(source)
        self.recipe = recipe
        self.texts = texts
        self.written = written
        self.states: CalibrationStates | None = None

    def begin(self, folder: Path) -> None:
        """Work in this folder."""
        if self.texts:
            self.states = CalibrationStates(folder, self.texts)

    def end(self) -> None:
        """Leave nothing but the parts in it."""
        if self.states:
            self.states.forget()

    def specs(self) -> list[TensorSpec]:
        """What the parts hold."""
        return list(_part_specs(self.config, self.recipe))

    def make(self, specs: list[TensorSpec], notes: list[Note]) -> Iterator[Tensor | TensorStream]:
        """The tensors of a part."""
        name = specs[0].name
        if name.startswith("model.layers."):
            return self._layer(int(name.split(".")[2]), specs, notes)
        return self._outer(specs, notes)

    def parts_as_tensors(self, folder: Path, parts: Sequence[Part]) -> dict[str, Tensor]:
        """What lies in the finished parts, as `write_gguf` wants it."""
        tensors = {}
        shapes = {spec.name: spec for spec in tensor_specs(self.config)}
        for part in parts:
            file = SafetensorsFile(folder / part.name)
            for spec in part.specs:
                wanted = shapes[spec.name]
                dtype: Dtype = wanted.dtype if wanted == spec else "MXFP4"
                tensors[spec.name] = Tensor(spec.name, dtype, wanted.shape, file.data(spec.name))
        return tensors

    def _layer(
        self, index: int, specs: list[TensorSpec], notes: list[Note]
    ) -> Iterator[Tensor | TensorStream]:
        states = self.states.before(index, self.weights) if self.states else None
        folded: Weights = self.weights
        if self.recipe.dual_scaled:
            sizes = self._sizes(index, states) if states else {}
            attention = self.recipe.attention == "mxfp4"
            folded = folded_layer(self.config, folded, index, sizes, attention=attention)
        packed, weights = self._attention(index, folded, states, notes)
        experts = self._experts(index, weights, states)
        notes += [each.to_json() for each in experts.errors.values()]
        for spec in specs:
            if spec.name in experts.arrays:
                data = experts.arrays.pop(spec.name)
                yield Tensor(spec.name, spec.dtype, spec.shape, data)
            elif spec.name in packed:
                self.written(spec.nbytes)
                yield Tensor(spec.name, spec.dtype, spec.shape, packed[spec.name])
            else:
                yield self._copied(spec, folded)

    def _experts(self, index: int, weights: Weights, states: list[Floats] | None) -> RoundedExperts:
        """A layer's experts, rounded; texts pass through them to the next layer."""
        config, method = self.config, self.recipe.method
        if self.states is None or states is None:
            return round_experts(config, self.weights, weights, index, method, self.written)
        middle = attention_output(config, weights, index, states)
        if method == "calibrated":
            experts, behind = round_experts_for(
                config, self.weights, weights, index, middle, self.written
            )
        else:
            experts = round_experts(config, self.weights, weights, index, method, self.written)
            behind = experts_output(config, RoundedWeights(weights, experts), index, middle)
        self.states.keep(index + 1, behind)
        return experts

    def _sizes(self, index: int, states: list[Floats]) -> dict[str, Floats]:
        """The sizes of a layer's inputs, of all experts' together."""
        prefix = f"model.layers.{index}."
        seen: dict[str, list[Floats]] = {}

        def note(name: str, inputs: Floats) -> None:
            seen.setdefault(name, []).append(inputs)

        middle = attention_output(self.config, self.weights, index, states, note)
        inputs, _, _ = routed(self.config, self.weights, index, np.concatenate(middle))
        seen[f"{prefix}mlp.experts.gate_up_proj"] = [inputs]
        return {name: root_mean_squares(np.concatenate(each)) for name, each in seen.items()}

    def _attention(
        self, index: int, folded: Weights, states: list[Floats] | None, notes: list[Note]
    ) -> tuple[dict[str, NDArray[np.uint8]], Weights]:
        """The attention matrices in ggml's MXFP4, and the layer with their rounded values."""
        if self.recipe.attention != "mxfp4":
            return {}, folded
        prefix = f"model.layers.{index}.self_attn."
        packed: dict[str, NDArray[np.uint8]] = {}
        weights = FoldedWeights(folded)
        if isinstance(folded, FoldedWeights):
            weights = replace(folded, replaced=dict(folded.replaced))
        for names, inputs in ((_ATTENTION[:3], "qkv"), (_ATTENTION[3:], "o_proj")):
            moments = None
            if states and self.recipe.method == "calibrated":
                seen: list[Floats] = []

                def note(
                    name: str, rows: Floats, wanted: str = inputs, seen: list[Floats] = seen
                ) -> None:
                    if name.endswith(wanted):
                        seen.append(rows)

                attention_output(self.config, weights, index, states, note)
                moments = second_moments(np.concatenate(seen))
            for name in (f"{prefix}{each}" for each in names):
                values = folded.whole(name)
                blocks, scales = rounded(name, values, self.recipe.method, moments)
                weights.replaced[name] = dequantize(blocks, scales)
                packed[name] = pack_mxfp4(blocks, scales)
                notes.append(self._cost(name, values, weights.replaced[name]).to_json())
        return packed, weights

    def _cost(self, name: str, values: Floats, rounded_values: Floats) -> TensorError:
        """What rounding a matrix has cost, and what plain rounding of the source would have."""
        original = self.weights.whole(name)
        plain = dequantize(*quantize(original, search=False)) - original
        error = TensorError(name, "MXFP4", self.recipe.method)
        share = squared(rounded_values - values) / (squared(values) or 1.0)
        square = squared(original)
        error.add(square, share * square, squared(plain))
        return error

    def _outer(self, specs: list[TensorSpec], notes: list[Note]) -> Iterator[Tensor | TensorStream]:
        """Embeddings, or the last norm and the head."""
        weights: Weights = self.weights
        columns: dict[str, Floats] = {}
        moments = None
        rounds_head = self.recipe.embeddings == "mxfp4" and specs[-1].name == "lm_head.weight"
        if rounds_head and self.states and self.recipe.method == "calibrated":
            moments = second_moments(self._last_inputs(weights))
        if rounds_head and self.recipe.dual_scaled:
            sizes = {}
            if self.states:
                sizes["lm_head"] = root_mean_squares(self._last_inputs(weights))
            norm, factors = folded_head(weights, sizes)
            weights = FoldedWeights(weights, {"model.norm.weight": norm})
            columns["lm_head.weight"] = factors
            if moments is not None:
                moments *= np.outer(factors, factors)
        for spec in specs:
            if spec.dtype == "U8":
                yield self._packed(spec, columns.get(spec.name), moments, notes)
            else:
                yield self._copied(spec, weights)

    def _last_inputs(self, weights: Weights) -> Floats:
        """What the head is given."""
        assert self.states
        rows = np.concatenate(self.states.before(self.config.layers, weights))
        return normalised(self.config, rows, weights.whole("model.norm.weight"))

    def _packed(
        self,
        spec: TensorSpec,
        columns: Floats | None,
        moments: NDArray[np.float64] | None,
        notes: list[Note],
    ) -> TensorStream:
        """Embeddings or the head in ggml's MXFP4, some rows at a time."""
        method = self.recipe.method
        if method == "calibrated" and moments is None:  # rows that are looked up
            method = "search"

        def pieces() -> Iterator[NDArray[np.uint8]]:
            error = TensorError(spec.name, "MXFP4", method)
            for rows in self._row_runs(spec, moments is not None):
                original = self.weights.rows(spec.name, rows)
                values = original if columns is None else original / columns
                blocks, scales = rounded(spec.name, values, method, moments)
                difference = dequantize(blocks, scales) - values
                if columns is not None:
                    difference *= columns
                plain = dequantize(*quantize(original, search=False)) - original
                error.add(squared(original), squared(difference), squared(plain))
                packed = pack_mxfp4(blocks, scales)
                self.written(packed.nbytes)
                yield packed
            notes.append(error.to_json())

        return TensorStream(spec.name, spec.dtype, spec.shape, pieces)

    def _copied(self, spec: TensorSpec, weights: Weights) -> TensorStream:
        """A tensor in bfloat16, some rows at a time."""

        def pieces() -> Iterator[NDArray[np.uint16]]:
            for rows in row_runs(spec.shape, 2):
                patterns = to_bf16(weights.rows(spec.name, rows))
                self.written(patterns.nbytes)
                yield patterns

        return TensorStream(spec.name, spec.dtype, spec.shape, pieces)

    def _row_runs(self, spec: TensorSpec, many: bool) -> Iterator[slice]:
        """Rows to round at once: many, where every run has the moments to factorise."""
        if not many:
            return row_runs(spec.shape, 4)
        starts = range(0, spec.shape[0], _CALIBRATED_ROWS)
        return (slice(each, min(each + _CALIBRATED_ROWS, spec.shape[0])) for each in starts)
