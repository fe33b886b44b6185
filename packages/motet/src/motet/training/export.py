"""A trained model to a checkpoint folder: MXFP4 experts, bfloat16 for the rest."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from motet.checkpoint import ModelConfig, Tensor, quantize, to_bf16, write_checkpoint
from motet.harmony import Vocabulary
from motet.training.quantisation import EXPERT_MATRICES


def export_model(model: Any, vocabulary: Vocabulary, folder: Path) -> None:
    """Write transformers' GptOssForCausalLM to `folder`, replacing a model that is there."""
    config = ModelConfig.from_huggingface(model.config.to_dict())
    write_checkpoint(folder, config, _tensors(model), vocabulary, replace=True)


def _tensors(model: Any) -> Iterator[Tensor]:
    for name, parameter in model.state_dict().items():
        values = parameter.detach().float().numpy()
        if name.endswith(EXPERT_MATRICES):
            # transformers keeps [expert, in, out]; the blocks run along the input.
            blocks, scales = quantize(values.swapaxes(1, 2))
            yield Tensor(f"{name}_blocks", "U8", blocks.shape, blocks)
            yield Tensor(f"{name}_scales", "U8", scales.shape, scales)
        else:
            yield Tensor(name, "BF16", values.shape, to_bf16(values))
