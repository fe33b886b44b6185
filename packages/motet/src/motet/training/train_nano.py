"""Train the embedded nano model from scratch and put it into the package.

`python -m motet.training.train_nano` takes 80 minutes on two cores that multiply bfloat16 (AVX-512
or AMX), several times as long on others. A run that was stopped goes on from its last checkpoint in
`--folder`; `--help` lists the options.
"""

from __future__ import annotations

import argparse
import os
import time
from dataclasses import fields
from pathlib import Path
from typing import Any

# The matrix library keeps one compiled kernel per shape; its default of 1024 is too few here.
os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "8192")

import torch
from transformers import GptOssConfig, GptOssForCausalLM

from motet.harmony import Vocabulary
from motet.nano import embedded_nano_path
from motet.training.export import export_model
from motet.training.initialisation import initialise
from motet.training.loop import Trainer, TrainingOptions
from motet.training.vocabulary import nano_vocabulary

_ROPE = {
    "rope_type": "yarn",
    "rope_theta": 1_000_000.0,
    "factor": 32.0,
    "beta_fast": 32.0,
    "beta_slow": 1.0,
    "truncate": False,
    "original_max_position_embeddings": 4096,
}
"""As released, but for the base: the more pairs of a head turn slowly, the more of it can compare
what tokens are, over whatever distance."""


def nano_config(
    vocabulary: Vocabulary, hidden: int = 192, layers: int = 6, experts: int = 4
) -> GptOssConfig:
    """The architecture of the nano model: gpt-oss in small, windows, sinks and YaRN included."""
    return GptOssConfig(
        hidden_size=hidden,
        intermediate_size=hidden,
        num_hidden_layers=layers,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=64,
        rope_parameters=_ROPE,
        num_local_experts=experts,
        num_experts_per_tok=2,
        vocab_size=vocabulary.size,
        pad_token_id=vocabulary.endoftext,
        eos_token_id=vocabulary.return_,
    )


def new_model(config: GptOssConfig, seed: int) -> Any:
    """A model ready to be trained; the same for the same seed."""
    torch.manual_seed(seed)
    model = GptOssForCausalLM(config)
    initialise(model)
    return model


def main() -> None:
    """Read the options, train, export."""
    arguments = _parser().parse_args()
    options = TrainingOptions(
        **{each.name: getattr(arguments, each.name) for each in fields(TrainingOptions)}
    )
    torch.set_num_threads(1)
    vocabulary = nano_vocabulary()
    config = nano_config(vocabulary, arguments.hidden, arguments.layers, arguments.experts)
    model = new_model(config, options.seed)
    trainer = Trainer(model, vocabulary, options, arguments.folder)
    with (arguments.folder / "log.txt").open("a", encoding="utf-8") as log:
        for line in trainer.run():
            stamped = f"{time.strftime('%H:%M:%S')} {line}"
            print(stamped, flush=True)
            print(stamped, file=log, flush=True)
    export_model(model, vocabulary, arguments.output)
    print(f"The model is in {arguments.output}.")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--folder", type=Path, default=Path("nano-run"), help="the log and the checkpoint")
    add("--output", type=Path, default=embedded_nano_path(), help="where the model is written")
    add("--hidden", type=int, default=192, help="width, a multiple of 64")
    add("--layers", type=int, default=6)
    add("--experts", type=int, default=4, help="experts per layer, two of them active")
    for each in fields(TrainingOptions):
        kind: Any = type(each.default)
        add(f"--{each.name.replace('_', '-')}", type=kind, default=each.default)
    return parser


if __name__ == "__main__":
    main()
