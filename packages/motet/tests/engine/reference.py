"""What transformers computes of a checkpoint: the oracle of the forward pass."""

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import GptOssConfig, GptOssForCausalLM
from transformers.utils import logging

from motet.checkpoint import Checkpoint, dequantize, from_bf16

logging.set_verbosity_error()  # it comments on every unusual YaRN factor


def reference_logits(checkpoint: Checkpoint, tokens: NDArray[np.int32]) -> NDArray[np.float32]:
    """Logits [tokens, vocabulary] of transformers' GptOssForCausalLM in float32."""
    values = checkpoint.config.to_huggingface()
    del values["quantization_config"], values["torch_dtype"]
    config = GptOssConfig(**values, pad_token_id=None)
    config._attn_implementation = "eager"
    config._experts_implementation = "eager"
    model = GptOssForCausalLM(config).float().eval()
    model.load_state_dict(_dequantised(checkpoint))
    with torch.no_grad():
        return model(torch.from_numpy(tokens.astype(np.int64))[None]).logits[0].numpy()


def _dequantised(checkpoint: Checkpoint) -> dict[str, torch.Tensor]:
    tensors = checkpoint.tensors
    state = {}
    for name, tensor in tensors.items():
        if name.endswith("_blocks"):
            stem = name.removesuffix("_blocks")
            values = dequantize(tensor.data, tensors[f"{stem}_scales"].data)
            state[stem] = torch.from_numpy(values).transpose(1, 2)
        elif not name.endswith("_scales"):
            state[name] = torch.from_numpy(from_bf16(tensor.data))
    return state
