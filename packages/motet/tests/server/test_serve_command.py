"""The real process with the embedded model: OpenAI's client, curl, signals."""

import asyncio
import json
import shutil
import subprocess
import threading
import time
import urllib.request
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal

import openai
import pytest
from openai import AsyncOpenAI, OpenAI
from pydantic import BaseModel
from scripted import ADD, CHAT_ADD
from server_process import ServerProcess
from stream_rules import check_stream

from motet.cli.main import app

SUM = "What is 123 + 456?"


class Verdict(BaseModel):
    """An answer nobody can get wrong in form."""

    larger: Literal["first", "second"]
    certain: bool


@pytest.fixture(scope="module")
def server() -> Iterator[ServerProcess]:
    with ServerProcess() as process:
        yield process


@pytest.fixture(scope="module")
def openai_client(server: ServerProcess) -> OpenAI:
    return OpenAI(base_url=server.url, api_key="any", max_retries=0)


def test_responses_answer_and_go_on(openai_client: OpenAI) -> None:
    first = openai_client.responses.create(model="motet-nano", input=SUM)
    assert first.output_text == "579"
    assert [item.type for item in first.output] == ["reasoning", "message"]
    second = openai_client.responses.create(
        model="motet-nano", input="What is 2 + 2?", previous_response_id=first.id
    )
    assert second.status == "completed"
    assert second.usage is not None
    assert first.usage is not None
    assert second.usage.input_tokens > first.usage.input_tokens
    assert openai_client.responses.retrieve(second.id) == second
    items = openai_client.responses.input_items.list(second.id)
    assert [item.type for item in items] == ["message"]
    openai_client.responses.delete(second.id)
    with pytest.raises(openai.NotFoundError):
        openai_client.responses.retrieve(second.id)
    counted = openai_client.responses.input_tokens.count(model="motet-nano", input=SUM)
    assert counted.input_tokens == first.usage.input_tokens


def test_responses_stream(openai_client: OpenAI) -> None:
    with openai_client.responses.stream(model="motet-nano", input=SUM, top_logprobs=2) as stream:
        types = [event.type for event in stream]
        final = stream.get_final_response()
    assert (final.output_text, types[-1]) == ("579", "response.completed")
    raw = openai_client.responses.create(model="motet-nano", input=SUM, stream=True)
    check_stream([event.model_dump(exclude_unset=True, by_alias=True) for event in raw])


def test_a_tool_loop_over_responses(openai_client: OpenAI) -> None:
    tools: Any = [ADD]
    first = openai_client.responses.create(
        model="motet-nano", input="Add 2 and 3.", tools=tools, tool_choice="required"
    )
    (call,) = [item for item in first.output if item.type == "function_call"]
    assert call.name == "add"
    assert json.loads(call.arguments).keys() >= {"a", "b"}
    output: Any = {"type": "function_call_output", "call_id": call.call_id, "output": "5"}
    second = openai_client.responses.create(
        model="motet-nano",
        input=[output],
        tools=tools,
        tool_choice="none",
        previous_response_id=first.id,
        max_output_tokens=400,
    )
    assert second.output[-1].type == "message"


def test_what_of_a_function_is_not_held_to_is_said(openai_client: OpenAI) -> None:
    loose: Any = {
        **ADD, "parameters": {"type": "object", "properties": {"a": {"format": "nonsense"}}}
    }  # fmt: skip
    asked: Any = {"model": "motet-nano", "input": SUM, "max_output_tokens": 5}
    response = openai_client.responses.create(tools=[loose], **asked)
    assert response.metadata
    assert "nonsense" in response.metadata["motet.warnings"]
    with pytest.raises(openai.BadRequestError, match="#/properties/a"):
        openai_client.responses.create(tools=[{**loose, "strict": True}], **asked)


def test_structured_outputs_are_parsed(openai_client: OpenAI) -> None:
    response = openai_client.responses.parse(
        model="motet-nano", input="Which is larger, 5 or 7?", text_format=Verdict
    )
    assert isinstance(response.output_parsed, Verdict)
    completion = openai_client.chat.completions.parse(
        model="motet-nano",
        messages=[{"role": "user", "content": "Which is larger, 5 or 7?"}],
        response_format=Verdict,
    )
    assert isinstance(completion.choices[0].message.parsed, Verdict)


def test_background_responses(openai_client: OpenAI) -> None:
    begun = openai_client.responses.create(model="motet-nano", input=SUM, background=True)
    deadline = time.monotonic() + 30
    while begun.status in ("queued", "in_progress") and time.monotonic() < deadline:
        time.sleep(0.1)
        begun = openai_client.responses.retrieve(begun.id)
    assert begun.output_text == "579"
    again = openai_client.responses.retrieve(begun.id, stream=True, starting_after=3)
    assert next(iter(again)).sequence_number == 4


def test_conversations(openai_client: OpenAI) -> None:
    conversation = openai_client.conversations.create(metadata={"topic": "sums"})
    openai_client.responses.create(model="motet-nano", input=SUM, conversation=conversation.id)
    items = openai_client.conversations.items.list(conversation.id, order="asc")
    assert [item.type for item in items] == ["message", "reasoning", "message"]
    assert openai_client.conversations.delete(conversation.id).deleted


def test_chat_completions_and_a_tool_loop(openai_client: OpenAI) -> None:
    messages: Any = [{"role": "user", "content": "Add 2 and 3."}]
    tools: Any = [CHAT_ADD]
    first = openai_client.chat.completions.create(
        model="motet-nano", messages=messages, tools=tools, tool_choice="required"
    )
    assert first.choices[0].finish_reason == "tool_calls"
    message = first.choices[0].message
    assert message.tool_calls
    call = message.tool_calls[0]
    messages += [
        message.model_dump(exclude_none=True),
        {"role": "tool", "tool_call_id": call.id, "content": "5"},
    ]
    second = openai_client.chat.completions.create(
        model="motet-nano", messages=messages, tools=tools, tool_choice="none", max_tokens=400
    )
    assert second.choices[0].message.content is not None


def test_chat_completions_stream_asynchronously(server: ServerProcess) -> None:
    async def ask(client: AsyncOpenAI) -> str:
        text = ""
        stream = await client.chat.completions.create(
            model="motet-nano",
            messages=[{"role": "user", "content": SUM}],
            stream=True,
            stream_options={"include_usage": True},
            logprobs=True,
        )
        async for chunk in stream:
            text += (chunk.choices and chunk.choices[0].delta.content) or ""
        assert chunk.usage is not None
        return text

    async def ask_together() -> list[str]:
        async with AsyncOpenAI(base_url=server.url, api_key="any") as client:
            return await asyncio.gather(*(ask(client) for _ in range(3)))

    assert asyncio.run(ask_together()) == ["579"] * 3


def test_completions_are_an_engine_for_others(openai_client: OpenAI) -> None:
    made = openai_client.completions.create(
        model="motet-nano", prompt=[300, 301], max_tokens=5, extra_body={"return_token_ids": True}
    )
    assert made.choices[0].model_extra is not None
    assert len(made.choices[0].model_extra["token_ids"]) == 5


def test_errors_are_those_of_the_client(openai_client: OpenAI) -> None:
    with pytest.raises(openai.NotFoundError, match="motet-nano"):
        openai_client.responses.create(model="gpt-9", input=SUM)
    bad: Any = {"type": "object", "properties": {"x": {"type": "string", "minLength": -1}}}
    with pytest.raises(openai.BadRequestError, match="#/properties/x"):
        openai_client.responses.create(
            model="motet-nano",
            input=SUM,
            text={"format": {"type": "json_schema", "name": "n", "schema": bad}},
        )
    for _ in range(300):
        bad = {"type": "array", "items": bad}
    tools: Any = [{**ADD, "parameters": bad}]
    with pytest.raises(openai.BadRequestError, match=r"recursion|deep"):
        openai_client.responses.create(model="motet-nano", input=SUM, tools=tools)
    with pytest.raises(openai.BadRequestError, match="embedding"):
        openai_client.embeddings.create(model="motet-nano", input="x")


def test_curl_finds_it(server: ServerProcess) -> None:
    curl = shutil.which("curl")
    if curl is None:
        pytest.skip("curl is not installed")
    url, header = f"{server.url}/responses", "content-type: application/json"
    done = subprocess.run(
        [curl, "-sS", url, "-H", header, "-d", json.dumps({"input": SUM})],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert json.loads(done.stdout)["output"][-1]["content"][0]["text"] == "579"


def running(server: ServerProcess) -> float:
    """How many requests are being answered, by the metrics."""
    with urllib.request.urlopen(f"{server.url.removesuffix('v1')}metrics") as answer:
        text = answer.read().decode()
    (line,) = [line for line in text.splitlines() if line.startswith("motet_requests_running ")]
    return float(line.split()[1])


@pytest.mark.parametrize("stream", [False, True])
def test_a_client_that_leaves_ends_its_generation(
    server: ServerProcess, openai_client: OpenAI, stream: bool
) -> None:
    asked: Any = {"model": "motet-nano", "prompt": "1", "max_tokens": 100_000}
    asked["extra_body"] = {"ignore_eos": True}  # it takes far longer than the client waits
    if stream:
        chunks = openai_client.completions.create(**asked, stream=True)
        next(iter(chunks))
        chunks.close()
    else:
        with pytest.raises(openai.APITimeoutError):
            openai_client.completions.create(**asked, timeout=0.1)
    deadline = time.monotonic() + 10
    while running(server) > 1 and time.monotonic() < deadline:  # the one that asks
        time.sleep(0.1)
    assert running(server) == 1


def test_nothing_that_was_said_is_logged(server: ServerProcess, openai_client: OpenAI) -> None:
    def answered() -> list[Any]:
        requests = [line for line in server.log if line["message"] == "request"]
        return [line for line in requests if line["path"] == "/v1/responses"]

    before = len(answered())
    openai_client.responses.create(model="motet-nano", input=SUM)
    deadline = time.monotonic() + 10
    while len(answered()) == before and time.monotonic() < deadline:  # written after the answer
        time.sleep(0.01)
    assert len(answered()) == before + 1
    assert answered()[-1]["status"] == 200
    assert "123" not in json.dumps([line.get("asked") for line in server.log])
    assert all("asked" not in line for line in server.log)


def test_sigterm_lets_a_running_answer_finish_and_keys_are_kept(tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    keys.write_text(f"# team\nann {sha256(b'open').hexdigest()} 2\n")
    config = tmp_path / "motet.toml"
    config.write_text('name = ["tiny"]\nlog_prompts = true\n')
    environment = {"MOTET_KEYS": str(keys)}
    with ServerProcess("--config", str(config), environment=environment) as process:
        with pytest.raises(openai.AuthenticationError):
            OpenAI(base_url=process.url, api_key="shut", max_retries=0).models.list()
        client = OpenAI(base_url=process.url, api_key="open", max_retries=0)
        assert [model.id for model in client.models.list()] == ["tiny"]
        stream = client.responses.create(model="tiny", input=SUM, stream=True)
        next(iter(stream))
        ended: list[int] = []
        ending = threading.Thread(target=lambda: ended.append(process.terminate()))
        ending.start()
        events = list(stream)
        assert events[-1].type == "response.completed"
        ending.join()
    assert ended == [-15]
    # A quick machine answers before the signal is heard.
    assert {line["message"] for line in process.log[-2:]} == {"draining", "request"}
    assert any(SUM in line.get("asked", "") for line in process.log)


def test_every_setting_is_an_option() -> None:
    from typer.testing import CliRunner

    done = CliRunner().invoke(app, ["serve", "--help"], env={"COLUMNS": "200"})
    assert done.exit_code == 0
    for option in ("--config", "--store", "--keys", "--log-prompts", "--cors-origins"):
        assert option in done.stdout


def test_a_port_in_use_is_one_sentence(server: ServerProcess) -> None:
    port = server.url.split(":")[-1].split("/")[0]
    command = ["--port", port]
    done = subprocess.run(
        [*ServerProcess.command, *command], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 2
    assert f"port {port}" in done.stderr
