"""Responses over engines that play scripts: what is answered, streamed and gone on from."""

from typing import Any

from scripted import (
    ADD,
    ANSWER,
    CALL,
    VOCABULARY,
    client,
    error_of,
    response_events,
    scripted_engine,
    user,
)
from stream_rules import check_stream

from motet.server.settings import Settings


def test_a_response_goes_on_from_the_exact_tokens_of_the_one_before() -> None:
    engine = scripted_engine(CALL, ANSWER)
    with client(engine, Settings(allowed_hosts=["*"], remembered_turns=0)) as http:
        first = http.post("/v1/responses", json={"input": "Add.", "tools": [ADD]}).json()
        call_id = first["output"][-1]["call_id"]
        output = {"type": "function_call_output", "call_id": call_id, "output": "3"}
        body = {"previous_response_id": first["id"], "input": [output], "tools": [ADD]}
        second = http.post("/v1/responses", json=body).json()
        assert second["status"] == "completed"
        shown = http.get(f"/v1/responses/{second['id']}").json()
        items = http.get(f"/v1/responses/{second['id']}/input_items").json()
    assert shown == second
    assert [item["output"] for item in items["data"]] == ["3"]
    before, after = (list(request.prompt) for request in engine.requests)
    assert after[: len(before) + len(CALL.tokens)] == [*before, *CALL.tokens]


def test_a_response_may_be_given_references_to_items() -> None:
    engine = scripted_engine(CALL, ANSWER)
    with client(engine) as http:
        first = http.post("/v1/responses", json={"input": "Add.", "tools": [ADD]}).json()
        references = [{"type": "item_reference", "id": item["id"]} for item in first["output"]]
        call_id = first["output"][-1]["call_id"]
        output = {"type": "function_call_output", "call_id": call_id, "output": "3"}
        body: dict[str, Any] = {"input": [user("Add."), *references, output], "tools": [ADD]}
        assert http.post("/v1/responses", json=body).status_code == 200
        http.delete(f"/v1/responses/{first['id']}")
        error_of(http.post("/v1/responses", json=body), 404)
    before, after = (list(request.prompt) for request in engine.requests)
    assert after[: len(before) + len(CALL.tokens)] == [*before, *CALL.tokens]


def test_a_response_is_streamed_in_order_and_stored_before_it_ends() -> None:
    with client(scripted_engine(CALL)) as http:
        answer = http.post("/v1/responses", json={"input": "?", "tools": [ADD], "stream": True})
        response = check_stream(response_events(answer.text))
        assert http.get(f"/v1/responses/{response['id']}").json() == response


def test_input_tokens_are_those_of_the_prompt() -> None:
    with client(scripted_engine(ANSWER)) as http:
        body = {"input": "How long is this?"}
        count = http.post("/v1/responses/input_tokens", json=body).json()["input_tokens"]
        usage = http.post("/v1/responses", json=body).json()["usage"]
    assert count == usage["input_tokens"]


def test_ignored_tools_are_named_in_the_metadata() -> None:
    with client(scripted_engine(ANSWER)) as http:
        tools = [ADD, {"type": "web_search"}]
        made = http.post("/v1/responses", json={"input": "?", "tools": tools}).json()
    assert [tool["type"] for tool in made["tools"]] == ["function"]
    assert "web_search" in made["metadata"]["motet.warnings"]


def test_truncation_drops_the_oldest_messages() -> None:
    engine = scripted_engine(ANSWER)
    items = [user(f"Message {number} " + "word " * 100) for number in range(60)]
    with client(engine) as http:
        error = error_of(http.post("/v1/responses", json={"input": items}), 400)
        assert error["code"] == "context_length_exceeded"
        body = {"input": items, "truncation": "auto", "instructions": "Be brief."}
        assert http.post("/v1/responses", json=body).status_code == 200
    prompt = VOCABULARY.decode(engine.requests[0].prompt)
    assert "Be brief." in prompt
    assert "Message 59" in prompt
    assert "Message 0 " not in prompt


def test_conversations_keep_items() -> None:
    engine = scripted_engine(CALL, ANSWER)
    with client(engine) as http:
        made = http.post("/v1/conversations", json={"items": [user("First.")]}).json()
        path = f"/v1/conversations/{made['id']}"
        body = {"conversation": made["id"], "input": "Add.", "tools": [ADD]}
        call = http.post("/v1/responses", json=body).json()["output"][-1]
        output = {"type": "function_call_output", "call_id": call["call_id"], "output": "3"}
        answer = http.post("/v1/responses", json={**body, "input": [output]}).json()
        assert answer["conversation"] == {"id": made["id"]}
        items = http.get(f"{path}/items", params={"order": "asc"}).json()["data"]
        kinds = ["message", "message", "reasoning", "function_call", "function_call_output"]
        assert [item["type"] for item in items] == [*kinds, "reasoning", "message"]
        page = http.get(f"{path}/items", params={"limit": 2, "order": "asc"}).json()
        assert (page["has_more"], page["last_id"]) == (True, items[1]["id"])
        rest = http.get(f"{path}/items", params={"after": page["last_id"], "order": "asc"}).json()
        assert rest["data"] == items[2:]
        assert http.get(f"{path}/items/{items[0]['id']}").json() == items[0]
        http.delete(f"{path}/items/{items[0]['id']}")
        error_of(http.get(f"{path}/items/{items[0]['id']}"), 404)
        assert http.post(path, json={"metadata": {"k": "v"}}).json()["metadata"] == {"k": "v"}
        assert http.delete(path).json()["deleted"] is True
        error_of(http.get(path), 404)
    before, after = (list(request.prompt) for request in engine.requests)
    assert after[: len(before) + len(CALL.tokens)] == [*before, *CALL.tokens]
