"""Motet in front of Motet: one real process is the engine of another."""

from collections.abc import Iterator
from typing import Any, Literal

import pytest
from openai import APIError, BadRequestError, OpenAI
from pydantic import BaseModel
from scripted import CHAT_ADD, client, error_of, scripted_engine
from server_process import ServerProcess

from motet.checkpoint import open_checkpoint
from motet.engine import GeneratedTokens, GenerationRequest, NativeEngine, SamplingParameters
from motet.engine.remote import RemoteEngine
from motet.harmony import Conversation, Message, render_for_completion
from motet.nano import embedded_nano_path

SUM: Any = [{"role": "user", "content": "What is 123 + 456?"}]
NAME = "motet-nano"
ENDLESS = {"ignore_eos": True}


class Verdict(BaseModel):
    """An answer nobody can get wrong in form."""

    larger: Literal["first", "second"]
    certain: bool


@pytest.fixture(scope="module")
def behind() -> Iterator[str]:
    with ServerProcess() as process:
        yield process.url


@pytest.fixture(scope="module")
def front(behind: str) -> Iterator[OpenAI]:
    with ServerProcess("--engine", behind) as process:
        yield OpenAI(base_url=process.url, api_key="any", max_retries=0)


async def test_tokens_and_scores_are_those_of_the_engine_itself(behind: str) -> None:
    checkpoint = open_checkpoint(embedded_nano_path())
    remote = RemoteEngine.connect([behind], checkpoint.vocabulary)
    native = NativeEngine(checkpoint)
    asked = Conversation((Message.system(), Message.user("What is 123 + 456?")))
    prompt = render_for_completion(asked, checkpoint.vocabulary)
    sampling = SamplingParameters(seed=7)
    stop_ids = checkpoint.vocabulary.stop_ids
    request = GenerationRequest(prompt, sampling, 30, stop_ids, top_logprobs=3)

    async def answered(engine: NativeEngine | RemoteEngine) -> GeneratedTokens:
        whole = GeneratedTokens((), ())
        async for piece in engine.generate(request):
            whole += piece
        return whole

    theirs, ours = await answered(remote), await answered(native)
    assert remote.reads_grammars
    assert theirs.tokens == ours.tokens
    for one, other in zip(theirs.logprobs or (), ours.logprobs or (), strict=True):
        assert one.token == other.token
        assert [token for token, _ in one.top] == [token for token, _ in other.top]
        assert [logprob for _, logprob in one.top] == pytest.approx([each for _, each in other.top])
    await remote.close()
    await native.close()


def test_formats_and_calls_are_held_to_across_the_relay(front: OpenAI) -> None:
    completion = front.chat.completions.parse(
        model=NAME, messages=SUM, response_format=Verdict, max_tokens=600
    )
    assert isinstance(completion.choices[0].message.parsed, Verdict)
    tools: Any = [CHAT_ADD]
    called = front.chat.completions.create(
        model=NAME, messages=SUM, tools=tools, tool_choice="required", max_tokens=600
    )
    assert called.choices[0].finish_reason == "tool_calls"
    assert front.chat.completions.create(model=NAME, messages=SUM).choices[0].message.content == (
        "579"
    )


def test_sigkill_of_an_engine_is_an_error_for_its_own_client_alone(behind: str) -> None:
    with ServerProcess() as dying, ServerProcess("--engine", dying.url, "--engine", behind) as both:
        http = OpenAI(base_url=both.url, api_key="any", max_retries=0)
        streams = [
            http.completions.create(
                model=NAME, prompt=text, max_tokens=1500, stream=True, extra_body=ENDLESS
            )
            for text in ("One", "Two")
        ]
        for stream in streams:
            next(stream)
        dying.kill()
        ends: list[str | None] = []
        for stream in streams:
            try:
                ends.append([chunk.choices[0].finish_reason for chunk in stream][-1])
            except APIError as error:
                ends.append(error.message)
        broken = f"{dying.url.removesuffix('/v1')} broke off in the middle"
        assert sorted("length" if end == "length" else str(end)[: len(broken)] for end in ends) == [
            broken,
            "length",
        ]
        assert http.chat.completions.create(model=NAME, messages=SUM).choices[0].message.content


@pytest.mark.parametrize(
    ("wanted", "texts"),
    [
        ({"choice": ["apples", "pears"]}, {"apples", "pears"}),
        ({"regex": "(ab){2}"}, {"abab"}),
        ({"json": {"const": {"a": 1}}}, {'{"a":1}'}),
        ({"grammar": 'start: "x" "y"'}, {"xy"}),
    ],
)
def test_completions_are_held_to_what_they_must_match(
    front: OpenAI, behind: str, wanted: dict[str, Any], texts: set[str]
) -> None:
    for each in (front, OpenAI(base_url=behind, api_key="any", max_retries=0)):
        made = each.completions.create(
            model=NAME, prompt="?", max_tokens=50, extra_body={"structured_outputs": wanted}
        )
        assert made.choices[0].text in texts
        assert made.choices[0].finish_reason == "stop"


@pytest.mark.parametrize(
    "wanted", [{}, {"regex": "("}, {"grammar": "start: x"}, {"regex": "a", "json": {}}]
)
def test_wrong_formats_are_refused(behind: str, wanted: dict[str, Any]) -> None:
    with pytest.raises(BadRequestError):
        OpenAI(base_url=behind, api_key="any", max_retries=0).completions.create(
            model=NAME, prompt="?", extra_body={"structured_outputs": wanted}
        )


def test_what_an_engine_is_not_held_to_is_said() -> None:
    with client(scripted_engine([0], [0], [0])) as http:
        body: dict[str, Any] = {"messages": SUM, "response_format": {"type": "json_object"}}
        answer = http.post("/v1/chat/completions", json={**body, "tool_choice": "none"})
        assert "the answer's format, the choice of tools" in answer.headers["motet-warning"]
        strict = {**CHAT_ADD["function"], "type": "function", "strict": True}
        made = http.post("/v1/responses", json={"input": "?", "tools": [strict]}).json()
        assert "strict parameters" in made["metadata"]["motet.warnings"]
        plain = http.post("/v1/chat/completions", json={"messages": SUM, "tools": [CHAT_ADD]})
        assert "motet-warning" not in plain.headers
        body = {"prompt": "?", "structured_outputs": {"regex": "a"}}
        error_of(http.post("/v1/completions", json=body), 400)
