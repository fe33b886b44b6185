"""The server on a cluster of processors: an application for Ray Serve (`pip install motet[ray]`).

    serve run motet.cli.ray_app:build model=/models/gpt-oss-20b threads=16 maximum_replicas=8 \
        store=postgresql://cluster/motet

Every replica is a whole server with an engine of its own, and Ray starts more of them when there is
more to answer. The arguments are the settings of `motet serve` by their names in a file, and those
of `Replicas`; `host`, `port` and `drain_seconds` are Ray's business and have no effect.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path

from fastapi import FastAPI
from pydantic import TypeAdapter, ValidationError
from ray import serve

from motet.cli.serve import served_model
from motet.engine.processors import available_processors
from motet.engine.scheduling import LIVE_GENERATIONS
from motet.server.app import make_app
from motet.server.keys import read_keys
from motet.server.logs import log_to_stderr
from motet.server.settings import IN_MEMORY, PREFIX, Settings, SettingsError, read_settings


@dataclass(frozen=True)
class Replicas:
    """How many replicas there are: as many as give each about `requests_per_replica` at once."""

    minimum_replicas: int = 1
    maximum_replicas: int = 1
    requests_per_replica: float = 8.0


def build(arguments: Mapping[str, str]) -> serve.Application:
    """The application; lists have commas between their parts. Raises SettingsError."""
    replicas, settings = _read(dict(arguments))
    if replicas.maximum_replicas > 1 and settings.store in IN_MEMORY:
        raise SettingsError(
            "Several replicas need one store, or they would not know each other's responses: give"
            " store=URL with a database that all machines reach."
        )
    processors = settings.threads or available_processors()
    settings.threads = processors

    def application() -> FastAPI:
        """Made by every replica for itself."""
        log_to_stderr(settings.log_level)
        keys = read_keys(settings)
        return make_app(served_model(settings), settings, keys, shares_store=True)

    deployment = serve.deployment(serve.ingress(application)())
    return deployment.options(
        name="motet",
        ray_actor_options={"num_cpus": processors},
        max_ongoing_requests=LIVE_GENERATIONS,
        autoscaling_config={
            "min_replicas": replicas.minimum_replicas,
            "max_replicas": replicas.maximum_replicas,
            "target_ongoing_requests": replicas.requests_per_replica,
        },
    ).bind()


def _read(arguments: dict[str, str]) -> tuple[Replicas, Settings]:
    names = {each.name for each in fields(Replicas)}
    chosen = {name: arguments.pop(name) for name in names & arguments.keys()}
    config = arguments.pop("config", None)
    if unknown := sorted(arguments.keys() - {each.name for each in fields(Settings)}):
        raise SettingsError(f"{unknown[0]} is neither a setting nor one of {', '.join(names)}.")
    try:
        replicas = TypeAdapter(Replicas).validate_python(chosen)
    except ValidationError as error:
        first = error.errors()[0]
        raise SettingsError(f"{first['loc'][0]} cannot be {first['input']!r}.") from error
    environment = {f"{PREFIX}{name.upper()}": str(value) for name, value in arguments.items()}
    return replicas, read_settings({}, Path(config) if config else None, environment)
