"""`motet generate`: one prompt in, the final answer alone on standard output."""

import sys
from typing import Annotated

import typer

from motet.cli.documents import InputError, decode, read_source
from motet.cli.options import Developer, Effort, MaximumTokens, ModelPath, Seed, Temperature
from motet.cli.terminal import note


def generate(
    prompt: Annotated[
        str | None,
        typer.Argument(help="The question.", show_default="read from standard input"),
    ] = None,
    model: ModelPath = None,
    effort: Effort = "medium",
    developer: Developer = None,
    maximum_tokens: MaximumTokens = None,
    temperature: Temperature = None,
    seed: Seed = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print all messages, repairs and token counts.")
    ] = False,
) -> None:
    """Answer one prompt; standard output carries the final answer and nothing else.

    Exit code 3 means that the model called a function, 4 that it gave no whole final answer; what
    it did say is printed all the same.
    """
    if prompt is None and sys.stdin.isatty():
        note("Type the prompt, then Ctrl-D.")
    question = prompt if prompt is not None else decode(read_source(None))
    if not question.strip():
        raise InputError("The prompt is empty.")

    from asyncio import Runner

    from motet.cli.answers import JsonAnswer, PlainAnswer, play
    from motet.cli.models import open_model
    from motet.cli.session import Session

    opened = open_model(model)
    session = Session(
        opened,
        effort=effort,
        developer=developer,
        sampling=opened.sampled(temperature, seed),
        maximum_tokens=maximum_tokens,
    )
    with Runner() as runner:
        answer = JsonAnswer() if as_json else PlainAnswer()
        outcome = play(runner, session.turn(question.strip()), answer)
        runner.run(opened.engine.close())
    raise typer.Exit(outcome)
