"""`motet bench`: this machine's limits, a model's speed beside them, and models to measure with.

Speed depends on shapes and not on what a model has learned, so random weights will do, and both
Motet and llama.cpp get the same ones: MXFP4 experts with identical values, the rest rounded from
the same numbers. Everything streams; what is left half written is removed.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from motet.cli.documents import InputError
from motet.cli.options import Precision
from motet.cli.terminal import note

if TYPE_CHECKING:
    from motet.checkpoint import ModelConfig

bench = typer.Typer(no_args_is_help=True, help="Measure models, and make some to measure.")

_GGUF = ".gguf"


@bench.command()
def model(
    path: Annotated[Path, typer.Argument(metavar="MODEL", help="A folder or .gguf file.")],
    prompts: Annotated[
        str, typer.Option(metavar="LIST", help="Tokens of a prompt, such as 128,512, or empty.")
    ] = "128,512",
    depths: Annotated[
        str, typer.Option(metavar="LIST", help="Tokens of context before an answer.")
    ] = "0,2048,8192",
    batches: Annotated[str, typer.Option(metavar="LIST", help="Answers at once.")] = "8,16",
    rounds: Annotated[int, typer.Option(min=1, help="Rounds of which the median counts.")] = 3,
    precision: Precision = "fast",
    threads: Annotated[
        int | None, typer.Option(min=1, max=256, show_default="the processors there are")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print everything as JSON.")] = False,
) -> None:
    """Measure a model on this machine, and how near it comes to what the machine allows."""
    from motet.cli.measuring import measure_model

    measure_model(
        path,
        prompts=_numbers("--prompts", prompts, least=2),
        depths=_numbers("--depths", depths, least=0),
        batches=_numbers("--batches", batches, least=2),
        rounds=rounds,
        precision=precision,
        threads=threads,
        as_json=as_json,
    )


@bench.command()
def synth(
    target: Annotated[
        Path, typer.Argument(metavar="TARGET", help="The folder or .gguf file to make.")
    ],
    shape: Annotated[Literal["20b", "120b"], typer.Option(help="Which model's shape.")],
    layers: Annotated[
        int | None,
        typer.Option(
            min=1, max=1000, metavar="COUNT", help="Layers.", show_default="those of the model"
        ),
    ] = None,
    seed: Annotated[
        int, typer.Option(min=0, metavar="NUMBER", help="The same seed, the same weights.")
    ] = 0,
    format_: Annotated[
        Literal["safetensors", "gguf"] | None,
        typer.Option(
            "--format",
            help="Hugging Face's folder, or llama.cpp's file with the same weights.",
            show_default="gguf for a name that ends so",
        ),
    ] = None,
) -> None:
    """Write random weights in the shape of gpt-oss."""
    from motet.checkpoint.published import published_config
    from motet.checkpoint.random import random_streams

    config = published_config(shape, layers)
    if (format_ or _format_of(target)) == "gguf":
        from motet.checkpoint.gguf import write_gguf
        from motet.cli.progress import ByteProgress
        from motet.harmony import o200k_harmony

        streams = {stream.name: stream for stream in random_streams(config, seed)}
        with ByteProgress(f"Writing {target}", _gguf_bytes(config)) as progress:
            write_gguf(target, config, streams, o200k_harmony(), written=progress.advance)
    else:
        from motet.checkpoint import write_checkpoint
        from motet.checkpoint.sizes import tensor_bytes
        from motet.cli.progress import ByteProgress

        with ByteProgress(f"Writing {target}", tensor_bytes(config)) as progress:
            write_checkpoint(target, config, random_streams(config, seed), written=progress.advance)
    note(f"Wrote {target}: gpt-oss-{shape} with {config.layers} layers of random weights.")


@bench.command()
def convert(
    source: Annotated[Path, typer.Argument(metavar="FOLDER", help="A checkpoint in safetensors.")],
    target: Annotated[Path, typer.Argument(metavar="FILE", help="The .gguf file to make.")],
) -> None:
    """Write a checkpoint as GGUF for llama.cpp: MXFP4 experts unchanged, matrices in Q8_0."""
    from motet.checkpoint import open_checkpoint
    from motet.checkpoint.gguf import write_gguf
    from motet.cli.progress import ByteProgress
    from motet.harmony import o200k_harmony

    checkpoint = open_checkpoint(source)
    if checkpoint.layout == "gguf":
        raise InputError(f"{source} is GGUF already: give a folder with safetensors.")
    config = checkpoint.config
    full = o200k_harmony() if config.vocabulary_size == o200k_harmony().size else None
    vocabulary = checkpoint.cut_vocabulary or full
    with ByteProgress(f"Writing {target}", _gguf_bytes(config)) as progress:
        write_gguf(target, config, checkpoint.tensors, vocabulary, written=progress.advance)
    note(f"Wrote {target}.")


def _numbers(option: str, text: str, least: int) -> list[int]:
    try:
        numbers = [int(part) for part in text.split(",")] if text.strip() else []
    except ValueError:
        numbers = [least - 1]
    if any(number < least for number in numbers):
        raise InputError(
            f"{option} is {text!r}: give numbers from {least} on, with commas between them."
        )
    return numbers


def _format_of(target: Path) -> str:
    return "gguf" if target.suffix == _GGUF else "safetensors"


def _gguf_bytes(config: "ModelConfig") -> int:
    from motet.checkpoint.gguf.writing import gguf_specs

    return sum(spec.nbytes for spec in gguf_specs(config))
