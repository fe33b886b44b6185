"""`motet generate`: one prompt in, the final answer alone on standard output."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from motet.cli.documents import InputError, decode, parse_json, read_source
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
from motet.cli.terminal import note


def generate(
    prompt: Annotated[
        str | None,
        typer.Argument(help="The question.", show_default="read from standard input"),
    ] = None,
    model: ModelPath = None,
    engine: Engines = None,
    effort: Effort = None,
    developer: Developer = None,
    maximum_tokens: MaximumTokens = None,
    thinking_tokens: ThinkingTokens = None,
    temperature: Temperature = None,
    seed: Seed = None,
    precision: Precision = "fast",
    conversation: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Instead of a prompt: the whole conversation, system message, functions and "
            "results included, as openai-harmony's JSON (- is standard input).",
        ),
    ] = None,
    schema: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="A JSON schema that the answer, which is JSON, is valid against (- is stdin).",
        ),
    ] = None,
    pattern: Annotated[
        str | None,
        typer.Option(metavar="REGEX", help="The answer matches this regular expression."),
    ] = None,
    tool_choice: Annotated[
        str,
        typer.Option(
            metavar="CHOICE",
            help="For a conversation with functions: auto, none, required, or a function's name.",
        ),
    ] = "auto",
    as_json: Annotated[
        bool, typer.Option("--json", help="Print all messages, repairs and token counts.")
    ] = False,
) -> None:
    """Answer one prompt; standard output carries the final answer and nothing else.

    Exit code 3 means that the model called a function, 4 that it gave no whole final answer; what
    it did say is printed all the same.
    """
    if conversation and (prompt is not None or developer is not None):
        raise InputError("--conversation is all the model reads: give no prompt or --developer.")
    if schema and pattern is not None:
        raise InputError("An answer has one format: give --schema or --pattern, not both.")
    wanted = parse_json(read_source(schema)) if schema else None
    question = parse_json(read_source(conversation)) if conversation else read_prompt(prompt)

    from asyncio import Runner

    from motet.agent import Turn, TurnOptions
    from motet.cli.answers import JsonAnswer, PlainAnswer, play
    from motet.cli.formats import announced, answer_format, chosen_tools
    from motet.cli.models import open_model
    from motet.harmony import Conversation, Message
    from motet.harmony.grammar import TurnRules

    rules = TurnRules(chosen_tools(tool_choice), answer_format(wanted, pattern), thinking_tokens)
    opened = open_model(model, precision, engine)
    if conversation:
        asked = Conversation.from_json(question)
    else:
        opening = opened.opening(effort or opened.effort, developer)
        asked = Conversation((*opening.messages, Message.user(question)))
    if wanted is not None:
        asked = announced(asked, wanted)
    options = TurnOptions(opened.sampled(temperature, seed), maximum_tokens, rules)
    with Runner() as runner:
        answer = JsonAnswer() if as_json else PlainAnswer()
        outcome = play(runner, Turn(opened.engine, opened.vocabulary, asked, options), answer)
        runner.run(opened.engine.close())
    raise typer.Exit(outcome)


def read_prompt(argument: str | None) -> str:
    """The prompt from the command line or, without one, from standard input; never empty."""
    if argument is None and sys.stdin.isatty():
        note("Type the prompt, then Ctrl-D.")
    prompt = argument if argument is not None else decode(read_source(None))
    if not prompt.strip():
        raise InputError("The prompt is empty.")
    return prompt.strip()
