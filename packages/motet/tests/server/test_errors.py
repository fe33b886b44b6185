"""What goes wrong, and that clients are told in the shape they know."""

import json
from typing import Any

import pytest
from scripted import (
    ADD,
    ANSWER,
    FailingEngine,
    LosingEngine,
    PatientEngine,
    client,
    error_of,
    response_events,
    scripted_engine,
    sse,
    user,
)
from stream_rules import check_stream

from motet.engine import EngineBusy, EngineError
from motet.server.settings import Settings


@pytest.mark.parametrize(
    ("path", "body", "param"),
    [
        ("chat/completions", {}, "messages"),
        ("chat/completions", {"messages": []}, "messages"),
        ("chat/completions", {"messages": [{"role": "x"}]}, "messages[0].role"),
        ("chat/completions", {"messages": [user()], "temperature": 3}, "temperature"),
        ("chat/completions", {"messages": [user()], "n": 0}, "n"),
        ("chat/completions", {"messages": [user()], "logit_bias": {"5": 1}}, "logit_bias"),
        ("chat/completions", {"messages": [user()], "top_logprobs": 1}, "top_logprobs"),
        ("chat/completions", {"messages": [user()], "functions": [{}]}, "functions"),
        ("chat/completions", {"messages": [user()], "reasoning_effort": "x"}, "reasoning_effort"),
        ("chat/completions", {"messages": [user()], "tools": [{}]}, "tools[0].name"),
        ("responses", {}, "input"),
        ("responses", {"input": []}, "input"),
        ("responses", {"input": "?", "max_output_tokens": 0}, "max_output_tokens"),
        ("responses", {"input": "?", "tools": [ADD, ADD]}, "tools[1].name"),
        ("responses", {"input": "?", "text": {"format": {"type": "xml"}}}, "text.format.type"),
        ("responses", {"input": "?", "prompt": {"id": "x"}}, "prompt"),
        ("completions", {"prompt": []}, "prompt"),
        ("completions", {"prompt": [10**9]}, "prompt"),
        ("completions", {"prompt": "x", "suffix": "y"}, "suffix"),
    ],
)
def test_bad_requests_name_what_is_wrong(path: str, body: dict[str, Any], param: str) -> None:
    with client(scripted_engine()) as http:
        error = error_of(http.post(f"/v1/{path}", json=body), 400)
    assert error["type"] == "invalid_request_error"
    assert error["param"] == param


def test_errors_always_have_the_same_shape() -> None:
    with client(scripted_engine()) as http:
        bad = {"model": "gpt-9", "messages": [user()]}
        assert error_of(http.post("/v1/chat/completions", json=bad), 404)["code"] == (
            "model_not_found"
        )
        error_of(http.post("/v1/chat/completions", content=b"{"), 400)
        json_type = {"content-type": "application/json"}
        deep = b'{"input":' + b'{"a":' * 100_000
        for body in (b"{", deep, b"[NaN]", b"[" * 100_000, b'"text"', b"\xff"):
            error_of(http.post("/v1/responses", content=body, headers=json_type), 400)
        error_of(http.get("/v1/nothing"), 404)
        error_of(http.put("/v1/responses"), 405)
        error_of(http.post("/v1/embeddings", json={}), 400)
        error_of(http.get("/v1/responses/none"), 404)
        error_of(http.post("/v1/responses", json={"input": "?", "previous_response_id": "x"}), 404)


@pytest.mark.parametrize("path", ["chat/completions", "responses", "completions"])
@pytest.mark.parametrize("stream", [False, True])
def test_a_busy_engine_is_429_and_a_broken_one_500(path: str, stream: bool) -> None:
    body = {"messages": [user()], "input": "?", "prompt": "?", "stream": stream}
    del body["input" if path == "completions" else "prompt"]
    with client(FailingEngine(EngineBusy("too many wait"))) as http:
        answer = http.post(f"/v1/{path}", json=body)
        assert error_of(answer, 429)["code"] == "rate_limit_exceeded"
        assert answer.headers["retry-after"]
    with client(FailingEngine(EngineError("the model broke"))) as http:
        answer = http.post(f"/v1/{path}", json=body)
        if path == "responses" and not stream:
            assert error_of(answer, 500)["message"] == "the model broke"
    with client(FailingEngine(RuntimeError("secret detail"))) as http:
        answer = http.post(f"/v1/{path}", json=body)
        assert "secret" not in answer.text


def test_a_failure_in_the_middle_of_a_stream_is_an_event() -> None:
    with client(LosingEngine(ANSWER.tokens[:-2])) as http:
        body = {"messages": [user()], "input": "?", "stream": True}
        chat = [data for _, data in sse(http.post("/v1/chat/completions", json=body).text)]
        assert json.loads(chat[-2])["error"]["message"] == "lost"
        assert chat[-1] == "[DONE]"
        response = check_stream(response_events(http.post("/v1/responses", json=body).text))
        assert response["status"] == "failed"
        assert response["output"][0]["content"][0]["text"] == "Hm."
        assert http.get(f"/v1/responses/{response['id']}").json() == response


def test_a_silent_stream_says_that_it_works(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("motet.server.http.SILENCE_SECONDS", 0.05)
    with client(LosingEngine(ANSWER.tokens[:-2])) as http:
        text = http.post("/v1/responses", json={"input": "?", "stream": True}).text
    remark = ": still working\n\n"
    assert remark in text
    check_stream(response_events(text.replace(remark, "")))


def test_a_request_that_takes_too_long_is_ended() -> None:
    engine = PatientEngine(ANSWER.tokens[:6])
    with client(engine, Settings(request_seconds=0.2, allowed_hosts=["*"])) as http:
        answer = http.post("/v1/chat/completions", json={"messages": [user()]})
        assert error_of(answer, 504)["code"] == "timeout"
        assert (engine.open, engine.ended) == (0, 1)
