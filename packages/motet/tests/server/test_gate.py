"""What stands around every request: keys, hosts, sizes, figures."""

import asyncio
import json
from hashlib import sha256
from typing import Any

import pytest
from scripted import (
    ANSWER,
    PatientEngine,
    client,
    error_of,
    scripted_engine,
)

from motet.server.keys import Key, KeyRing
from motet.server.settings import Settings


def test_keys_are_asked_for_and_limited() -> None:
    keys = KeyRing((Key("one", sha256(b"secret").digest(), 1),))
    engine = PatientEngine(ANSWER.tokens[:6])
    with client(engine, keys=keys) as http:
        assert http.get("/health").status_code == 200
        for header in ({}, {"authorization": "Bearer wrong"}, {"authorization": "secret"}):
            answer = http.get("/v1/models", headers=header)
            assert error_of(answer, 401)["code"] == "invalid_api_key"
        error_of(http.get("/metrics"), 401)
        right = {"authorization": "Bearer secret"}
        assert http.get("/v1/models", headers=right).status_code == 200
        with keys.admitted(keys.owner("Bearer secret")):
            error_of(http.get("/v1/models", headers=right), 429)
        assert http.get("/v1/models", headers=right).status_code == 200


def test_long_requests_are_refused() -> None:
    settings = Settings(maximum_body=2000, allowed_hosts=["*"])
    with client(scripted_engine(ANSWER), settings) as http:
        body = {"input": "x" * 3000}
        assert error_of(http.post("/v1/responses", json=body), 413)["code"] == "request_too_large"
        headers = {"content-type": "application/json"}
        pieces = (b"x" * 100 for _ in range(50))
        error_of(http.post("/v1/responses", content=pieces, headers=headers), 413)
        assert http.post("/v1/responses", json={"input": "x"}).status_code == 200


def test_a_request_that_stops_coming_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("motet.server.limits.BODY_SECONDS", 0.05)
    sent: list[Any] = []

    async def receive() -> Any:
        if len(sent) == 0:
            sent.append({"half": True})
            return {"type": "http.request", "body": b'{"input":', "more_body": True}
        return await asyncio.Event().wait()

    async def send(message: Any) -> None:
        sent.append(message)

    headers = [(b"content-type", b"application/json"), (b"host", b"localhost")]
    scope = {"type": "http", "method": "POST", "path": "/v1/responses", "headers": headers}
    app = client(scripted_engine()).app
    asyncio.run(app({**scope, "query_string": b"", "root_path": ""}, receive, send))
    assert sent[1]["status"] == 408
    assert json.loads(sent[2]["body"])["error"]["code"] == "request_timeout"


def test_only_chosen_hosts_and_origins_may_use_it() -> None:
    with client(scripted_engine(), Settings()) as http:
        assert http.get("/v1/models", headers={"host": "localhost:8000"}).status_code == 200
        assert http.get("/v1/models", headers={"host": "[::1]:80"}).status_code == 200
        error_of(http.get("/v1/models", headers={"host": "evil.example"}), 403)
        answer = http.get("/v1/models", headers={"host": "localhost", "origin": "http://a.b"})
        assert "access-control-allow-origin" not in answer.headers
    settings = Settings(cors_origins=["http://a.b"], allowed_hosts=["*"])
    with client(scripted_engine(), settings) as http:
        answer = http.get("/v1/models", headers={"origin": "http://a.b"})
        assert answer.headers["access-control-allow-origin"] == "http://a.b"
        asked = {"origin": "http://a.b", "access-control-request-method": "POST"}
        assert http.options("/v1/responses", headers=asked).status_code == 200


def test_models_health_and_metrics() -> None:
    with client(scripted_engine(ANSWER)) as http:
        models = http.get("/v1/models").json()["data"]
        assert [model["id"] for model in models] == ["test-model", "alias"]
        assert http.get("/v1/models/alias").json()["id"] == "alias"
        error_of(http.get("/v1/models/other"), 404)
        for path in ("/health", "/health/live", "/health/ready"):
            assert http.get(path).status_code == 200
        http.post("/v1/responses", json={"input": "?", "model": "alias"})
        figures = http.get("/metrics").text
    assert 'motet_requests_total{route="/v1/responses",status="200"} 1.0' in figures
    assert f'motet_tokens_total{{kind="generated"}} {len(ANSWER.tokens)}.0' in figures
    assert "motet_time_to_first_token_seconds_count 1.0" in figures
