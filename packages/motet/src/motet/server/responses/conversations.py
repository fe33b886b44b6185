"""The routes of conversations: items that outlive a response and that several can go on from."""

from __future__ import annotations

from typing import Annotated, Any, Literal
from uuid import uuid4

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response
from pydantic import BaseModel, Field

from motet.server.errors import not_found
from motet.server.http import answer, strict_routes
from motet.server.responses.items import normal_items, read_items
from motet.server.responses.routes import items_with_messages, page
from motet.server.service import Service, owner_of, service_of

router = APIRouter(route_class=strict_routes, tags=["conversations"])
Metadata = Annotated[dict[str, str], Field(max_length=16)]


class NewConversation(BaseModel):
    """A conversation to begin."""

    items: list[Any] | None = None
    metadata: Metadata | None = None


class NewMetadata(BaseModel):
    """Other metadata for a conversation."""

    metadata: Metadata


class NewItems(BaseModel):
    """Items to add to a conversation."""

    items: list[Any] = Field(min_length=1)


@router.post("/v1/conversations")
async def create_conversation(request: Request, body: NewConversation | None = None) -> Response:
    """Begin a conversation, with items if wished."""
    service, owner = service_of(request), owner_of(request)
    body = body or NewConversation()
    items = normal_items(body.items or [], "items")
    read_items(items, [], "items")
    conversation_id = f"conv_{uuid4().hex}"
    made = await service.store.new_conversation(owner, conversation_id, body.metadata or {})
    await service.store.add_items(owner, conversation_id, items_with_messages(items, []))
    return answer(made)


@router.get("/v1/conversations/{conversation_id}")
async def get_conversation(conversation_id: str, request: Request) -> Response:
    """A conversation without its items."""
    return answer(await service_of(request).store.conversation(owner_of(request), conversation_id))


@router.post("/v1/conversations/{conversation_id}")
async def update_conversation(
    conversation_id: str, body: NewMetadata, request: Request
) -> Response:
    """Give a conversation other metadata."""
    store, owner = service_of(request).store, owner_of(request)
    return answer(await store.update_conversation(owner, conversation_id, body.metadata))


@router.delete("/v1/conversations/{conversation_id}")
async def delete_conversation(conversation_id: str, request: Request) -> Response:
    """Delete a conversation with its items."""
    await service_of(request).store.delete_conversation(owner_of(request), conversation_id)
    return answer({"id": conversation_id, "object": "conversation.deleted", "deleted": True})


@router.get("/v1/conversations/{conversation_id}/items")
async def list_items(
    conversation_id: str,
    request: Request,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
    order: Literal["asc", "desc"] = "desc",
    after: str | None = None,
) -> Response:
    """The items of a conversation."""
    items = await _bodies(service_of(request), owner_of(request), conversation_id)
    return answer(page(items, limit, order, after))


@router.post("/v1/conversations/{conversation_id}/items")
async def add_items(conversation_id: str, body: NewItems, request: Request) -> Response:
    """Add items to the end."""
    service, owner = service_of(request), owner_of(request)
    kept = await service.store.items(owner, conversation_id)
    earlier = [said for item in kept for said in item.said]
    items = normal_items(body.items, "items")
    read_items(items, earlier, "items")
    await service.store.add_items(owner, conversation_id, items_with_messages(items, earlier))
    return answer(page(items, len(items), "asc", None))


@router.get("/v1/conversations/{conversation_id}/items/{item_id}")
async def get_item(conversation_id: str, item_id: str, request: Request) -> Response:
    """One item."""
    for item in await _bodies(service_of(request), owner_of(request), conversation_id):
        if item["id"] == item_id:
            return answer(item)
    raise not_found("item", item_id)


@router.delete("/v1/conversations/{conversation_id}/items/{item_id}")
async def delete_item(conversation_id: str, item_id: str, request: Request) -> Response:
    """Take an item out of a conversation."""
    store, owner = service_of(request).store, owner_of(request)
    await store.delete_item(owner, conversation_id, item_id)
    return answer(await store.conversation(owner, conversation_id))


async def _bodies(service: Service, owner: str, conversation_id: str) -> list[dict[str, Any]]:
    return [item.body for item in await service.store.items(owner, conversation_id)]
