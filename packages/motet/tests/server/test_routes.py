"""The server in this process over engines that play scripts: answers, errors, what is kept."""

import asyncio
import json
import time
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from scripted import (
    ADD,
    CHAT_ADD,
    VOCABULARY,
    FailingEngine,
    PatientEngine,
    client,
    scripted_engine,
    sse,
    thought,
    user,
)
from stream_rules import check_stream

from motet.agent import Turn
from motet.engine import EngineBusy, EngineError, GeneratedTokens
from motet.harmony import Conversation, Message, render_for_completion
from motet.server.keys import Key, KeyRing
from motet.server.responses.events import ResponseStream
from motet.server.responses.running import Making, Runs
from motet.server.settings import Settings

ANSWER = thought("Hm.").answer("Yes.")
CALL = thought("I must add.").call("add", '{"a":1,"b":2}')
ERROR_FIELDS = {"message", "type", "param", "code"}


def error_of(answer: Any, status: int) -> dict[str, Any]:
    """The error of an answer, in OpenAI's shape."""
    assert answer.status_code == status, answer.text
    error: dict[str, Any] = answer.json()["error"]
    assert error.keys() == ERROR_FIELDS
    return error


def response_events(text: str) -> list[dict[str, Any]]:
    events = [(name, json.loads(data)) for name, data in sse(text)]
    assert all(name == event["type"] for name, event in events)
    return [event for _, event in events]


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


def test_what_was_not_in_the_background_cannot_be_cancelled() -> None:
    with client(scripted_engine(ANSWER)) as http:
        made = http.post("/v1/responses", json={"input": "?"}).json()
        error_of(http.post(f"/v1/responses/{made['id']}/cancel"), 400)
        error_of(http.get(f"/v1/responses/{made['id']}", params={"stream": True}), 400)


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


def test_completions_take_and_give_tokens() -> None:
    engine = scripted_engine(ANSWER, ANSWER, ANSWER)
    conversation = Conversation((Message.system(), Message.user("?")))
    prompt = render_for_completion(conversation, VOCABULARY)
    with client(engine) as http:
        body = {"prompt": prompt, "max_tokens": 100, "return_token_ids": True, "echo": True}
        choice = http.post("/v1/completions", json=body).json()["choices"][0]
        stream = http.post("/v1/completions", json={**body, "stream": True}).text
        limited = http.post("/v1/completions", json={"prompt": "Hi", "max_tokens": 2}).json()
    assert choice["token_ids"] == list(ANSWER.tokens)
    assert choice["prompt_token_ids"] == prompt
    assert choice["text"] == VOCABULARY.decode([*prompt, *ANSWER.tokens[:-1]])
    assert choice["finish_reason"] == "stop"
    chunks = [json.loads(data)["choices"][0] for _, data in sse(stream)[:-1]]
    assert "".join(chunk["text"] for chunk in chunks) == choice["text"]
    assert [token for c in chunks for token in c.get("token_ids", ())] == choice["token_ids"]
    assert limited["choices"][0]["finish_reason"] == "length"
    assert limited["usage"]["completion_tokens"] == 2
    assert list(engine.requests[-1].prompt) == VOCABULARY.encode("Hi")


def test_scores_of_completions_can_name_ids_and_only_chosen_ids_end_them() -> None:
    v = VOCABULARY
    text = [*v.encode("One"), v.return_, *v.encode(" two"), v.end]
    engine = scripted_engine(text, text)
    with client(engine) as http:
        ids = http.post("/tokenize", json={"prompt": "Two words"}).json()["tokens"]
        body = {
            "prompt": ids,
            "logprobs": 1,
            "max_tokens": 50,
            "ignore_eos": True,
            "stop_token_ids": [v.end],
            "return_token_ids": True,
            "return_tokens_as_token_ids": True,
            "top_k": -1,
            "min_p": 0.1,
            "repetition_penalty": 1.1,
        }
        choice = http.post("/v1/completions", json=body).json()["choices"][0]
        plain = http.post("/v1/completions", json={"prompt": ids}).json()["choices"][0]
        figures = http.get("/metrics").text
    sampling = engine.requests[0].sampling
    assert (sampling.top_k, sampling.min_p, sampling.repetition_penalty) == (0, 0.1, 1.1)
    assert f'motet_tokens_total{{kind="prompt"}} {2 * len(ids)}.0' in figures
    assert ids == v.encode("Two words")
    assert choice["token_ids"] == text
    assert choice["text"] == "One<|return|> two"
    assert choice["logprobs"]["tokens"] == [f"token_id:{token}" for token in text]
    assert choice["logprobs"]["top_logprobs"][0].keys() == {f"token_id:{text[0]}"}
    assert (plain["text"], plain["finish_reason"]) == ("One", "stop")


def test_completions_of_several_prompts_stop_at_texts() -> None:
    text = VOCABULARY.encode("one two three")
    with client(scripted_engine(text, text)) as http:
        body = {"prompt": ["a", "b"], "stop": [" tw"], "logprobs": 1, "max_tokens": 50}
        choices = http.post("/v1/completions", json=body).json()["choices"]
    assert [(c["index"], c["text"], c["finish_reason"]) for c in choices] == [
        (0, "one", "stop"),
        (1, "one", "stop"),
    ]
    assert choices[0]["logprobs"]["tokens"][0] == VOCABULARY.decode(text[:1])


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
    script = [*ANSWER.tokens[:-2], EngineError("lost")]
    with client(_Slow(script)) as http:
        body = {"messages": [user()], "input": "?", "stream": True}
        chat = [data for _, data in sse(http.post("/v1/chat/completions", json=body).text)]
        assert json.loads(chat[-2])["error"]["message"] == "lost"
        assert chat[-1] == "[DONE]"
        response = check_stream(response_events(http.post("/v1/responses", json=body).text))
        assert response["status"] == "failed"
        assert response["output"][0]["content"][0]["text"] == "Hm."
        assert http.get(f"/v1/responses/{response['id']}").json() == response


class _Slow(PatientEngine):
    """Fails only when the stream has begun."""

    async def generate(self, request: Any) -> Any:
        for each in self.tokens:
            if isinstance(each, EngineError):
                await asyncio.sleep(0.1)
                raise each
            yield GeneratedTokens((each,))


def test_a_silent_stream_says_that_it_works(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("motet.server.http.SILENCE_SECONDS", 0.05)
    with client(_Slow([*ANSWER.tokens[:-2], EngineError("lost")])) as http:
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
