"""Responses and conversations that can be found again, in any database SQLAlchemy knows.

Each belongs to the key it came with. Beside what the API shows, the messages are kept with the
exact tokens the model wrote, so that a prompt that goes on from them extends the one before. One
thread does all the work, which is what SQLite likes best and never holds up the event loop.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from time import time
from typing import Any, TypeVar

from sqlalchemy import (
    JSON,
    Boolean,
    Column,
    ColumnElement,
    Connection,
    Float,
    Integer,
    MetaData,
    Select,
    String,
    Table,
    create_engine,
    delete,
    insert,
    select,
    update,
)
from sqlalchemy.exc import ArgumentError, SQLAlchemyError
from sqlalchemy.pool import StaticPool

from motet.harmony import Message
from motet.server.errors import not_found
from motet.server.memory import Said
from motet.server.settings import IN_MEMORY, SettingsError

T = TypeVar("T")
Item = dict[str, Any]

_LOST = {
    "code": "server_error",
    "message": "The server ended before this response was finished; ask again.",
}
_METADATA = MetaData()
_RESPONSES = Table(
    "responses",
    _METADATA,
    Column("id", String(80), primary_key=True),
    Column("owner", String(200), index=True),
    Column("created", Float, index=True),
    Column("previous", String(80)),
    Column("finished", Boolean, index=True),
    Column("body", JSON),
    Column("input", JSON),
    Column("said", JSON),
)
_OUTPUTS = Table(  # the items that responses have made, to be referred to
    "response_items",
    _METADATA,
    Column("id", String(80), primary_key=True),
    Column("owner", String(200)),
    Column("response", String(80), index=True),
    Column("created", Float, index=True),
    Column("body", JSON),
)
_CONVERSATIONS = Table(
    "conversations",
    _METADATA,
    Column("id", String(80), primary_key=True),
    Column("owner", String(200), index=True),
    Column("created", Float, index=True),
    Column("metadata", JSON),
)
_ITEMS = Table(
    "conversation_items",
    _METADATA,
    Column("position", Integer, primary_key=True, autoincrement=True),
    Column("conversation", String(80), index=True),
    Column("id", String(80)),
    Column("body", JSON),
    Column("said", JSON),
)


@dataclass(frozen=True)
class StoredResponse:
    """A response as the API shows it, its input items, and what both said."""

    body: dict[str, Any]
    input: list[Item]
    said: list[Said]


@dataclass(frozen=True)
class SaidItem:
    """An item of a conversation and the messages it stands for."""

    body: Item
    said: Sequence[Said]


class Store:
    """Everything is asked for with an owner; what is not there or not theirs is an ApiError."""

    def __init__(self, url: str, hours: float) -> None:
        """Open the database and make its tables. Raises SettingsError."""
        options: dict[str, Any] = {}
        if url in IN_MEMORY:
            options = {"poolclass": StaticPool, "connect_args": {"check_same_thread": False}}
        try:
            self._engine = create_engine(url, **options)
            _METADATA.create_all(self._engine)
        except (ArgumentError, SQLAlchemyError, ImportError) as error:
            reason = str(error).splitlines()[0]
            raise SettingsError(f"The store {url!r} cannot be opened: {reason}.") from error
        self._hours = hours
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="motet-store")

    async def close(self) -> None:
        """Finish what was asked for and let go of the database."""
        await asyncio.to_thread(self._thread.shutdown)
        self._engine.dispose()

    async def begin(self, owner: str, response: StoredResponse) -> None:
        """Keep a response that is yet to be made, so that it is known whatever happens to us."""
        await self._do(lambda connection: self._put(connection, owner, response, finished=False))

    async def keep(self, owner: str, response: StoredResponse) -> None:
        """Keep a response that is over."""
        outputs = [
            {
                "id": item["id"],
                "owner": owner,
                "response": response.body["id"],
                "created": time(),
                "body": item,
            }
            for item in response.body["output"]
        ]

        def work(connection: Connection) -> None:
            self._put(connection, owner, response, finished=True)
            if outputs:
                connection.execute(insert(_OUTPUTS), outputs)

        await self._do(work)

    async def end_unfinished(self, begun_before: float) -> None:
        """Let responses begun before that time have failed: whoever was making them is gone."""
        lost = _RESPONSES.c.finished.is_(False) & (_RESPONSES.c.created < begun_before)

        def work(connection: Connection) -> None:
            query = select(_RESPONSES.c.id, _RESPONSES.c.body).where(lost)
            for response_id, body in connection.execute(query).all():
                body |= {"status": "failed", "error": _LOST}
                connection.execute(
                    update(_RESPONSES)
                    .where(_RESPONSES.c.id == response_id)
                    .values(body=body, finished=True)
                )

        await self._do(work)

    async def response(self, owner: str, response_id: str) -> StoredResponse:
        """A response by its id."""
        return await self._do(lambda connection: self._response(connection, owner, response_id))

    async def history(self, owner: str, response_id: str) -> list[Said]:
        """What was said up to the end of a response, in all those before it too."""

        def work(connection: Connection) -> list[Said]:
            chain = []
            following: str | None = response_id
            while following:
                stored = self._response(connection, owner, following)
                chain.append(stored.said)
                following = stored.body["previous_response_id"]
            return [each for said in reversed(chain) for each in said]

        return await self._do(work)

    async def output(self, owner: str, item_id: str) -> Item:
        """An item that a response has made."""

        def work(connection: Connection) -> Item:
            query = select(_OUTPUTS.c.body).where(self._is_theirs(_OUTPUTS, owner, item_id))
            item: Item = _found(connection, query, "item", item_id)[0]
            return item

        return await self._do(work)

    async def delete_response(self, owner: str, response_id: str) -> None:
        """Delete a response; those that go on from it can no longer be gone on from."""

        def work(connection: Connection) -> None:
            self._response(connection, owner, response_id)
            connection.execute(delete(_RESPONSES).where(_RESPONSES.c.id == response_id))
            connection.execute(delete(_OUTPUTS).where(_OUTPUTS.c.response == response_id))

        await self._do(work)

    async def new_conversation(
        self, owner: str, conversation_id: str, metadata: dict[str, str]
    ) -> dict[str, Any]:
        """Begin a conversation."""
        row = {
            "id": conversation_id, "owner": owner, "created": time(), "metadata": metadata
        }  # fmt: skip

        def work(connection: Connection) -> dict[str, Any]:
            connection.execute(insert(_CONVERSATIONS).values(row))
            return self._conversation(connection, owner, conversation_id)

        return await self._do(work)

    async def conversation(self, owner: str, conversation_id: str) -> dict[str, Any]:
        """A conversation as the API shows it."""
        return await self._do(lambda c: self._conversation(c, owner, conversation_id))

    async def update_conversation(
        self, owner: str, conversation_id: str, metadata: dict[str, str]
    ) -> dict[str, Any]:
        """Give a conversation other metadata."""

        def work(connection: Connection) -> dict[str, Any]:
            self._conversation(connection, owner, conversation_id)
            connection.execute(
                update(_CONVERSATIONS)
                .where(_CONVERSATIONS.c.id == conversation_id)
                .values(metadata=metadata)
            )
            return self._conversation(connection, owner, conversation_id)

        return await self._do(work)

    async def delete_conversation(self, owner: str, conversation_id: str) -> None:
        """Delete a conversation with its items."""

        def work(connection: Connection) -> None:
            self._conversation(connection, owner, conversation_id)
            connection.execute(delete(_ITEMS).where(_ITEMS.c.conversation == conversation_id))
            connection.execute(delete(_CONVERSATIONS).where(_CONVERSATIONS.c.id == conversation_id))

        await self._do(work)

    async def add_items(self, owner: str, conversation_id: str, items: Sequence[SaidItem]) -> None:
        """Add items to the end of a conversation."""
        rows = [
            {
                "conversation": conversation_id,
                "id": item.body["id"],
                "body": item.body,
                "said": _said_json(item.said),
            }
            for item in items
        ]

        def work(connection: Connection) -> None:
            self._conversation(connection, owner, conversation_id)
            if rows:
                connection.execute(insert(_ITEMS), rows)

        await self._do(work)

    async def items(self, owner: str, conversation_id: str) -> list[SaidItem]:
        """All items of a conversation, in order."""

        def work(connection: Connection) -> list[SaidItem]:
            self._conversation(connection, owner, conversation_id)
            rows = connection.execute(
                select(_ITEMS.c.body, _ITEMS.c.said)
                .where(_ITEMS.c.conversation == conversation_id)
                .order_by(_ITEMS.c.position)
            )
            return [SaidItem(body, _said(said)) for body, said in rows]

        return await self._do(work)

    async def delete_item(self, owner: str, conversation_id: str, item_id: str) -> None:
        """Take an item out of a conversation."""

        def work(connection: Connection) -> None:
            self._conversation(connection, owner, conversation_id)
            where = (_ITEMS.c.conversation == conversation_id) & (_ITEMS.c.id == item_id)
            if not connection.execute(delete(_ITEMS).where(where)).rowcount:
                raise not_found("item", item_id)

        await self._do(work)

    async def _do(self, work: Callable[[Connection], T]) -> T:
        def inside() -> T:
            with self._engine.begin() as connection:
                return work(connection)

        return await asyncio.get_running_loop().run_in_executor(self._thread, inside)

    def _put(
        self, connection: Connection, owner: str, response: StoredResponse, *, finished: bool
    ) -> None:
        """Write a response in the place of what was known of it."""
        body = response.body
        row = {
            "id": body["id"],
            "owner": owner,
            "created": time(),
            "previous": body["previous_response_id"],
            "finished": finished,
            "body": body,
            "input": response.input,
            "said": _said_json(response.said),
        }
        for table in (_RESPONSES, _OUTPUTS):
            connection.execute(delete(table).where(table.c.created <= self._oldest))
        connection.execute(delete(_RESPONSES).where(_RESPONSES.c.id == body["id"]))
        connection.execute(insert(_RESPONSES).values(row))

    def _response(self, connection: Connection, owner: str, response_id: str) -> StoredResponse:
        table = _RESPONSES.c
        query = select(table.body, table.input, table.said)
        where = self._is_theirs(_RESPONSES, owner, response_id)
        body, given, said = _found(connection, query.where(where), "response", response_id)
        return StoredResponse(body, given, _said(said))

    def _conversation(
        self, connection: Connection, owner: str, conversation_id: str
    ) -> dict[str, Any]:
        table = _CONVERSATIONS.c
        query = select(table.created, table.metadata).where(
            table.id == conversation_id, table.owner == owner
        )
        created, metadata = _found(connection, query, "conversation", conversation_id)
        return {
            "id": conversation_id,
            "object": "conversation",
            "created_at": int(created),
            "metadata": metadata,
        }

    def _is_theirs(self, table: Table, owner: str, name: str) -> ColumnElement[bool]:
        """What picks something by its id, if it belongs to the owner and is not too old."""
        columns = table.c
        return (columns.id == name) & (columns.owner == owner) & (columns.created > self._oldest)

    @property
    def _oldest(self) -> float:
        return time() - self._hours * 3600 if self._hours else 0.0


def _found(connection: Connection, query: Select[Any], what: str, name: str) -> Sequence[Any]:
    """The row that a query finds; none is an ApiError."""
    row = connection.execute(query).first()
    if row is None:
        raise not_found(what, name)
    return row


def _said_json(said: Sequence[Said]) -> list[dict[str, Any]]:
    return [
        {
            "message": each.message.to_json(),
            "tokens": each.message.tokens and list(each.message.tokens),
            "call_id": each.call_id,
        }
        for each in said
    ]


def _said(rows: Sequence[dict[str, Any]]) -> list[Said]:
    said = []
    for row in rows:
        message = Message.from_json(row["message"])
        if row["tokens"]:
            message = replace(message, tokens=tuple(row["tokens"]))
        said.append(Said(message, row["call_id"]))
    return said
