"""The options that `chat` and `generate` share, declared once."""

from pathlib import Path
from typing import Annotated, Literal

import typer

Effort = Annotated[
    Literal["low", "medium", "high"] | None,
    typer.Option(
        help="How long the model thinks before it answers.",
        show_default="high for the embedded nano model, medium for any other",
    ),
]
ModelPath = Annotated[
    Path | None,
    typer.Option(
        "--model",
        metavar="PATH",
        help="A folder with a gpt-oss checkpoint, or a GGUF file.",
        show_default="the embedded nano model",
    ),
]
Engines = Annotated[
    list[str] | None,
    typer.Option(
        "--engine",
        metavar="URL",
        help="A server that runs the model instead (vLLM, SGLang, llama.cpp, Motet), again for each"
        " further one that runs the same model. MOTET_ENGINE_KEY may hold its key.",
        show_default="this computer",
    ),
]
Developer = Annotated[
    str | None,
    typer.Option(
        "--developer",
        "--system",
        metavar="TEXT",
        help="Instructions that stand above the conversation (elsewhere: the system prompt).",
    ),
]
MaximumTokens = Annotated[
    int | None,
    typer.Option(
        min=1,
        metavar="COUNT",
        help="Cut an answer after so many tokens.",
        show_default="the end of the context",
    ),
]
ThinkingTokens = Annotated[
    int | None,
    typer.Option(
        min=0,
        metavar="COUNT",
        help="End the chain of thought after so many tokens and go on to the answer; 0 is none.",
        show_default="as long as an answer still fits",
    ),
]
Temperature = Annotated[
    float | None,
    typer.Option(
        metavar="NUMBER",
        help="0 always takes the likeliest token; higher is more varied.",
        show_default="0 for the embedded nano model, 1 for any other",
    ),
]
Seed = Annotated[
    int | None,
    typer.Option(metavar="NUMBER", help="Makes a random answer repeatable."),
]
Precision = Annotated[
    Literal["fast", "fast4", "exact"],
    typer.Option(
        help="fast computes in 8 bits where little is lost, fast4 keeps half of attention in 4,"
        " exact computes in float32 on the file's weights."
    ),
]
