"""Train the embedded nano model from scratch: `python -m motet.training.train_nano --help`."""

from __future__ import annotations

import argparse
import time
from dataclasses import fields
from pathlib import Path
from typing import Any

import torch
from transformers import GptOssConfig, GptOssForCausalLM

from motet.harmony import Vocabulary
from motet.training.loop import Trainer, TrainingOptions
from motet.training.vocabulary import nano_vocabulary


def nano_config(vocabulary: Vocabulary, hidden: int = 192, layers: int = 4, experts: int = 8) -> GptOssConfig:
    """The architecture of the nano model: gpt-oss in small."""
    return GptOssConfig(
        hidden_size=hidden,
        intermediate_size=hidden,
        num_hidden_layers=layers,
        num_attention_heads=hidden // 32,
        num_key_value_heads=2,
        head_dim=32,
        num_local_experts=experts,
        num_experts_per_tok=2,
        vocab_size=vocabulary.size,
        pad_token_id=vocabulary.endoftext,
        eos_token_id=vocabulary.return_,
        router_aux_loss_coef=0.0,
    )


def main() -> None:
    """Read the options, train, export."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=Path("nano-run"), help="log and checkpoint; an existing run is resumed")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--hidden", type=int, default=192)
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--experts", type=int, default=8)
    for each in fields(TrainingOptions):
        kind: Any = type(each.default)
        parser.add_argument(f"--{each.name.replace('_', '-')}", type=kind, default=each.default)
    arguments = parser.parse_args()
    options = TrainingOptions(**{each.name: getattr(arguments, each.name) for each in fields(TrainingOptions)})
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(options.seed)
    vocabulary = nano_vocabulary()
    config = nano_config(vocabulary, arguments.hidden, arguments.layers, arguments.experts)
    trainer = Trainer(GptOssForCausalLM(config), vocabulary, options, arguments.folder)
    with (arguments.folder / "log.txt").open("a", encoding="utf-8") as log:
        for line in trainer.run():
            stamped = f"{time.strftime('%H:%M:%S')} {line}"
            print(stamped, flush=True)
            print(stamped, file=log, flush=True)


if __name__ == "__main__":
    main()
