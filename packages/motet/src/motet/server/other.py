"""The small routes: models, health, metrics, and what is not offered."""

from __future__ import annotations

import asyncio
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import Response
from pydantic import BaseModel

from motet.server.errors import ApiError
from motet.server.http import answer, strict_routes
from motet.server.model import ServedModel
from motet.server.service import service_of

router = APIRouter(route_class=strict_routes)


@router.get("/v1/models", tags=["models"])
async def list_models(request: Request) -> Response:
    """The names the model answers to."""
    model = service_of(request).model
    return answer({"object": "list", "data": [_model(model, name) for name in model.names]})


@router.get("/v1/models/{name:path}", tags=["models"])
async def get_model(name: str, request: Request) -> Response:
    """One of them."""
    model = service_of(request).model
    model.require(name)
    return answer(_model(model, name))


def _model(model: ServedModel, name: str) -> dict[str, Any]:
    return {
        "id": name,
        "object": "model",
        "created": model.created,
        "owned_by": "motet",
        "context_length": model.engine.context_length,
        "vocabulary_size": model.engine.vocabulary_size,
    }


class Text(BaseModel):
    """A text to be seen as tokens, named as vLLM or as llama.cpp name it."""

    prompt: str | None = None
    content: str | None = None


@router.post("/tokenize", tags=["models"])
async def tokenize(body: Text, request: Request) -> Response:
    """The ids of ordinary text."""
    vocabulary = service_of(request).model.vocabulary
    tokens = await asyncio.to_thread(vocabulary.encode, body.prompt or body.content or "")
    return answer({"tokens": tokens, "count": len(tokens)})


@router.post("/v1/embeddings", tags=["not offered"])
async def create_embeddings() -> Response:
    """Refused: the model gives no embeddings."""
    raise ApiError(
        "gpt-oss is no embedding model, so this server offers no embeddings; ask one that has"
        " such a model.",
        code="not_offered",
    )


@router.get("/health/live", tags=["health"])
async def is_alive() -> Response:
    """Whether the process answers."""
    return answer({"status": "ok"})


@router.get("/health", tags=["health"])
@router.get("/health/ready", tags=["health"])
async def is_ready(request: Request) -> Response:
    """Whether it takes requests; no longer once it is to end."""
    if request.app.state.is_draining:
        return answer({"status": "draining"}, status=503)
    return answer({"status": "ok"})


@router.get("/metrics", tags=["health"])
async def metrics(request: Request) -> Response:
    """Figures in Prometheus' text format."""
    text = service_of(request).metrics.text()
    return Response(text, media_type="text/plain; version=0.0.4; charset=utf-8")
