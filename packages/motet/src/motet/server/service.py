"""What the routes of one server share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

from fastapi import Request

from motet.server.memory import TurnMemory
from motet.server.metrics import Metrics
from motet.server.model import ServedModel
from motet.server.responses.running import Runs
from motet.server.settings import Settings
from motet.server.store import Store


@dataclass(frozen=True)
class Service:
    """The model and everything that outlives a request."""

    model: ServedModel
    settings: Settings
    store: Store
    memory: TurnMemory
    metrics: Metrics
    runs: Runs


def service_of(request: Request) -> Service:
    """The service of the application a request came to."""
    return cast(Service, request.app.state.service)


def owner_of(request: Request) -> str:
    """The name of the key a request came with: it sees only what it has stored itself."""
    return cast(str, request.scope["motet.owner"])
