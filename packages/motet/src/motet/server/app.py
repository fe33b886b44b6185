"""The application: routes, what they share, and what stands around them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http import HTTPStatus
from time import time

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware

from motet import __version__
from motet.agent import TurnOptions
from motet.errors import MotetError
from motet.harmony.grammar import AnswerFormat, TurnRules
from motet.server import completions, other
from motet.server.chat import routes as chat
from motet.server.errors import ApiError
from motet.server.generation import prepare
from motet.server.http import error_answer, logged
from motet.server.keys import KeyRing
from motet.server.limits import Gate
from motet.server.memory import TurnMemory
from motet.server.metrics import Metrics
from motet.server.model import ServedModel
from motet.server.prompts import Ask, conversation
from motet.server.responses import conversations
from motet.server.responses import routes as responses
from motet.server.responses.running import Runs
from motet.server.service import Service
from motet.server.settings import Settings
from motet.server.store import Store


def make_app(
    model: ServedModel, settings: Settings, keys: KeyRing, *, shares_store: bool = False
) -> FastAPI:
    """The server's ASGI application; closes engine and store when it ends.

    What the store has of unfinished responses was left by a server that is gone, unless this one
    `shares_store` with others that may still make them: then only what took too long has failed.
    """
    service = Service(
        model=model,
        settings=settings,
        store=Store(settings.store, settings.store_hours),
        memory=TurnMemory(settings.remembered_turns),
        metrics=Metrics(model.engine),
        runs=Runs(),
    )

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        await prepare(model, _warm_up(model))
        if not shares_store:
            await service.store.end_unfinished(time())
        elif settings.request_seconds:
            await service.store.end_unfinished(time() - settings.request_seconds)
        yield
        await service.runs.drain(settings.drain_seconds)
        await model.engine.close()
        await service.store.close()

    app = FastAPI(
        title="Motet",
        version=__version__,
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
    )
    app.state.service = service
    app.state.is_draining = False
    for router in (chat.router, responses.router, conversations.router):
        app.include_router(router)
    app.include_router(completions.router)
    app.include_router(other.router)
    app.add_exception_handler(MotetError, _known)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http)
    app.add_middleware(
        Gate,
        keys=keys,
        metrics=service.metrics,
        hosts=settings.hosts,
        maximum_body=settings.maximum_body,
        log_prompts=settings.log_prompts,
    )
    if settings.cors_origins:  # outermost: a browser's first question carries no key
        app.add_middleware(
            CORSMiddleware,
            allow_origins=settings.cors_origins,
            allow_methods=["*"],
            allow_headers=["*"],
        )
    return app


def _warm_up(model: ServedModel) -> Ask:
    """Something to prepare before anybody asks: a vocabulary's first grammar takes its time."""
    rules = TurnRules(answer=AnswerFormat.json_object())
    return Ask(conversation(model.system(None), ()), TurnOptions(rules=rules))


async def _known(_: Request, error: Exception) -> Response:
    return error_answer(logged(error))


async def _invalid(_: Request, error: Exception) -> Response:
    """What pydantic found, in the shape of OpenAI's errors: the first complaint and its path."""
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    where, *path = first["loc"]
    if first["type"] == "json_invalid":
        return error_answer(ApiError(f"The body is not JSON: {first['ctx']['error']}."))
    if not path and where == "body":
        return error_answer(
            ApiError("The body must be a JSON object, sent as application/json.", code="no_body")
        )
    return error_answer(ApiError(f"{first['msg']}.", param=_dotted(path)))


def _dotted(path: list[int | str]) -> str:
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}"
    return text.removeprefix(".")


async def _http(_: Request, error: Exception) -> Response:
    """What the routing refuses: no such path, no such method."""
    assert isinstance(error, HTTPException)
    detail = error.detail or HTTPStatus(error.status_code).phrase
    return error_answer(ApiError(f"{detail}.", status=error.status_code, headers=error.headers))
