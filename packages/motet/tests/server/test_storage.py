"""What is stored, for whom and for how long."""

import time
from hashlib import sha256
from pathlib import Path

import pytest
from scripted import (
    ANSWER,
    PatientEngine,
    client,
    error_of,
    response_events,
    scripted_engine,
)

from motet.server.keys import Key, KeyRing
from motet.server.settings import Settings


def test_deleted_and_foreign_responses_are_not_there() -> None:
    keys = KeyRing(tuple(Key(name, sha256(name.encode()).digest(), 0) for name in ("a", "b")))
    with client(scripted_engine(ANSWER, ANSWER), keys=keys) as http:
        mine, other = ({"authorization": f"Bearer {name}"} for name in ("a", "b"))
        made = http.post("/v1/responses", json={"input": "?"}, headers=mine).json()
        path = f"/v1/responses/{made['id']}"
        error_of(http.get(path, headers=other), 404)
        error_of(http.delete(path, headers=other), 404)
        assert http.get(path, headers=mine).status_code == 200
        assert http.delete(path, headers=mine).json()["deleted"] is True
        error_of(http.get(path, headers=mine), 404)
        unstored = http.post("/v1/responses", json={"input": "?", "store": False}, headers=mine)
        error_of(http.get(f"/v1/responses/{unstored.json()['id']}", headers=mine), 404)


def test_a_store_on_disk_outlives_the_server(tmp_path: Path) -> None:
    settings = Settings(store=f"sqlite:///{tmp_path}/store.db", allowed_hosts=["*"])
    with client(scripted_engine(ANSWER), settings) as http:
        made = http.post("/v1/responses", json={"input": "?"}).json()
    with client(scripted_engine(ANSWER), settings) as http:
        assert http.get(f"/v1/responses/{made['id']}").json() == made
        body = {"input": "Again?", "previous_response_id": made["id"]}
        assert http.post("/v1/responses", json=body).status_code == 200


def test_servers_with_one_store_leave_each_other_what_is_unfinished(tmp_path: Path) -> None:
    settings = Settings(store=f"sqlite:///{tmp_path}/store.db", allowed_hosts=["*"])
    patient = client(PatientEngine(ANSWER.tokens[:-2]), settings)
    with patient, client(scripted_engine(), settings, shares_store=True) as other:
        begun = patient.post("/v1/responses", json={"input": "?", "background": True}).json()
        path = f"/v1/responses/{begun['id']}"
        assert other.get(path).json()["status"] == "queued"
        error_of(other.post(f"{path}/cancel"), 409)
        body = {"input": "?", "previous_response_id": begun["id"]}
        error_of(other.post("/v1/responses", json=body), 400)
        with client(scripted_engine(), settings) as alone:
            assert alone.get(path).json()["status"] == "failed"
        patient.post(f"{path}/cancel")
        assert other.get(path).json()["status"] == "cancelled"


def test_old_responses_are_forgotten() -> None:
    settings = Settings(store_hours=1e-7, allowed_hosts=["*"])
    with client(scripted_engine(ANSWER), settings) as http:
        made = http.post("/v1/responses", json={"input": "?"}).json()
        time.sleep(0.01)
        error_of(http.get(f"/v1/responses/{made['id']}"), 404)


def test_a_store_that_fails_ends_a_stream_with_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    async def fail(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr("motet.server.store.Store.keep", fail)
    with client(scripted_engine(ANSWER, ANSWER)) as http:
        error_of(http.post("/v1/responses", json={"input": "?"}), 500)
        text = http.post("/v1/responses", json={"input": "?", "stream": True}).text
    *events, last = response_events(text)
    assert last["type"] == "error"
    assert last["sequence_number"] == len(events)
    assert "disk" not in last["message"]
