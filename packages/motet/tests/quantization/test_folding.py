"""Dual scaling changes numbers and not the function; and it does what it is for."""

from pathlib import Path

import numpy as np
import pytest
from floating_models import floating_model, texts, weights_of

from motet.checkpoint import dequantize, quantize
from motet.quantization.folding import FoldedWeights, folded_head, folded_layer
from motet.quantization.forward import embedded, layer_output, logits
from motet.quantization.scaling import chosen_factors, chosen_phases, column_factors, row_costs


@pytest.mark.parametrize("attention", [False, True])
def test_the_folded_model_is_the_same_function(tmp_path: Path, attention: bool) -> None:
    weights = weights_of(floating_model(tmp_path / "model"), floating=True)
    config = weights.checkpoint.config
    tokens = texts()
    plain, folded = embedded(weights, tokens), embedded(weights, tokens)
    for index in range(config.layers):
        changed = folded_layer(config, weights, index, {}, attention=attention)
        assert_really_folded(weights, changed, index, attention)
        plain = layer_output(config, weights, index, plain)
        folded = layer_output(config, changed, index, folded)
    norm, factors = folded_head(weights, {})
    head = weights.whole("lm_head.weight") / factors
    changed = FoldedWeights(weights, {"model.norm.weight": norm, "lm_head.weight": head})
    assert np.ptp(factors) > 0.01
    wanted = logits(config, weights, np.concatenate(plain))
    found = logits(config, changed, np.concatenate(folded))
    np.testing.assert_allclose(found, wanted, atol=2e-5 * np.abs(wanted).max())


def assert_really_folded(
    weights: object, changed: FoldedWeights, index: int, attention: bool
) -> None:
    prefix = f"model.layers.{index}."
    assert np.ptp(changed.columns[f"{prefix}mlp.experts.gate_up_proj"]) > 0.5
    for part in "qkvo":
        name = f"{prefix}self_attn.{part}_proj.weight"
        assert (name in changed.replaced) == attention
        if attention:
            assert not np.allclose(changed.whole(name), changed.inner.whole(name))


def test_a_norm_that_silences_a_channel(tmp_path: Path) -> None:
    """A scale of zero stays zero, and nothing is divided by it."""
    inner = weights_of(floating_model(tmp_path / "model"), floating=True)
    name = "model.layers.0.post_attention_layernorm.weight"
    norm = inner.whole(name)
    norm[3] = 0
    weights = FoldedWeights(inner, {name: norm})
    changed = folded_layer(inner.checkpoint.config, weights, 0, {}, attention=False)
    assert changed.whole(name)[3] == 0
    assert np.isfinite(changed.whole("model.layers.0.mlp.router.weight")).all()


def test_column_factors_are_the_planted_ones() -> None:
    random = np.random.default_rng(0)
    planted = np.exp(random.standard_normal(64))
    rows = np.exp(random.standard_normal((300, 1)))
    matrix = (np.sign(random.standard_normal((300, 64))) * rows * planted).astype(np.float32)
    found = column_factors([matrix, 3 * matrix])
    np.testing.assert_allclose(found, planted / np.exp(np.log(planted).mean()), rtol=1e-3)
    assert np.array_equal(column_factors([np.zeros((4, 32), np.float32)]), np.ones(32))


def test_factors_help_where_columns_are_uneven_and_are_left_out_where_not() -> None:
    random = np.random.default_rng(1)
    even = random.standard_normal((200, 64)).astype(np.float32)
    ones = np.ones(64, dtype=np.float32)
    sizes = np.exp(random.standard_normal(64)).astype(np.float32)
    uneven = even * sizes
    factors = chosen_factors([uneven], column_factors([uneven]), 1 / sizes)

    def cost(chosen: np.ndarray) -> float:
        rounded = dequantize(*quantize(uneven / chosen)) * chosen
        return float(np.square((rounded - uneven) / sizes).sum())

    assert cost(factors) < 0.75 * cost(ones)
    on_the_grid = dequantize(*quantize(even))
    chosen = chosen_factors([on_the_grid], column_factors([on_the_grid]), ones)
    assert np.array_equal(chosen, ones)


def test_the_phase_is_the_best_of_an_octave() -> None:
    rows = np.random.default_rng(2).standard_normal((50, 64)).astype(np.float32)
    phases = chosen_phases(lambda phase: row_costs(rows * np.float32(phase)))
    chosen = row_costs(rows * phases[:, np.newaxis])
    assert (chosen <= row_costs(rows)).all()
    assert chosen.mean() < 0.97 * row_costs(rows).mean()
    assert row_costs(np.zeros((1, 32), np.float32)) == 0
