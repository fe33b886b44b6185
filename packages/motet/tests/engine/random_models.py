"""Small random models, as this house and as transformers see them."""

import random
from pathlib import Path

import torch
from transformers import GptOssConfig, GptOssForCausalLM

from motet.checkpoint import Checkpoint, ModelConfig, dequantize, from_bf16
from motet.checkpoint.config import FULL, SLIDING
from motet.checkpoint.random import random_tensors


def random_config(seed: int) -> ModelConfig:
    """Any shape the family allows, small enough to be computed in a moment."""
    choose = random.Random(seed)
    key_value_heads = choose.choice([1, 2, 3])
    group = choose.randint(1, 8)
    head_dim = choose.choice([8, 16, 20, 32, 64])
    while key_value_heads * group * head_dim % 32:
        group = choose.randint(1, 8)
        head_dim = choose.choice([8, 16, 32, 64])
    layers = choose.randint(2, 4)
    initial = choose.choice([16, 32, 64, 4096])
    factor = choose.choice([1.0, 2.0, 8.0, 32.0])
    experts = choose.choice([1, 3, 5, 7, 8])
    return ModelConfig(
        layers=layers,
        hidden_size=32 * choose.randint(1, 5),
        intermediate_size=32 * choose.randint(1, 4),
        experts=experts,
        experts_per_token=choose.randint(1, min(4, experts)),
        attention_heads=key_value_heads * group,
        key_value_heads=key_value_heads,
        head_dim=head_dim,
        vocabulary_size=choose.randint(50, 300),
        sliding_window=choose.choice([1, 5, 16, 70, 128, 500]),
        layer_types=tuple(choose.choice([SLIDING, FULL]) for _ in range(layers)),
        rope_theta=choose.choice([10_000.0, 150_000.0]),
        rope_scaling_factor=factor,
        rope_beta_slow=1.0,
        rope_beta_fast=32.0,
        initial_context_length=initial,
        context_length=4096,
        swiglu_limit=choose.choice([0.5, 7.0]),
        rms_norm_eps=1e-5,
    )


def random_checkpoint(config: ModelConfig, seed: int = 0) -> Checkpoint:
    """A random model of this shape, in memory."""
    tensors = {tensor.name: tensor for tensor in random_tensors(config, seed)}
    return Checkpoint(Path("random"), "huggingface", (), config, tensors, None)


def reference_model(checkpoint: Checkpoint) -> GptOssForCausalLM:
    """transformers' own model with the same weights, dequantised to float32."""
    values = checkpoint.config.to_huggingface()
    del values["quantization_config"], values["torch_dtype"]
    config = GptOssConfig(**values, pad_token_id=None)
    config._attn_implementation = "eager"
    config._experts_implementation = "eager"
    with torch.device("meta"):
        model = GptOssForCausalLM(config)
    model.to_empty(device="cpu")
    model.model.rotary_emb.__init__(config)
    model.load_state_dict(_dequantised(checkpoint), strict=True)
    return model.float().eval()


def _dequantised(checkpoint: Checkpoint) -> dict[str, torch.Tensor]:
    tensors = checkpoint.tensors
    state = {}
    for name, tensor in tensors.items():
        if name.endswith("_blocks"):
            stem = name.removesuffix("_blocks")
            values = dequantize(tensor.data, tensors[f"{stem}_scales"].data)
            state[stem] = torch.from_numpy(values).transpose(1, 2).contiguous()
        elif not name.endswith("_scales"):
            state[name] = torch.from_numpy(from_bf16(tensor.data))
    return state
