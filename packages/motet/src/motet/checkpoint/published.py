"""The configs of the two published models, for who needs their shapes and not their files."""

from typing import Literal, TypeAlias

from motet.checkpoint.config import ModelConfig

Shape: TypeAlias = Literal["20b", "120b"]

_LAYERS_AND_EXPERTS: dict[Shape, tuple[int, int]] = {"20b": (24, 32), "120b": (36, 128)}


def published_config(shape: Shape, layers: int | None = None) -> ModelConfig:
    """The config of gpt-oss-20b or gpt-oss-120b, with another number of layers if one is given."""
    published_layers, experts = _LAYERS_AND_EXPERTS[shape]
    return ModelConfig.from_original(
        {
            "num_hidden_layers": layers or published_layers,
            "num_experts": experts,
            "experts_per_token": 4,
            "vocab_size": 201_088,
            "hidden_size": 2880,
            "intermediate_size": 2880,
            "swiglu_limit": 7.0,
            "head_dim": 64,
            "num_attention_heads": 64,
            "num_key_value_heads": 8,
            "sliding_window": 128,
            "initial_context_length": 4096,
            "rope_theta": 150_000,
            "rope_scaling_factor": 32.0,
            "rope_ntk_alpha": 1.0,
            "rope_ntk_beta": 32.0,
        }
    )
