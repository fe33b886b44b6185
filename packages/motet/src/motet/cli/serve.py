"""`motet serve`: OpenAI's APIs over a model on this machine.

Its options are the settings of `motet.server.settings`, one for each, so that there is one place
that says what a server can be told.
"""

import inspect
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from annotated_types import Ge, Le

from motet.server.settings import Settings, setting_types, shown_default

if TYPE_CHECKING:
    from motet.server.model import ServedModel


def serve(config: Path | None = None, **flags: Any) -> None:
    """Answer OpenAI's clients over HTTP: Responses, Chat Completions, Completions.

    Every option can also be set as MOTET_NAME in the environment, or in a TOML file. Point a client
    at http://127.0.0.1:8000/v1, with any API key unless --keys names some.
    """
    from motet.server.keys import read_keys
    from motet.server.serving import listen, serve_model
    from motet.server.settings import read_settings

    settings = read_settings(flags, config)
    keys = read_keys(settings)
    listener = listen(settings)
    serve_model(served_model(settings), settings, keys, listener)


def served_model(settings: Settings) -> "ServedModel":
    """The model that the settings name, opened. Raises InputError and what opening it raises."""
    from motet.cli.models import open_model
    from motet.server.model import ServedModel

    opened = open_model(
        settings.model,
        settings.precision,
        settings.engine,
        threads=settings.threads,
        key_value_limit=settings.key_value_limit,
        maximum_waiting=settings.maximum_waiting,
        speculation=settings.speculation,
    )
    return ServedModel(
        engine=opened.engine,
        vocabulary=opened.vocabulary,
        names=tuple(settings.name) or (_name(settings, opened.title),),
        sampling=opened.sampling,
        effort=opened.effort,
        dated=opened.dated,
    )


def _name(settings: Settings, title: str) -> str:
    """What the model answers to: the name of its folder, or the one its servers give it."""
    if settings.engine:
        return title if "nano" not in title else "motet-nano"
    return settings.model.absolute().name if settings.model else "motet-nano"


def _option(kind: Any, meaning: str, shown: str) -> Any:
    """The annotation of an option: its type without None, its bounds and its help."""
    bounds: dict[str, Any] = {}
    members = [each for each in getattr(kind, "__args__", ()) if each is not type(None)]
    if type(None) in getattr(kind, "__args__", ()):
        (kind,) = members
    for bound in getattr(kind, "__metadata__", ()):
        if isinstance(bound, Ge):
            bounds["min"] = bound.ge
        elif isinstance(bound, Le):
            bounds["max"] = bound.le
    kind = getattr(kind, "__origin__", kind) if bounds else kind
    many = getattr(kind, "__origin__", None) is list
    option = typer.Option(help=meaning, show_default=shown or False, **bounds)
    return Annotated[kind if many else kind | None, option]


def _signature() -> inspect.Signature:
    """The options of the command; none has a default, so that one that is given can be told."""
    option = typer.Option(help="A TOML file with settings.", metavar="FILE")
    keyword = inspect.Parameter.KEYWORD_ONLY
    parameters = [
        inspect.Parameter(
            "config", keyword, default=None, annotation=Annotated[Path | None, option]
        )
    ]
    types = setting_types()
    for each in fields(Settings):
        kind = _option(types[each.name], each.metadata["help"], shown_default(each))
        many = getattr(types[each.name], "__origin__", None) is list
        default: Any = [] if many else None
        parameters.append(inspect.Parameter(each.name, keyword, default=default, annotation=kind))
    return inspect.Signature(parameters)


serve.__signature__ = _signature()  # type: ignore[attr-defined]
serve.__annotations__ = {
    name: each.annotation for name, each in inspect.signature(serve).parameters.items()
}
