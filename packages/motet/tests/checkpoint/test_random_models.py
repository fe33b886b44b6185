"""Random models: deterministic, and of numbers a forward pass can live with."""

import numpy as np
from checkpoint_files import small_config

from motet.checkpoint import dequantize, from_bf16
from motet.checkpoint.layout import tensor_specs
from motet.checkpoint.random import random_streams, random_tensors

CONFIG = small_config(hidden_size=128, intermediate_size=96, experts=8)


def test_they_are_what_the_config_demands() -> None:
    tensors = list(random_tensors(CONFIG, seed=0))
    assert [(t.name, t.dtype, t.shape) for t in tensors] == [
        (spec.name, spec.dtype, spec.shape) for spec in tensor_specs(CONFIG)
    ]
    assert all(t.data.shape == t.shape for t in tensors)


def test_they_depend_on_the_seed_and_the_name_alone() -> None:
    first = {t.name: t.data for t in random_tensors(CONFIG, seed=3)}
    deeper = small_config(hidden_size=128, intermediate_size=96, experts=8, layers=3)
    for tensor in random_tensors(deeper, seed=3):
        assert tensor.name not in first or np.array_equal(tensor.data, first[tensor.name])
    for tensor in random_tensors(CONFIG, seed=4):
        assert not np.array_equal(tensor.data, first[tensor.name])


def test_matrices_keep_the_size_of_what_they_multiply() -> None:
    tensors = {t.name: t.data for t in random_tensors(CONFIG, seed=0)}
    for name, data in tensors.items():
        if name.endswith("_blocks"):
            values = dequantize(data, tensors[name.replace("_blocks", "_scales")])
        elif name.endswith(("proj.weight", "router.weight", "lm_head.weight")):
            values = from_bf16(data)
        else:
            continue
        gain = values.std() * values.shape[-1] ** 0.5
        assert 0.6 < gain < 1.8, name


def test_streams_begin_anew() -> None:
    for stream, tensor in zip(random_streams(CONFIG, 5), random_tensors(CONFIG, 5), strict=True):
        for _ in range(2):
            assert np.array_equal(np.concatenate(list(stream.pieces())), tensor.data)


def test_matrices_are_not_all_alike() -> None:
    """Signs and magnitudes are spread: no value makes up more than a part of a matrix."""
    for tensor in random_tensors(CONFIG, seed=0):
        if tensor.name.endswith("proj.weight"):
            values = from_bf16(tensor.data)
            assert abs(values.mean()) < 0.1 * values.std()
            assert len(np.unique(values)) > 500
            assert np.abs(values).max() < 3 * values.std()
