"""bfloat16 against torch's own conversion."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from motet.checkpoint.bf16 import from_bf16, to_bf16

torch = pytest.importorskip("torch")


def torch_patterns(values: np.ndarray) -> np.ndarray:
    return torch.from_numpy(values).to(torch.bfloat16).view(torch.int16).numpy().view(np.uint16)


def test_every_pattern_survives() -> None:
    patterns = np.arange(1 << 16, dtype=np.uint16)
    values = from_bf16(patterns)
    number = ~np.isnan(values)
    assert np.array_equal(to_bf16(values)[number], patterns[number])
    assert np.isnan(from_bf16(to_bf16(values[~number]))).all()


@settings(deadline=None, derandomize=True)
@given(arrays(np.uint32, 64, elements=st.integers(0, 2**32 - 1)))
def test_rounding_equals_torch(bits: np.ndarray) -> None:
    values = bits.view(np.float32)
    numbers = values[~np.isnan(values)]
    assert np.array_equal(to_bf16(numbers), torch_patterns(numbers))
    assert np.isnan(from_bf16(to_bf16(values[np.isnan(values)]))).all()


def test_ties_go_to_even() -> None:
    halfway = np.array([0x3F808000, 0x3F818000, 0x7F7FFFFF], np.uint32).view(np.float32)
    assert to_bf16(halfway).tolist() == [0x3F80, 0x3F82, 0x7F80]


def test_many_values_in_any_shape_and_order() -> None:
    values = np.random.default_rng(0).standard_normal((500, 300), dtype=np.float32)
    assert np.array_equal(to_bf16(values), torch_patterns(values))
    assert np.array_equal(to_bf16(values.T), to_bf16(values).T)
    assert to_bf16(np.float32(1.0) * np.ones(())).shape == ()
