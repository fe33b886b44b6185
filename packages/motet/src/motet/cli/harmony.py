"""`motet harmony`: conversations to token ids and back, for debugging and for other languages.

Conversations and messages have openai-harmony's JSON shape. With `--jsonl` every line in is a case
and every line out its answer, at once, so another program can keep the command running and ask it
line by line; a bad line is answered by an object with the key `error`.
"""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from motet.cli.documents import InputError, json_text, parse_json, read_lines, read_source
from motet.cli.terminal import write
from motet.errors import MotetError

if TYPE_CHECKING:
    from motet.harmony import Vocabulary

harmony = typer.Typer(
    no_args_is_help=True, help="Turn conversations into harmony tokens and tokens into messages."
)

Source = Annotated[
    Path | None,
    typer.Argument(metavar="FILE", help="JSON.", show_default="standard input"),
]
Jsonl = Annotated[bool, typer.Option("--jsonl", help="One case a line in, one answer a line out.")]
VocabularyPath = Annotated[
    Path | None,
    typer.Option(
        "--vocabulary",
        metavar="PATH",
        help="A motet_vocabulary.json, or a checkpoint folder.",
        show_default="o200k_harmony",
    ),
]
RoleName = Literal["system", "developer", "user", "assistant", "tool"]
Retention = Literal["current_turn", "reference", "all"]


@harmony.command()
def render(
    source: Source = None,
    role: Annotated[
        RoleName | None,
        typer.Option(help="Ask for a completion: end with the start of a message by this role."),
    ] = None,
    training: Annotated[
        bool, typer.Option("--training", help="End a last final answer as the model should.")
    ] = False,
    retention: Annotated[
        Retention,
        typer.Option(
            help="Which chain of thought stays: that of the turn that still runs, what "
            "openai-harmony keeps, or all."
        ),
    ] = "current_turn",
    vocabulary: VocabularyPath = None,
    jsonl: Jsonl = False,
) -> None:
    """Print the tokens of a conversation, and the text they stand for."""
    if role and training:
        raise InputError("--role and --training exclude each other.")
    from motet.harmony import (
        AnalysisRetention,
        Conversation,
        Role,
        render_conversation,
        render_for_completion,
        render_for_training,
    )

    words = read_vocabulary(vocabulary)
    kept = AnalysisRetention(retention)

    def answer(document: Any) -> dict[str, Any]:
        conversation = Conversation.from_json(document)
        if role:
            tokens = render_for_completion(conversation, words, Role(role), retention=kept)
        elif training:
            tokens = render_for_training(conversation, words, retention=kept)
        else:
            tokens = render_conversation(conversation, words, retention=kept)
        return {"tokens": tokens, "text": words.decode(tokens)}

    answer_cases(source, answer, jsonl=jsonl)


@harmony.command()
def parse(
    source: Source = None,
    role: Annotated[
        RoleName | None,
        typer.Option(
            help="Who wrote the tokens, which begin after that role's name.",
            show_default="assistant, or whole messages if they begin with <|start|>",
        ),
    ] = None,
    vocabulary: VocabularyPath = None,
    jsonl: Jsonl = False,
) -> None:
    """Print the messages in token ids, and every repair that was needed to read them.

    Takes a list of ids, or an object with such a list under "tokens", as `render` prints it.
    """
    from dataclasses import asdict

    from motet.harmony import Role, parse_tokens

    words = read_vocabulary(vocabulary)

    def answer(document: Any) -> dict[str, Any]:
        tokens = token_ids(document)
        whole = role is None and tokens[:1] == [words.start]
        result = parse_tokens(tokens, words, None if whole else Role(role or "assistant"))
        return {
            "messages": [message.to_json() for message in result.messages],
            "repairs": [asdict(repair) for repair in result.repairs],
        }

    answer_cases(source, answer, jsonl=jsonl)


def answer_cases(
    source: Path | None, answer: Callable[[Any], dict[str, Any]], *, jsonl: bool
) -> None:
    """Answer the one document in the source, or each of its lines."""
    if not jsonl:
        write(f"{json_text(answer(parse_json(read_source(source))))}\n")
        return
    failed = False
    for line in read_lines(source):
        try:
            reply = answer(parse_json(line.rstrip(b"\r\n")))
        except MotetError as error:
            reply = {"error": str(error)}
            failed = True
        write(f"{json_text(reply)}\n")
    if failed:
        raise typer.Exit(2)


def read_vocabulary(path: Path | None) -> "Vocabulary":
    """The vocabulary in a file, or that of a checkpoint folder, which is full without a file."""
    from motet.harmony import VOCABULARY_FILE, Vocabulary, o200k_harmony

    if path and path.is_dir():
        path = path / VOCABULARY_FILE
        if not path.exists():
            path = None
    return Vocabulary.from_json(parse_json(read_source(path))) if path else o200k_harmony()


def token_ids(document: Any) -> list[int]:
    """The ids in a list, or in the list under "tokens"."""
    tokens = document.get("tokens") if isinstance(document, dict) else document
    if not isinstance(tokens, list) or any(type(token) is not int for token in tokens):
        raise InputError('The input is neither a list of token ids nor an object with "tokens".')
    return tokens
