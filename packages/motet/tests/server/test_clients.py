"""Other people's clients against the real process: the Agents SDK, LangChain, LiteLLM."""

import asyncio
import os
from collections.abc import Iterator
from typing import Any, Literal

import pytest
from agents import (
    Agent,
    ModelSettings,
    OpenAIChatCompletionsModel,
    OpenAIResponsesModel,
    Runner,
    function_tool,
    set_tracing_disabled,
)
from langchain_core.messages import HumanMessage, ToolMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI
from openai import AsyncOpenAI
from pydantic import BaseModel, SecretStr
from server_process import ServerProcess

SUM = "What is 123 + 456?"
NAME = "motet-nano"
TOOL_LOOP = ["ReasoningItem", "ToolCallItem", "ToolCallOutputItem", "MessageOutputItem"]


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with ServerProcess() as process:
        yield process.url


@pytest.mark.parametrize("kind", [OpenAIResponsesModel, OpenAIChatCompletionsModel])
def test_an_agent_calls_its_function_and_answers(url: str, kind: Any) -> None:
    calls = []

    @function_tool
    def add(a: int, b: int) -> int:
        """Adds."""
        calls.append((a, b))
        return a + b

    async def run() -> list[str]:
        client = AsyncOpenAI(base_url=url, api_key="any")
        agent = Agent(
            name="adder",
            instructions="Use your function.",
            tools=[add],
            model=kind(model=NAME, openai_client=client),
            model_settings=ModelSettings(tool_choice="required", max_tokens=600),
        )
        streamed = Runner.run_streamed(agent, "Add 2 and 3.", max_turns=3)
        async for _ in streamed.stream_events():
            pass
        assert streamed.final_output
        whole = await Runner.run(agent, "Add 2 and 3.", max_turns=3)
        return [type(item).__name__ for item in whole.new_items]

    set_tracing_disabled(True)
    assert asyncio.run(run()) == TOOL_LOOP
    assert len(calls) == 2


class Verdict(BaseModel):
    """An answer nobody can get wrong in form."""

    larger: Literal["first", "second"]


@tool
def add(a: int, b: int) -> int:
    """Adds."""
    return a + b


@pytest.mark.parametrize("by_responses", [False, True])
def test_langchain_asks_streams_calls_and_reads_structures(url: str, by_responses: bool) -> None:
    model = ChatOpenAI(
        model=NAME,
        base_url=url,
        api_key=SecretStr("any"),
        use_responses_api=by_responses,
        max_completion_tokens=600,
    )
    assert model.invoke(SUM).text == "579"
    assert "".join(chunk.text for chunk in model.stream(SUM)) == "579"
    question = HumanMessage("Add 2 and 3.")
    called = model.bind_tools([add], tool_choice="required").invoke([question])
    (call,) = called.tool_calls
    assert call["name"] == "add"
    result = ToolMessage("5", tool_call_id=call["id"])
    answered = model.bind_tools([add], tool_choice="none").invoke([question, called, result])
    assert answered.text
    verdict = model.with_structured_output(Verdict).invoke("Which is larger, 5 or 7?")
    assert isinstance(verdict, Verdict)


def test_litellm_finds_answer_and_thought(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(os.environ, "LITELLM_LOCAL_MODEL_COST_MAP", "True")
    import litellm

    asked: Any = {"model": f"openai/{NAME}", "api_base": url, "api_key": "any"}
    messages = [{"role": "user", "content": SUM}]
    message = litellm.completion(messages=messages, **asked).choices[0].message
    assert message.content == "579"
    assert message.reasoning_content.endswith("579")
    chunks = litellm.completion(messages=messages, stream=True, **asked)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == "579"
    assert litellm.responses(input=SUM, **asked).output[-1].content[0].text == "579"
