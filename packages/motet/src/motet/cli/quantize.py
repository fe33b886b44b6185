"""`motet quantize` and `motet dequantize`: from a model in floats to MXFP4, and the way back.

Both stream layer by layer and go on where they were stopped: the same command again finishes what
lies in TARGET.partial.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from motet.cli.documents import InputError, decode, json_text, parse_json, read_lines, read_source
from motet.cli.terminal import Waiting, note, write

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from motet.harmony import Vocabulary
    from motet.quantization import Comparison, TensorError

_TEXT_TOKENS = 512  # a longer text is cut into several

Encoding = Literal["bf16", "int8", "mxfp4"]


def quantize(
    source: Annotated[
        Path, typer.Argument(metavar="SOURCE", help="A model in bfloat16, float16 or float32.")
    ],
    target: Annotated[
        Path, typer.Argument(metavar="TARGET", help="The folder or .gguf file to make.")
    ],
    method: Annotated[
        Literal["plain", "search", "calibrated"],
        typer.Option(
            help="plain rounds to the nearest with the released scales, search finds each block's "
            "best scale, calibrated minimises the error of the outputs on --calibration texts."
        ),
    ] = "search",
    dual_scaled: Annotated[
        bool,
        typer.Option(
            "--dual-scaled",
            help="Take uneven columns out first, folded exactly into the rest of the model.",
        ),
    ] = False,
    calibration: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Texts for --method calibrated and --dual-scaled: UTF-8, or JSON lines of token "
            "ids as `motet harmony render --jsonl` prints them (.jsonl).",
        ),
    ] = None,
    attention: Annotated[
        Encoding | None,
        typer.Option(
            help="Attention matrices; other than bf16 in a .gguf file only.",
            show_default="bf16, in a .gguf file int8",
        ),
    ] = None,
    embeddings: Annotated[
        Encoding | None,
        typer.Option(help="Embeddings and head, likewise.", show_default="as attention"),
    ] = None,
    evaluate: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Texts on which to compare the result with the source afterwards."
        ),
    ] = None,
    report: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Write what every tensor has lost as JSON (- is stdout)."
        ),
    ] = None,
) -> None:
    """Write a model in floats, such as a fine-tune, with MXFP4 experts."""
    from motet.checkpoint import open_checkpoint, open_floating
    from motet.cli.progress import ByteProgress
    from motet.quantization import Recipe, StoredWeights, compare, quantize_checkpoint
    from motet.quantization.conversion import is_file_target, result_bytes

    if method == "calibrated" and calibration is None:
        raise InputError(
            "--method calibrated needs --calibration FILE, texts to measure inputs on."
        )
    if calibration and method != "calibrated" and not dual_scaled:
        raise InputError("--calibration is for --method calibrated and for --dual-scaled.")
    usual: Encoding = "int8" if is_file_target(target) else "bf16"
    recipe = Recipe(method, dual_scaled, attention or usual, embeddings or attention or usual)
    opened = open_floating(source)
    texts = read_texts(calibration, opened.vocabulary) if calibration else []
    trials = read_texts(evaluate, opened.vocabulary) if evaluate else []
    with ByteProgress(f"Writing {target}", result_bytes(opened, target, recipe)) as progress:
        errors = quantize_checkpoint(opened, target, recipe, texts, written=progress.advance)
    comparison = None
    if trials:
        with Waiting("Comparing it with the source"):
            weights = StoredWeights(opened), StoredWeights(open_checkpoint(target))
            comparison = compare(opened.config, *weights, trials)
    if report:
        _write_report(report, errors, comparison)
    if report is None or str(report) != "-":
        write(_table(errors, comparison))
    note(f"Wrote {target}.")


def dequantize(
    source: Annotated[
        Path, typer.Argument(metavar="SOURCE", help="A folder with a gpt-oss checkpoint.")
    ],
    target: Annotated[Path, typer.Argument(metavar="TARGET", help="The folder to make.")],
) -> None:
    """Write a checkpoint in bfloat16 throughout, exactly; it is about three times as large."""
    from motet.checkpoint import dequantize_checkpoint, open_checkpoint
    from motet.checkpoint.layout import tensor_specs
    from motet.cli.progress import ByteProgress

    checkpoint = open_checkpoint(source)
    total = sum(spec.nbytes for spec in tensor_specs(checkpoint.config, "BF16"))
    with ByteProgress(f"Writing {target}", total) as progress:
        changed = dequantize_checkpoint(checkpoint, target, written=progress.advance)
    note(f"Wrote {target}.")
    if changed:
        note(
            f"{changed} blocks do not use their scale's largest values: quantised again they hold"
            " the same values in other bytes."
        )


def read_texts(path: Path, vocabulary: "Vocabulary") -> "list[NDArray[np.int32]]":
    """The token ids of texts, none longer than 512. Raises InputError."""
    import numpy as np

    from motet.cli.harmony import token_ids

    if path.suffix == ".jsonl":
        found = [token_ids(parse_json(line)) for line in read_lines(path) if line.strip()]
    else:
        found = [vocabulary.encode(decode(read_source(path)))]
    if not any(found):
        raise InputError(f"{path} holds no text.")
    if any(not 0 <= token < vocabulary.size for ids in found for token in ids):
        raise InputError(f"{path} holds token ids that the model does not have.")
    return [
        np.array(ids[start : start + _TEXT_TOKENS], dtype=np.int32)
        for ids in found
        for start in range(0, len(ids), _TEXT_TOKENS)
    ]


def _table(errors: "list[TensorError]", comparison: "Comparison | None") -> str:
    """One line for each kind of tensor that was rounded to MXFP4, and what it did to the model."""
    from motet.quantization import by_kind

    lines = [f"{'rounded to MXFP4':<24}{'bits':>6}{'error':>10}{'plainly':>10}  method\n"]
    lines += [
        f"{each.name:<24}{each.bits:>6.2f}{each.relative:>10.5f}{each.plain_relative:>10.5f}"
        f"  {each.method}\n"
        for each in by_kind(errors)
    ]
    if comparison:
        lines.append(
            f"beside the source: divergence {comparison.divergence:.5f} nats, the same likeliest"
            f" token at {comparison.agreement:.2%} of {comparison.positions} positions\n"
        )
    return "".join(lines)


def _write_report(path: Path, errors: "list[TensorError]", comparison: "Comparison | None") -> None:
    values = {
        "tensors": [each.to_json() for each in errors],
        "comparison": comparison.to_json() if comparison else None,
    }
    text = f"{json_text(values, indent=2)}\n"
    if str(path) == "-":
        write(text)
        return
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise InputError(f"{path} cannot be written: {error.strerror}.") from error
