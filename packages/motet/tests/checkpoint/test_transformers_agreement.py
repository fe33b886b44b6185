"""transformers loads what we write, and finds the same numbers in it."""

from pathlib import Path

import numpy as np
import pytest
from checkpoint_files import small_config

from motet.checkpoint import dequantize, from_bf16, open_checkpoint, write_checkpoint
from motet.checkpoint.random import random_tensors
from motet.harmony.vocabulary import o200k_harmony

torch = pytest.importorskip("torch")


@pytest.mark.parametrize("shard_bytes", [10**9, 100_000])
def test_the_same_tensors(tmp_path: Path, shard_bytes: int) -> None:
    from transformers import GptOssForCausalLM

    vocabulary = o200k_harmony().first(300)
    config = small_config(vocabulary_size=vocabulary.size, hidden_size=96, intermediate_size=64)
    folder = tmp_path / "model"
    tensors = random_tensors(config, seed=1)
    write_checkpoint(folder, config, tensors, vocabulary, shard_bytes=shard_bytes)

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    theirs, report = GptOssForCausalLM.from_pretrained(
        folder, dtype=torch.float32, output_loading_info=True
    )
    torch.set_num_threads(threads)

    assert not any(report.values())
    assert theirs.generation_config.eos_token_id == [
        vocabulary.return_,
        vocabulary.endoftext,
        vocabulary.call,
    ]
    state = {name: value.numpy() for name, value in theirs.state_dict().items()}
    ours = open_checkpoint(folder).tensors
    for name, tensor in ours.items():
        if name.endswith("_blocks"):
            plain = name.removesuffix("_blocks")
            values = dequantize(tensor.data, ours[f"{plain}_scales"].data)
            assert np.array_equal(state.pop(plain).transpose(0, 2, 1), values)
        elif not name.endswith("_scales"):
            assert np.array_equal(state.pop(name), from_bf16(tensor.data))
    assert not state
