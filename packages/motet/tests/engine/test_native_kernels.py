"""Every kernel on every instruction set this machine has, against plain double precision."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from numpy.typing import NDArray

from motet import _native
from motet.checkpoint import dequantize, from_bf16, to_bf16

INSTRUCTION_SETS = ("portable", "avx2", "avxvnni", "avx512", "avx512vbmi", "dotprod")
FORMATS = ("float32", "float16", "bf16", "int8", "int4", "mxfp4", "ggml mxfp4")
FEW_BITS = ("int8", "int4", "mxfp4", "ggml mxfp4")
INT4_LEVELS = np.array([-12, -9, -7, -5, -4, -3, -2, -1, 0, 1, 2, 3, 4, 6, 8, 12])
SHAPES = ((1, 32), (2, 64), (3, 288), (5, 256), (64, 320), (7, 2880), (33, 4096))
TOKENS = (1, 2, 3, 4, 5, 6, 7, 8, 10, 17, 65, 130)

Floats = NDArray[np.float64]


@pytest.fixture(params=INSTRUCTION_SETS)
def isa(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("MOTET_ISA", request.param)
    try:
        _native.quantise(np.zeros((1, 32), np.float32), False)
    except ValueError:
        pytest.skip(f"this machine has no {request.param}")
    name: str = request.param
    return name


@dataclass(frozen=True)
class Weights:
    """A random matrix as it is stored, and what its numbers are."""

    format: str
    even_odd: bool
    stored: NDArray[np.uint8]  # [rows, blocks, bytes]
    scales: NDArray[np.uint8]  # [rows, blocks, bytes]
    values: Floats  # [rows, inner]

    def times(self, x: NDArray[np.float32], *, fast: bool) -> NDArray[np.float32]:
        return _native.multiply(self.format, self.even_odd, self.stored, self.scales, x, fast)


def random_weights(name: str, rows: int, inner: int, seed: int = 0) -> Weights:
    random = np.random.default_rng([seed, rows, inner])
    plain = random.standard_normal((rows, inner), dtype=np.float32)
    blocks = inner // 32
    no_scales = np.zeros((rows, blocks, 0), np.uint8)
    match name:
        case "float32":
            return Weights(name, False, as_blocks(plain, rows), no_scales, plain.astype(float))
        case "float16":
            half = plain.astype(np.float16)
            return Weights(name, False, as_blocks(half, rows), no_scales, half.astype(float))
        case "bf16":
            bits = to_bf16(plain)
            exact = from_bf16(bits).astype(float)
            return Weights(name, False, as_blocks(bits, rows), no_scales, exact)
        case "int8":
            values = random.integers(-127, 128, (rows, blocks, 32), dtype=np.int8)
            scales = (random.random((rows, blocks, 1)) / 100).astype(np.float16)
            exact = (values * scales.astype(float)).reshape(rows, inner)
            return Weights(name, False, values.view(np.uint8), scales.view(np.uint8), exact)
    packed = random.integers(0, 256, (rows, blocks, 16), dtype=np.uint8)
    if name == "int4":
        scales = (random.standard_normal((rows, blocks, 1)) / 100).astype(np.float16)
        exact = int4_values(packed, scales).reshape(rows, inner)
        return Weights(name, False, packed, scales.view(np.uint8), exact)
    exponents = random.integers(110, 125, (rows, blocks), dtype=np.uint8)
    exact = dequantize(packed, exponents).astype(float).reshape(rows, inner)
    if name == "mxfp4":
        return Weights("mxfp4", True, packed, exponents[..., None].copy(), exact)
    halves = exact.reshape(rows, blocks, 16, 2).swapaxes(2, 3).reshape(rows, inner)
    return Weights("mxfp4", False, packed, exponents[..., None].copy(), halves)


def int4_values(packed: NDArray[np.uint8], scales: NDArray[np.float16]) -> Floats:
    """Packed [..., blocks, 16], scales [..., blocks, 1] -> [..., blocks, 32]."""
    levels = INT4_LEVELS[np.concatenate([packed & 15, packed >> 4], axis=-1)]
    return levels * scales.astype(float)


def as_blocks(values: NDArray[np.generic], rows: int) -> NDArray[np.uint8]:
    return values.view(np.uint8).reshape(rows, -1, 32 * values.itemsize)


def activations(tokens: int, inner: int) -> NDArray[np.float32]:
    random = np.random.default_rng([tokens, inner])
    x = random.standard_normal((tokens, inner), dtype=np.float32)
    x[:, ::61] *= 30  # outliers, as real activations have them
    x[0, :32] = 0
    return x


def rounded(x: NDArray[np.float32]) -> Floats:
    """The activations as 8 bits hold them (`test_rounding_of_activations` says how well)."""
    values, scales = _native.quantise(x, False)
    blocks = values.reshape(len(x), -1, 32) * scales[..., None].astype(float)
    return blocks.reshape(x.shape)


@pytest.mark.usefixtures("isa")
@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize(("rows", "inner"), SHAPES)
def test_the_exact_product(name: str, rows: int, inner: int) -> None:
    weights = random_weights(name, rows, inner)
    for tokens in TOKENS:
        x = activations(tokens, inner)
        assert_close(weights.times(x, fast=False), x.astype(float), weights.values, 1e-5)


@pytest.mark.usefixtures("isa")
@pytest.mark.parametrize("name", FEW_BITS)
@pytest.mark.parametrize(("rows", "inner"), SHAPES)
def test_the_fast_product_is_exact_on_rounded_activations(name: str, rows: int, inner: int) -> None:
    weights = random_weights(name, rows, inner)
    for tokens in TOKENS:
        x = activations(tokens, inner)
        assert_close(weights.times(x, fast=True), rounded(x), weights.values, 1e-5)


@pytest.mark.usefixtures("isa")
@pytest.mark.parametrize("name", FEW_BITS)
def test_a_token_has_the_same_bits_in_every_company(name: str) -> None:
    x = activations(max(TOKENS), 2880)
    for rows in (9, 41):  # fewer than some registers have lanes, and no whole number of them
        weights = random_weights(name, rows, 2880)
        whole = weights.times(x, fast=True)
        for tokens in TOKENS:
            assert np.array_equal(weights.times(x[:tokens].copy(), fast=True), whole[:tokens])


@pytest.mark.usefixtures("isa")
def test_extreme_weights_and_activations_do_not_overflow() -> None:
    stored = np.full((1, 2, 32), -127, np.int8).view(np.uint8)
    scales = np.ones((1, 2, 1), np.float16).view(np.uint8)
    x = np.full((1, 64), -1.0, np.float32)
    assert _native.multiply("int8", False, stored, scales, x, True)[0, 0] == 64 * 127
    packed = np.full((1, 2, 16), 0x77, np.uint8)  # 6.0 everywhere
    ones = np.full((1, 2, 1), 127, np.uint8)
    assert _native.multiply("mxfp4", True, packed, ones, x, True)[0, 0] == -64 * 6
    packed = np.full((1, 2, 16), 0xFF, np.uint8)  # -6.0 everywhere
    assert _native.multiply("mxfp4", True, packed, ones, x, True)[0, 0] == 64 * 6


@pytest.mark.usefixtures("isa")
@pytest.mark.parametrize("spoilt", [np.nan, np.inf])
def test_what_is_no_number_stays_none(spoilt: float) -> None:
    x = activations(1, 320)
    x[0, 40] = spoilt
    for name in FEW_BITS:
        assert not np.isfinite(random_weights(name, 3, 320).times(x, fast=True)).any()


@pytest.mark.usefixtures("isa")
def test_rounding_of_activations() -> None:
    x = activations(7, 2880)
    for even_odd in (False, True):
        values, scales = _native.quantise(x, even_odd)
        if even_odd:
            values = values.reshape(7, -1, 2, 16).swapaxes(2, 3).reshape(7, -1)
        found = values.reshape(7, -1, 32) * scales[..., None].astype(float)
        step = np.abs(x.reshape(7, -1, 32)).max(-1, keepdims=True) / 127
        assert (np.abs(found - x.reshape(7, -1, 32)) <= 0.5001 * step).all()


@pytest.mark.usefixtures("isa")
def test_derived_weights_are_within_half_a_step() -> None:
    x = activations(5, 640) * np.float32(1e-3)
    values, scales = _native.encode(x, 8)
    halves = scales.view(np.float16).astype(float)
    wanted = np.abs(x.reshape(5, -1, 32)).max(-1) / np.float32(127)
    assert np.array_equal(scales, wanted.astype(np.float16).view(np.uint16))
    found = values.view(np.int8).reshape(5, -1, 32) * halves[..., None]
    assert (np.abs(found - x.reshape(5, -1, 32)) <= 0.56 * halves[..., None]).all()


@pytest.mark.usefixtures("isa")
def test_weights_of_four_bits_lose_what_the_levels_promise() -> None:
    x = np.random.default_rng(4).standard_normal((5, 6400), dtype=np.float32)
    x[2, 64:96] = 0
    values, scales = _native.encode(x, 4)
    halves = scales.view(np.float16)[..., None]
    found = int4_values(values.reshape(5, -1, 16), halves).reshape(x.shape)
    assert np.linalg.norm(found - x) / np.linalg.norm(x) < 0.085
    assert (found[2, 64:96] == 0).all()


def assert_close(found: NDArray[np.float32], x: Floats, values: Floats, tolerance: float) -> None:
    """Within `tolerance` of the sum of magnitudes, which is what float32 sums can promise."""
    wanted, bound = x @ values.T, np.abs(x) @ np.abs(values).T
    assert (np.abs(found - wanted) <= tolerance * bound + 1e-30).all()
