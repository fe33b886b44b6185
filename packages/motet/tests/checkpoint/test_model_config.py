"""Configs: the published ones, what transformers writes, and every way to be wrong."""

from typing import Any

import pytest
from checkpoint_files import PUBLISHED_20B, original_values, small_config

from motet.checkpoint import CheckpointError, ModelConfig

# The released config.json of gpt-oss-20b, bookkeeping keys included.
HUGGINGFACE_20B: dict[str, Any] = {
    "architectures": ["GptOssForCausalLM"],
    "attention_bias": True,
    "attention_dropout": 0.0,
    "eos_token_id": 200002,
    "experts_per_token": 4,
    "head_dim": 64,
    "hidden_act": "silu",
    "hidden_size": 2880,
    "initial_context_length": 4096,
    "initializer_range": 0.02,
    "intermediate_size": 2880,
    "layer_types": ["sliding_attention", "full_attention"] * 12,
    "max_position_embeddings": 131072,
    "model_type": "gpt_oss",
    "num_attention_heads": 64,
    "num_experts_per_tok": 4,
    "num_hidden_layers": 24,
    "num_key_value_heads": 8,
    "num_local_experts": 32,
    "output_router_logits": False,
    "pad_token_id": 199999,
    "quantization_config": {
        "modules_to_not_convert": ["model.layers.*.self_attn", "lm_head"],
        "quant_method": "mxfp4",
    },
    "rms_norm_eps": 1e-05,
    "rope_scaling": {
        "beta_fast": 32.0,
        "beta_slow": 1.0,
        "factor": 32.0,
        "original_max_position_embeddings": 4096,
        "rope_type": "yarn",
        "truncate": False,
    },
    "rope_theta": 150000,
    "router_aux_loss_coef": 0.9,
    "sliding_window": 128,
    "swiglu_limit": 7.0,
    "tie_word_embeddings": False,
    "use_cache": True,
    "vocab_size": 201088,
}


def test_the_two_published_files_say_the_same() -> None:
    config = ModelConfig.from_huggingface(HUGGINGFACE_20B)
    assert config == ModelConfig.from_original(PUBLISHED_20B)
    assert config.context_length == 131072
    assert (config.query_width, config.key_value_width) == (4096, 512)


def test_integers_and_floats_are_interchangeable() -> None:
    as_floats = {key: float(value) for key, value in PUBLISHED_20B.items()}
    as_integers = {key: int(value) for key, value in PUBLISHED_20B.items()}
    assert ModelConfig.from_original(as_floats) == ModelConfig.from_original(as_integers)


def test_round_trips() -> None:
    config = small_config(layer_types=("full_attention", "full_attention"), rms_norm_eps=1e-6)
    assert ModelConfig.from_huggingface(config.to_huggingface()) == config
    assert ModelConfig.from_original(original_values(small_config())) == small_config()


def test_transformers_reads_and_writes_it() -> None:
    transformers = pytest.importorskip("transformers")
    config = small_config(rope_theta=12_345.0, rope_beta_slow=1.5, rope_beta_fast=24.0)
    theirs = transformers.GptOssConfig(**config.to_huggingface())
    assert theirs.num_local_experts == 3
    assert theirs.rope_parameters["rope_theta"] == 12_345.0
    assert theirs.rope_parameters["original_max_position_embeddings"] == 64
    assert ModelConfig.from_huggingface(theirs.to_dict()) == config
    defaults = transformers.GptOssConfig()
    assert ModelConfig.from_huggingface(defaults.to_dict()).experts == 128


def test_layer_types_may_be_left_out() -> None:
    values = {key: value for key, value in HUGGINGFACE_20B.items() if key != "layer_types"}
    assert ModelConfig.from_huggingface(values) == ModelConfig.from_huggingface(HUGGINGFACE_20B)


def with_rope(**changes: Any) -> dict[str, Any]:
    return {"rope_scaling": HUGGINGFACE_20B["rope_scaling"] | changes}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model_type": "llama"}, "model_type is 'llama', it has to be 'gpt_oss'"),
        ({"model_type": None}, "the key model_type is missing"),
        ({"hidden_size": None}, "the key hidden_size is missing"),
        ({"hidden_size": "2880"}, "hidden_size is '2880', it has to be a whole number"),
        ({"hidden_size": 2880.5}, "hidden_size is 2880.5, it has to be a whole number"),
        ({"hidden_size": True}, "hidden_size is True, it has to be a whole number"),
        ({"hidden_size": 2881}, "hidden_size is 2881, it has to be a multiple of 32"),
        ({"hidden_size": -32}, "hidden_size is -32, it has to be from 1 to"),
        ({"hidden_size": 10**400}, "hidden_size is 1000"),
        ({"intermediate_size": 48}, "intermediate_size is 48, it has to be a multiple of 32"),
        ({"head_dim": 65}, "head_dim is 65, it has to be even"),
        ({"num_key_value_heads": 7}, "64 attention heads cannot be shared evenly by 7"),
        ({"num_key_value_heads": 0}, "key_value_heads is 0, it has to be from 1 to"),
        ({"num_local_experts": 3}, "4 experts per token, but only 3 experts"),
        ({"experts_per_token": 5}, "num_experts_per_tok = 4 and experts_per_token = 5 contradict"),
        ({"num_hidden_layers": 23}, "layer_types names 24 layers, there are 23"),
        ({"num_hidden_layers": 10**9}, "num_hidden_layers is 1000000000, it has to be from 1"),
        ({"layer_types": ["linear"] * 24}, "layer_types has 'linear', it has to be"),
        ({"layer_types": "sliding"}, "layer_types is 'sliding', it has to be a list of strings"),
        ({"sliding_window": None}, "the key sliding_window is missing"),
        ({"swiglu_limit": float("nan")}, "swiglu_limit is nan, it has to be a number"),
        ({"swiglu_limit": 10**400}, "swiglu_limit is 1000"),
        ({"swiglu_limit": 0}, "swiglu_limit is 0.0, it has to be above 0"),
        ({"swiglu_alpha": 1.0}, "swiglu_alpha is 1.0, it has to be 1.702"),
        ({"attention_bias": False}, "attention_bias is False, it has to be True"),
        ({"tie_word_embeddings": True}, "tie_word_embeddings is True, it has to be False"),
        ({"hidden_act": "gelu"}, "hidden_act is 'gelu', it has to be 'silu'"),
        ({"quantization_config": {"quant_method": "awq"}}, "quantization_config.quant_method"),
        ({"quantization_config": 4}, "quantization_config is 4, it has to be an object"),
        ({"rope_scaling": None}, "the key rope_parameters is missing"),
        ({"rope_parameters": {}}, "rope_parameters = {} and rope_scaling = "),
        ({"initial_context_length": 2048}, "= 4096 and initial_context_length = 2048 contradict"),
        ({"rope_theta": 1.0}, "rope_theta is 1.0, it has to be above 1"),
        (with_rope(rope_theta=10_000), "rope_theta = 10000 and rope_theta = 150000 contradict"),
        (with_rope(rope_type="linear"), "rope_scaling.rope_type is 'linear', it has to be 'yarn'"),
        (with_rope(truncate=True), "rope_scaling.truncate is True, it has to be False"),
        (with_rope(truncate=None), "the key rope_scaling.truncate is missing"),
        (with_rope(mscale=1.0), "the key rope_scaling.mscale = 1.0 is not one of a gpt-oss"),
        (with_rope(factor=0.5), "rope_scaling_factor is 0.5, it has to be at least 1"),
        (with_rope(beta_fast=1.0), "YaRN's fast boundary (1.0) has to be above its slow one"),
    ],
)
def test_what_a_huggingface_config_cannot_say(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(CheckpointError) as caught:
        ModelConfig.from_huggingface(HUGGINGFACE_20B | changes)
    assert message in str(caught.value)
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rope_ntk_beta": None}, "the key rope_ntk_beta is missing"),
        ({"num_expert": 32}, "the key num_expert = 32 is not one of a gpt-oss model"),
        ({"initial_context_length": 10**400}, "initial_context_length is 1000"),
        ({"initial_context_length": -(10**308)}, "initial_context_length is -1000"),
        ({"rope_scaling_factor": -1e308}, "rope_scaling_factor is -1e+308, it has to be above 0"),
        ({"rope_scaling_factor": 1e30}, "context_length is 2147483648, it has to be from 1 to"),
    ],
)
def test_what_an_original_config_cannot_say(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(CheckpointError) as caught:
        ModelConfig.from_original(PUBLISHED_20B | changes)
    assert message in str(caught.value)


def test_a_config_made_in_code_is_checked_too() -> None:
    with pytest.raises(CheckpointError, match="tie_embeddings has to be false"):
        small_config(tie_embeddings=True)
    with pytest.raises(CheckpointError, match="it has 1001 layers"):
        small_config(layers=1001)
