"""Chat Completions over engines that play scripts."""

import json
from typing import Any

from scripted import (
    ANSWER,
    CALL,
    CHAT_ADD,
    client,
    scripted_engine,
    sse,
    thought,
    user,
)


def test_chat_completions_whole_and_in_chunks() -> None:
    with client(scripted_engine(ANSWER, ANSWER)) as http:
        whole = http.post("/v1/chat/completions", json={"messages": [user()]}).json()
        stream = http.post(
            "/v1/chat/completions",
            json={"messages": [user()], "stream": True, "stream_options": {"include_usage": True}},
        )
    assert whole["choices"][0]["message"]["content"] == "Yes."
    assert whole["choices"][0]["finish_reason"] == "stop"
    *chunks, done = [data for _, data in sse(stream.text)]
    assert done == "[DONE]"
    parsed = [json.loads(chunk) for chunk in chunks]
    assert parsed[-1]["choices"] == []
    assert parsed[-1]["usage"] == whole["usage"]
    assert all(chunk["usage"] is None for chunk in parsed[:-1])
    deltas = [chunk["choices"][0]["delta"] for chunk in parsed[:-1]]
    assert deltas[0] == {"role": "assistant", "content": ""}
    assert "".join(delta.get("content", "") for delta in deltas) == "Yes."
    assert parsed[-2]["choices"][0]["finish_reason"] == "stop"


def test_several_choices_have_their_own_index_and_seed() -> None:
    engine = scripted_engine(ANSWER, thought("Hm.").answer("No."))
    with client(engine) as http:
        body = {"messages": [user()], "n": 2, "seed": 5, "logprobs": True}
        choices = http.post("/v1/chat/completions", json=body).json()["choices"]
    assert [choice["index"] for choice in choices] == [0, 1]
    assert {choice["message"]["content"] for choice in choices} == {"Yes.", "No."}
    assert {request.sampling.seed for request in engine.requests} == {5, 6}
    for choice in choices:
        text = "".join(score["token"] for score in choice["logprobs"]["content"])
        assert text == choice["message"]["content"]


def test_a_call_that_is_repeated_brings_its_thought_back() -> None:
    engine = scripted_engine(CALL, ANSWER)
    with client(engine) as http:
        body: dict[str, Any] = {"messages": [user()], "tools": [CHAT_ADD]}
        said = http.post("/v1/chat/completions", json=body).json()["choices"][0]["message"]
        del said["reasoning_content"]
        result = {
            "role": "tool", "tool_call_id": said["tool_calls"][0]["id"], "content": "3"
        }  # fmt: skip
        body["messages"] += [said, result]
        assert http.post("/v1/chat/completions", json=body).status_code == 200
    first, second = (list(request.prompt) for request in engine.requests)
    assert second[: len(first) + len(CALL.tokens)] == [*first, *CALL.tokens]
