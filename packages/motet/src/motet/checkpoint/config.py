"""The numbers that define a gpt-oss model, and what makes them a possible one.

Two published files hold them: Hugging Face's config.json and original/config.json. Integers and
floats are used interchangeably in both, so either is accepted where the value fits. The original
file is a closed list, and an unknown key in it is an error; the Hugging Face file is full of keys
for training and bookkeeping, so there only what changes the computation is looked at. YaRN
settings are under `rope_scaling` in the released files and under `rope_parameters` in those that
transformers 5 writes.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from math import inf
from typing import Any

from motet.checkpoint.errors import CheckpointError
from motet.checkpoint.keys import Keys, shown
from motet.checkpoint.mxfp4 import BLOCK

SLIDING = "sliding_attention"
FULL = "full_attention"

# Constants of the model family, not of a config: the Hugging Face file repeats some of them.
SWIGLU_ALPHA = 1.702
_RMS_NORM_EPS = 1e-5

_MOST_LAYERS = 1_000
_LARGEST = 2**31 - 1

_ORIGINAL_KEYS = frozenset(
    {
        "num_hidden_layers",
        "num_experts",
        "experts_per_token",
        "vocab_size",
        "hidden_size",
        "intermediate_size",
        "swiglu_limit",
        "head_dim",
        "num_attention_heads",
        "num_key_value_heads",
        "sliding_window",
        "initial_context_length",
        "rope_theta",
        "rope_scaling_factor",
        "rope_ntk_alpha",
        "rope_ntk_beta",
    }
)
_ORIGINAL_ONLY = frozenset(
    {"num_experts", "rope_scaling_factor", "rope_ntk_alpha", "rope_ntk_beta"}
)
_ROPE_KEYS = frozenset(
    {
        "rope_type",
        "type",
        "factor",
        "beta_fast",
        "beta_slow",
        "truncate",
        "original_max_position_embeddings",
        "rope_theta",
    }
)


@dataclass(frozen=True)
class ModelConfig:
    """The shape of a model, validated: a ModelConfig that exists can be built.

    `sliding_window` counts the query itself. `rope_beta_slow` and `rope_beta_fast` are YaRN's
    alpha and beta, in rotations over `initial_context_length`; YaRN is always on and its limits
    are not rounded to integers. Raises CheckpointError naming the field and its value.
    """

    layers: int
    hidden_size: int
    intermediate_size: int
    experts: int
    experts_per_token: int
    attention_heads: int
    key_value_heads: int
    head_dim: int
    vocabulary_size: int
    sliding_window: int
    layer_types: tuple[str, ...]
    rope_theta: float
    rope_scaling_factor: float
    rope_beta_slow: float
    rope_beta_fast: float
    initial_context_length: int
    context_length: int
    swiglu_limit: float
    rms_norm_eps: float
    tie_embeddings: bool = False

    def __post_init__(self) -> None:
        for problem in self._problems():
            raise CheckpointError(f"not a possible gpt-oss model: {problem}")

    @property
    def query_width(self) -> int:
        """Rows of the query projection and columns of the output projection."""
        return self.attention_heads * self.head_dim

    @property
    def key_value_width(self) -> int:
        """Rows of the key projection and of the value projection."""
        return self.key_value_heads * self.head_dim

    @classmethod
    def from_huggingface(cls, values: Mapping[str, Any]) -> "ModelConfig":
        """From the contents of a Hugging Face config.json. Raises CheckpointError."""
        keys = Keys(values)
        keys.expect("model_type", "gpt_oss")
        keys.expect("attention_bias", True, default=True)
        keys.expect("tie_word_embeddings", False, default=False)
        keys.expect("hidden_act", "silu", default="silu")
        keys.expect("swiglu_alpha", SWIGLU_ALPHA, default=SWIGLU_ALPHA)
        if keys.has("quantization_config"):
            keys.nested("quantization_config").expect("quant_method", "mxfp4")
        layers = _layer_count(keys)
        return cls(
            **_shared_values(keys),
            layers=layers,
            experts=keys.integer("num_local_experts", "num_experts"),
            experts_per_token=keys.integer("num_experts_per_tok", "experts_per_token"),
            layer_types=_layer_types(keys, layers),
            context_length=keys.integer("max_position_embeddings"),
            rms_norm_eps=keys.number("rms_norm_eps"),
            **_rope_values(keys),
        )

    @classmethod
    def from_original(cls, values: Mapping[str, Any]) -> "ModelConfig":
        """From the contents of an original/config.json. Raises CheckpointError."""
        keys = Keys(values)
        keys.only(_ORIGINAL_KEYS)
        layers = _layer_count(keys)
        start = keys.number("initial_context_length")
        factor = keys.number("rope_scaling_factor")
        return cls(
            **_shared_values(keys),
            layers=layers,
            experts=keys.integer("num_experts"),
            experts_per_token=keys.integer("experts_per_token"),
            layer_types=alternating_layers(layers),
            rope_theta=keys.number("rope_theta"),
            rope_scaling_factor=factor,
            rope_beta_slow=keys.number("rope_ntk_alpha"),
            rope_beta_fast=keys.number("rope_ntk_beta"),
            initial_context_length=keys.integer("initial_context_length"),
            context_length=round(min(max(0.0, start * factor), _LARGEST + 1)),
            rms_norm_eps=_RMS_NORM_EPS,
        )

    def to_huggingface(self) -> dict[str, Any]:
        """The contents of a Hugging Face config.json, in the released files' own spelling."""
        return {
            "architectures": ["GptOssForCausalLM"],
            "model_type": "gpt_oss",
            "num_hidden_layers": self.layers,
            "hidden_size": self.hidden_size,
            "intermediate_size": self.intermediate_size,
            "num_local_experts": self.experts,
            "num_experts_per_tok": self.experts_per_token,
            "experts_per_token": self.experts_per_token,
            "num_attention_heads": self.attention_heads,
            "num_key_value_heads": self.key_value_heads,
            "head_dim": self.head_dim,
            "vocab_size": self.vocabulary_size,
            "sliding_window": self.sliding_window,
            "layer_types": list(self.layer_types),
            "rope_theta": self.rope_theta,
            "rope_scaling": {
                "rope_type": "yarn",
                "factor": self.rope_scaling_factor,
                "beta_fast": self.rope_beta_fast,
                "beta_slow": self.rope_beta_slow,
                "truncate": False,
                "original_max_position_embeddings": self.initial_context_length,
            },
            "initial_context_length": self.initial_context_length,
            "max_position_embeddings": self.context_length,
            "swiglu_limit": self.swiglu_limit,
            "rms_norm_eps": self.rms_norm_eps,
            "attention_bias": True,
            "attention_dropout": 0.0,
            "hidden_act": "silu",
            "tie_word_embeddings": False,
            "torch_dtype": "bfloat16",
            "quantization_config": {
                "quant_method": "mxfp4",
                "modules_to_not_convert": [
                    "model.layers.*.self_attn",
                    "model.layers.*.mlp.router",
                    "model.embed_tokens",
                    "lm_head",
                ],
            },
        }

    def differences(self, other: "ModelConfig") -> list[str]:
        """The names of the fields in which two configurations differ."""
        names = (field.name for field in fields(self))
        return [name for name in names if getattr(self, name) != getattr(other, name)]

    def _problems(self) -> Iterator[str]:
        yield from self._size_problems()
        for name, width in {
            "hidden_size": self.hidden_size,
            "intermediate_size": self.intermediate_size,
            "attention_heads x head_dim": self.query_width,
        }.items():
            if width % BLOCK:
                yield f"{name} is {width}, it has to be a multiple of {BLOCK}"
        if self.attention_heads % self.key_value_heads:
            yield (
                f"{self.attention_heads} attention heads cannot be shared evenly by"
                f" {self.key_value_heads} key-value heads"
            )
        if self.head_dim % 2:
            yield f"head_dim is {self.head_dim}, it has to be even for rotary positions"
        if self.experts_per_token > self.experts:
            yield f"{self.experts_per_token} experts per token, but only {self.experts} experts"
        if len(self.layer_types) != self.layers:
            yield f"layer_types names {len(self.layer_types)} layers, there are {self.layers}"
        for kind in self.layer_types:
            if kind not in (SLIDING, FULL):
                yield f"layer_types has {shown(kind)}, it has to be {SLIDING} or {FULL}"
        if self.rope_beta_fast <= self.rope_beta_slow:
            yield (
                f"YaRN's fast boundary ({self.rope_beta_fast}) has to be above"
                f" its slow one ({self.rope_beta_slow})"
            )
        if self.tie_embeddings:
            yield "gpt-oss has separate input and output embeddings, tie_embeddings has to be false"

    def _size_problems(self) -> Iterator[str]:
        if self.layers > _MOST_LAYERS:
            yield f"it has {self.layers} layers, more than {_MOST_LAYERS}"
        for field in fields(self):
            value = getattr(self, field.name)
            if field.type is int and not 1 <= value <= _LARGEST:
                yield f"{field.name} is {shown(value)}, it has to be from 1 to {_LARGEST}"
            if field.type is float and not 0 < value < inf:
                yield f"{field.name} is {value}, it has to be above 0"
        if self.rope_theta <= 1:
            yield f"rope_theta is {self.rope_theta}, it has to be above 1"
        if self.rope_scaling_factor < 1:
            yield f"rope_scaling_factor is {self.rope_scaling_factor}, it has to be at least 1"


def looks_original(values: Mapping[str, Any]) -> bool:
    """Whether the contents of a config.json are in the original rather than Hugging Face form."""
    return "model_type" not in values and not _ORIGINAL_ONLY.isdisjoint(values)


def alternating_layers(layers: int) -> tuple[str, ...]:
    """gpt-oss's own pattern: even layers see a sliding window, odd layers everything."""
    return tuple(FULL if index % 2 else SLIDING for index in range(layers))


def _layer_count(keys: Keys) -> int:
    layers = keys.integer("num_hidden_layers")
    if not 1 <= layers <= _MOST_LAYERS:
        raise CheckpointError(
            f"num_hidden_layers is {layers}, it has to be from 1 to {_MOST_LAYERS}"
        )
    return layers


def _shared_values(keys: Keys) -> dict[str, Any]:
    """What both files call by the same name."""
    return {
        "hidden_size": keys.integer("hidden_size"),
        "intermediate_size": keys.integer("intermediate_size"),
        "attention_heads": keys.integer("num_attention_heads"),
        "key_value_heads": keys.integer("num_key_value_heads"),
        "head_dim": keys.integer("head_dim"),
        "vocabulary_size": keys.integer("vocab_size"),
        "sliding_window": keys.integer("sliding_window"),
        "swiglu_limit": keys.number("swiglu_limit"),
    }


def _layer_types(keys: Keys, layers: int) -> tuple[str, ...]:
    return keys.strings("layer_types") if keys.has("layer_types") else alternating_layers(layers)


def _rope_values(keys: Keys) -> dict[str, Any]:
    """YaRN's settings; two of them are repeated at the top level of the released files."""
    keys.value("rope_parameters", "rope_scaling")
    name = "rope_parameters" if keys.has("rope_parameters") else "rope_scaling"
    keys.nested(name).only(_ROPE_KEYS)
    rope = keys.flattened(name)
    rope.expect(f"{name}.type" if rope.has(f"{name}.type") else f"{name}.rope_type", "yarn")
    rope.expect(f"{name}.truncate", False)
    return {
        "rope_theta": rope.number(f"{name}.rope_theta", "rope_theta"),
        "rope_scaling_factor": rope.number(f"{name}.factor"),
        "rope_beta_slow": rope.number(f"{name}.beta_slow"),
        "rope_beta_fast": rope.number(f"{name}.beta_fast"),
        "initial_context_length": rope.integer(
            f"{name}.original_max_position_embeddings", "initial_context_length"
        ),
    }
