"""Responses in the background: fetched later, cancelled, kept once."""

import asyncio
import time
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from scripted import (
    ANSWER,
    VOCABULARY,
    PatientEngine,
    client,
    error_of,
    response_events,
    scripted_engine,
)
from stream_rules import check_stream

from motet.agent import Turn
from motet.harmony import Conversation, Message
from motet.server.responses.events import ResponseStream
from motet.server.responses.running import Making, Runs
from motet.server.settings import Settings


def wait_for(http: TestClient, path: str, status: str) -> dict[str, Any]:
    for _ in range(200):
        response: dict[str, Any] = http.get(path).json()
        if response["status"] == status:
            return response
        time.sleep(0.02)
    raise AssertionError(f"{response['status']} and not {status}")


def test_a_response_in_the_background_is_fetched_later() -> None:
    with client(scripted_engine(ANSWER)) as http:
        begun = http.post("/v1/responses", json={"input": "?", "background": True}).json()
        assert begun["status"] in ("queued", "in_progress", "completed")
        path = f"/v1/responses/{begun['id']}"
        wait_for(http, path, "completed")
        events = response_events(http.get(path, params={"stream": True}).text)
        check_stream(events)
        params: dict[str, Any] = {"stream": True, "starting_after": 4}
        assert response_events(http.get(path, params=params).text) == events[5:]
        assert http.post(f"{path}/cancel").json()["status"] == "completed"


def test_what_could_not_be_stored_is_there_while_the_server_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def fail(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr("motet.server.store.Store.keep", fail)
    with client(scripted_engine(ANSWER)) as http:
        begun = http.post("/v1/responses", json={"input": "?", "background": True}).json()
        made = wait_for(http, f"/v1/responses/{begun['id']}", "completed")
    assert made["output"][-1]["content"][0]["text"] == "Yes."


def test_the_events_of_the_oldest_are_forgotten_first(monkeypatch: pytest.MonkeyPatch) -> None:
    with client(scripted_engine(ANSWER, ANSWER, ANSWER)) as http:
        paths = []
        for _ in range(3):
            begun = http.post("/v1/responses", json={"input": "?", "background": True}).json()
            paths.append(f"/v1/responses/{begun['id']}")
            wait_for(http, paths[-1], "completed")
            count = len(response_events(http.get(paths[-1], params={"stream": True}).text))
            monkeypatch.setattr("motet.server.responses.running._KEPT_EVENTS", count)
        answers = [http.get(path, params={"stream": True}) for path in paths]
        assert [answer.status_code for answer in answers] == [400, 200, 200]
        assert http.get(paths[0]).json()["status"] == "completed"


def test_a_response_in_the_background_can_be_cancelled() -> None:
    engine = PatientEngine(ANSWER.tokens[:-2])
    with client(engine) as http:
        begun = http.post("/v1/responses", json={"input": "?", "background": True}).json()
        path = f"/v1/responses/{begun['id']}"
        wait_for(http, path, "in_progress")
        error_of(
            http.post("/v1/responses", json={"input": "?", "previous_response_id": begun["id"]}),
            400,
        )
        cancelled = http.post(f"{path}/cancel").json()
        assert cancelled["status"] == "cancelled"
        assert engine.open == 0
        assert http.get(path).json() == cancelled
        events = response_events(http.get(path, params={"stream": True}).text)
        check_stream(events, is_cancelled=True)


def test_the_end_of_the_server_cancels_and_keeps_what_still_runs(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/store.db"
    settings = Settings(store=url, drain_seconds=0, allowed_hosts=["*"])
    engine = PatientEngine(ANSWER.tokens[:-2])
    with client(engine, settings) as http:
        begun = http.post("/v1/responses", json={"input": "?", "background": True}).json()
        wait_for(http, f"/v1/responses/{begun['id']}", "in_progress")
    assert engine.open == 0
    with client(scripted_engine(), settings) as http:
        kept = http.get(f"/v1/responses/{begun['id']}").json()
    assert kept["status"] == "cancelled"
    assert kept["output"][-1]["content"][0]["text"].startswith("Yes")


def test_a_response_can_be_cancelled_before_it_has_begun() -> None:
    async def run() -> None:
        turn = Turn(PatientEngine(()), VOCABULARY, Conversation((Message.user("?"),)))
        response = {"id": "resp_1", "status": "queued", "output": [], "usage": None}
        kept = []

        async def keep() -> None:
            kept.append(response["status"])

        making = Making(turn, ResponseStream(response, VOCABULARY), keep)
        started = Runs().start("me", making, turn.events())
        await started.cancel()
        assert kept == [response["status"]] == ["cancelled"]
        assert [event async for event in started.follow()] == []

    asyncio.run(run())


def test_a_response_is_kept_once_however_often_it_is_cancelled() -> None:
    async def run(is_said: bool) -> list[str]:
        engine = scripted_engine(ANSWER) if is_said else PatientEngine(ANSWER.tokens[:-2])
        turn = Turn(engine, VOCABULARY, Conversation((Message.user("?"),)))
        response = {"id": "resp_1", "status": "queued", "output": [], "usage": None}
        kept: list[str] = []
        keeping, ready = asyncio.Event(), asyncio.Event()

        async def keep() -> None:
            kept.append(str(response["status"]))
            keeping.set()
            await ready.wait()

        making = Making(turn, ResponseStream(response, VOCABULARY), keep)
        started = Runs().start("me", making, turn.events())
        if is_said:
            await keeping.wait()
        else:
            await asyncio.sleep(0)
        cancelling = [asyncio.create_task(started.cancel()) for _ in range(2)]
        await keeping.wait()
        ready.set()
        await asyncio.gather(*cancelling)
        assert started.is_over
        return kept

    assert asyncio.run(run(is_said=True)) == ["completed"]
    assert asyncio.run(run(is_said=False)) == ["cancelled"]


def test_what_was_not_in_the_background_cannot_be_cancelled() -> None:
    with client(scripted_engine(ANSWER)) as http:
        made = http.post("/v1/responses", json={"input": "?"}).json()
        error_of(http.post(f"/v1/responses/{made['id']}/cancel"), 400)
        error_of(http.get(f"/v1/responses/{made['id']}", params={"stream": True}), 400)
