"""`motet chat`: a conversation, in a terminal or through a pipe.

In a terminal the whole turn is shown, Ctrl-C stops an answer, and what was typed is remembered
until the program ends and written nowhere. In a pipe each line in is a message and only final
answers come out; a turn that fails is named on stderr and the next line is still answered.
"""

import sys
from typing import Annotated

import typer

from motet.cli.options import (
    Developer,
    Effort,
    Engines,
    MaximumTokens,
    ModelPath,
    Precision,
    Seed,
    Temperature,
    ThinkingTokens,
)


def chat(
    model: ModelPath = None,
    engine: Engines = None,
    effort: Effort = None,
    developer: Developer = None,
    maximum_tokens: MaximumTokens = None,
    thinking_tokens: ThinkingTokens = None,
    temperature: Temperature = None,
    seed: Seed = None,
    precision: Precision = "fast",
    hide_thinking: Annotated[
        bool, typer.Option("--hide-thinking", help="Do not show the chain of thought.")
    ] = False,
) -> None:
    """Talk with a model.

    In a terminal the chain of thought is shown dimmed, as the model wrote it. In a pipe every
    line is a message and only the final answers come out.
    """
    from asyncio import Runner

    from motet.cli.conversing import PipeFront, TerminalFront, converse
    from motet.cli.models import open_model
    from motet.cli.session import Session
    from motet.harmony.grammar import TurnRules

    opened = open_model(model, precision, engine)
    session = Session(
        opened,
        effort=effort or opened.effort,
        developer=developer,
        sampling=opened.sampled(temperature, seed),
        maximum_tokens=maximum_tokens,
        rules=TurnRules(maximum_thinking_tokens=thinking_tokens),
    )
    interactive = sys.stdin.isatty() and sys.stdout.isatty()
    front = TerminalFront(opened, hide_thinking=hide_thinking) if interactive else PipeFront()
    with Runner() as runner:
        all_answered = converse(runner, session, front)
        runner.run(opened.engine.close())
    if not (interactive or all_answered):
        raise typer.Exit(2)
