"""The real process when something is killed: itself, or one of the servers that are its engine."""

import asyncio
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest
from openai import AsyncOpenAI, OpenAI
from server_process import ServerProcess

from motet.engine.remote import ServerKind
from motet.harmony import o200k_harmony

sys.path.append(str(Path(__file__).parents[1] / "engine"))
from fake_servers import FakeServer, Plan

V = o200k_harmony()
TEXT = "Well, four it is."
ANSWER = [V.channel, *V.encode("final"), V.message, *V.encode(TEXT), V.return_]
SURVEYED = Plan([0], "length")
BEGUN = 5  # tokens until the text has begun
MODEL = "gpt-oss-test"


@pytest.fixture
def engine() -> Iterator[FakeServer]:
    with FakeServer(ServerKind.MOTET, V) as running:
        running.plans.append(SURVEYED)
        yield running


def openai_client(process: ServerProcess) -> OpenAI:
    return OpenAI(base_url=process.url, api_key="any", max_retries=0)


def test_sigkill_loses_no_stored_response(engine: FakeServer, tmp_path: Path) -> None:
    options = (f"--store=sqlite:///{tmp_path}/store.db", "--engine", engine.url)
    with ServerProcess(*options) as process:
        client = openai_client(process)
        engine.plans += [Plan(ANSWER), Plan(ANSWER), Plan(ANSWER)]
        engine.plans += [Plan(ANSWER, stalls_after=BEGUN), Plan(ANSWER, stalls_after=BEGUN)]
        first = client.responses.create(model=MODEL, input="2 + 2?")
        second = client.responses.create(
            model=MODEL, input="Sure?", previous_response_id=first.id, background=False
        )
        conversation = client.conversations.create()
        client.responses.create(model=MODEL, input="?", conversation=conversation.id)
        lost = client.responses.create(model=MODEL, input="Why?", background=True)
        for event in client.responses.create(model=MODEL, input="Why?", stream=True):
            if event.type == "response.output_text.delta":
                break
        assert client.responses.retrieve(lost.id).status == "in_progress"
        process.kill()
    engine.plans += [SURVEYED, Plan(ANSWER)]
    with ServerProcess(*options) as process:
        client = openai_client(process)
        assert client.responses.retrieve(first.id) == first
        assert client.responses.retrieve(second.id) == second
        assert len(client.conversations.items.list(conversation.id).data) == 2
        interrupted = client.responses.retrieve(lost.id)
        assert interrupted.status == "failed"
        assert interrupted.error is not None
        assert "ended before" in interrupted.error.message
        assert client.responses.input_items.list(lost.id).data
        assert client.responses.cancel(lost.id).status == "failed"
        third = client.responses.create(model=MODEL, input="So?", previous_response_id=second.id)
        assert third.output_text == TEXT
    asked = V.decode(engine.requests[-1]["prompt"])
    assert asked.count(TEXT) == 2


def test_the_death_of_an_engine_concerns_its_own_clients_alone() -> None:
    dying, other = FakeServer(ServerKind.MOTET, V), FakeServer(ServerKind.VLLM, V)
    with dying, other:
        for each in (dying, other):
            each.plans.append(SURVEYED)
        with ServerProcess("--engine", dying.url, "--engine", other.url) as process:
            dying.plans += [Plan(ANSWER, dies_after=BEGUN)] * 2 + [Plan(ANSWER)] * 2
            other.plans += [Plan(ANSWER)] * 8
            dying.gate.clear()
            other.gate.clear()

            async def ask(client: AsyncOpenAI, number: int) -> Any:
                """By turns as a response and as chat; what came, or the error in the stream."""
                asked: Any = {"model": MODEL, "stream": True}
                text = ""
                if number % 2:
                    async for event in await client.responses.create(input=f"{number}", **asked):
                        text += event.delta if event.type == "response.output_text.delta" else ""
                        if event.type == "response.failed":
                            assert event.response.error
                            return text, event.response.error.message
                    return text, None
                messages = [{"role": "user", "content": f"{number}"}]
                try:
                    async for chunk in await client.chat.completions.create(
                        messages=messages, **asked
                    ):
                        text += chunk.choices[0].delta.content or ""
                except openai.APIError as error:
                    return text, error.message
                return text, None

            async def ask_together() -> list[Any]:
                async with AsyncOpenAI(base_url=process.url, api_key="any") as client:
                    asking = [asyncio.create_task(ask(client, number)) for number in range(4)]
                    while len(dying.requests) + len(other.requests) < 6:
                        await asyncio.sleep(0.01)
                    dying.gate.set()
                    other.gate.set()
                    answers = await asyncio.gather(*asking)
                    return [*answers, *[await ask(client, number) for number in (4, 5)]]

            *together, fourth, fifth = asyncio.run(ask_together())
        broken = [(text, error) for text, error in together if error]
        assert len(broken) == 2
        for text, error in broken:
            assert TEXT.startswith(text)
            assert f"{dying.url} broke off in the middle" in error
        assert [each for each in together if each not in broken] == [(TEXT, None)] * 2
        assert fourth == fifth == (TEXT, None)


def test_an_engine_killed_before_its_first_token_is_not_noticed() -> None:
    dying, other = FakeServer(ServerKind.MOTET, V), FakeServer(ServerKind.VLLM, V)
    with dying, other:
        for each in (dying, other):
            each.plans.append(SURVEYED)
        with ServerProcess("--engine", dying.url, "--engine", other.url) as process:
            dying.plans += [Plan(ANSWER, dies_after=0)]
            other.plans += [Plan(ANSWER)] * 2
            client = openai_client(process)
            for _ in range(2):
                assert client.responses.create(model=MODEL, input="2 + 2?").output_text == TEXT
        assert len(dying.requests) == 2
