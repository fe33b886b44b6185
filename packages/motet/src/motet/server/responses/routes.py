"""The routes of the Responses API."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response

from motet.agent import Turn
from motet.server.errors import ApiError, not_found
from motet.server.generation import begun, play, prepare, prompt_length
from motet.server.http import answer, events_answer, named_events, strict_routes, while_connected
from motet.server.memory import Said
from motet.server.responses.events import Event, ResponseStream
from motet.server.responses.items import Item, normal_items, paired, read_items
from motet.server.responses.requests import (
    InputRequest,
    ResponseRequest,
    opening_response,
    read_input,
    read_response,
)
from motet.server.responses.running import UNFINISHED, Making, not_in_background
from motet.server.service import Service, owner_of, service_of
from motet.server.store import SaidItem, StoredResponse

router = APIRouter(route_class=strict_routes, tags=["responses"])


@dataclass(frozen=True)
class _Given:
    """What a request goes on from and what it adds."""

    history: list[Said]
    items: list[Item]
    said: list[Said]

    @property
    def everything(self) -> list[Said]:
        return [*self.history, *self.said]


async def _given(service: Service, owner: str, request: InputRequest) -> _Given:
    history: list[Said] = []
    if request.previous_response_id:
        history = await _history(service, owner, request.previous_response_id)
    elif request.conversation_id:
        kept = await service.store.items(owner, request.conversation_id)
        history = [said for item in kept for said in item.said]
    items = await _referred(service, owner, normal_items(request.input or []))
    if not items and not history and not request.instructions:
        raise ApiError("There is no input.", param="input")
    return _Given(history, items, read_items(items, history))


async def _referred(service: Service, owner: str, items: Sequence[Item]) -> list[Item]:
    """The items, with the stored ones in the place of references to them."""
    return [
        await service.store.output(owner, str(item["id"]))
        if item["type"] == "item_reference"
        else item
        for item in items
    ]


async def _history(service: Service, owner: str, response_id: str) -> list[Said]:
    stored = await service.store.response(owner, response_id)
    if stored.body["status"] in UNFINISHED:
        raise ApiError(
            f"The response {response_id!r} is not finished yet.", param="previous_response_id"
        )
    return await service.store.history(owner, response_id)


@router.post("/v1/responses")
async def create_response(body: ResponseRequest, request: Request) -> Response:
    """Answer items; in the background only the beginning is answered."""
    service, owner = service_of(request), owner_of(request)
    service.model.require(body.model)
    given = await _given(service, owner, body)
    ask = read_response(body, given.everything, service.model, service.memory)
    prepared = await prepare(service.model, ask, truncate=body.truncation == "auto")
    (turn,) = prepared.turns
    opening = opening_response(body, service.model, ask, prepared.warnings)
    stream = ResponseStream(opening, service.model.vocabulary, body.include or ())

    async def keep() -> None:
        await _keep(service, owner, body, given, stream, turn)

    making = Making(turn, stream, keep)
    harmony = play(turn, service.metrics, seconds=service.settings.request_seconds)
    if body.background:
        begun_with = StoredResponse(opening, given.items, given.said)
        await service.store.begin(owner, begun_with)
        run = service.runs.start(owner, making, harmony)
        events = run.follow()
        return events_answer(named_events(events)) if body.stream else answer(run.response)
    events = making.events(await begun(harmony))
    if body.stream:
        return events_answer(named_events(events))
    return answer(await while_connected(request, _last_response(events)))


async def _last_response(events: AsyncGenerator[Event, None]) -> dict[str, Any]:
    async with aclosing(events):
        async for event in events:
            last = event
    response: dict[str, Any] = last["response"]
    return response


async def _keep(
    service: Service,
    owner: str,
    request: ResponseRequest,
    given: _Given,
    stream: ResponseStream,
    turn: Turn,
) -> None:
    """Store what was asked and answered, and remember a call's exact turn."""
    pairs = list(zip(stream.output, turn.messages, strict=False))
    answered = [Said(message, item.get("call_id")) for item, message in pairs]
    if answered and answered[-1].call_id:
        service.memory.keep(answered[-1].call_id, turn.messages)
    if request.is_stored:
        kept = StoredResponse(stream.response, given.items, [*given.said, *answered])
        await service.store.keep(owner, kept)
    if request.conversation_id:
        said_items = [
            *items_with_messages(given.items, given.history),
            *(SaidItem(item, [said]) for (item, _), said in zip(pairs, answered, strict=True)),
        ]
        await service.store.add_items(owner, request.conversation_id, said_items)


def items_with_messages(items: Sequence[Item], earlier: Sequence[Said]) -> list[SaidItem]:
    """Each item with what it says, results behind their calls."""
    said = list(earlier)
    result = []
    for item in (items[index] for index in paired(items)):
        new = read_items([item], said)
        said += new
        result.append(SaidItem(item, new))
    return result


@router.post("/v1/responses/input_tokens")
async def count_input_tokens(body: InputRequest, request: Request) -> Response:
    """Tokens of the prompt that a request would make."""
    service, owner = service_of(request), owner_of(request)
    service.model.require(body.model)
    given = await _given(service, owner, body)
    ask = read_input(body, given.everything, service.model, service.memory)
    count = await asyncio.to_thread(prompt_length, service.model, ask.conversation)
    return answer({"object": "response.input_tokens", "input_tokens": count})


@router.get("/v1/responses/{response_id}")
async def get_response(
    response_id: str,
    request: Request,
    stream: bool = False,
    starting_after: Annotated[int | None, Query(ge=0)] = None,
) -> Response:
    """A response as it is now, or the events of one in the background."""
    service, owner = service_of(request), owner_of(request)
    run = service.runs.get(owner, response_id)
    if stream:
        if run is None:
            await service.store.response(owner, response_id)
            raise ApiError(
                "The events of this response are not kept; only the last ones made in the"
                " background can be streamed again.",
                param="stream",
            )
        return events_answer(named_events(run.follow(starting_after)))
    if run:
        return answer(run.response)
    return answer((await service.store.response(owner, response_id)).body)


@router.delete("/v1/responses/{response_id}")
async def delete_response(response_id: str, request: Request) -> Response:
    """Delete a response; one that still runs is cancelled first."""
    service, owner = service_of(request), owner_of(request)
    if run := service.runs.get(owner, response_id):
        await run.cancel()
        service.runs.forget(response_id)
    await service.store.delete_response(owner, response_id)
    return answer({"id": response_id, "object": "response", "deleted": True})


@router.post("/v1/responses/{response_id}/cancel")
async def cancel_response(response_id: str, request: Request) -> Response:
    """End a response in the background; one that is over stays as it is."""
    service, owner = service_of(request), owner_of(request)
    if run := service.runs.get(owner, response_id):
        if not run.is_over:
            await run.cancel()
        return answer(run.response)
    stored = await service.store.response(owner, response_id)
    if not stored.body["background"]:
        raise not_in_background(response_id)
    if stored.body["status"] in UNFINISHED:
        raise ApiError(
            f"The response {response_id!r} is made by another server; cancel it there.",
            status=409,
            code="conflict",
        )
    return answer(stored.body)


@router.get("/v1/responses/{response_id}/input_items")
async def list_input_items(
    response_id: str,
    request: Request,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
    order: Literal["asc", "desc"] = "desc",
    after: str | None = None,
) -> Response:
    """What a response was given."""
    service, owner = service_of(request), owner_of(request)
    stored = await service.store.response(owner, response_id)
    return answer(page(stored.input, limit, order, after))


def page(items: Sequence[Item], limit: int, order: str, after: str | None) -> dict[str, Any]:
    """A part of a list, as the API shows lists. Raises ApiError if `after` is not in it."""
    ordered = list(items) if order == "asc" else list(reversed(items))
    if after is not None:
        ids = [item["id"] for item in ordered]
        if after not in ids:
            raise not_found("item", after)
        ordered = ordered[ids.index(after) + 1 :]
    shown = ordered[:limit]
    return {
        "object": "list",
        "data": shown,
        "first_id": shown[0]["id"] if shown else None,
        "last_id": shown[-1]["id"] if shown else None,
        "has_more": len(ordered) > limit,
    }
