"""Turns over servers that hold an answer to a grammar, and over those that do not."""

from collections.abc import Iterator

import pytest
from fake_servers import FakeServer, Plan

from motet.agent import Turn, TurnOptions
from motet.engine.remote import RemoteEngine, ServerKind
from motet.harmony import (
    Conversation,
    DeveloperContent,
    Message,
    ToolDescription,
    ToolNamespace,
    o200k_harmony,
)
from motet.harmony.grammar import AnswerFormat, ToolChoice, TurnRules

V = o200k_harmony().first(3000)
FINAL = [V.channel, *V.encode("final"), V.message]
THOUGHT = [V.channel, *V.encode("analysis"), V.message]
NEXT = [V.end, V.start, *V.encode("assistant")]
SCHEMA = {"type": "object", "properties": {"sum": {"type": "integer"}}, "required": ["sum"]}
ADD = ToolNamespace.functions([ToolDescription("add", "Adds.", SCHEMA)])
QUESTION = Conversation(
    (Message.system(), Message.developer(DeveloperContent(tools=(ADD,))), Message.user("2 + 2?"))
)


@pytest.fixture(params=list(ServerKind))
def server(request: pytest.FixtureRequest) -> Iterator[FakeServer]:
    with FakeServer(request.param, V) as running:
        running.reads_grammars = True
        yield running


async def run(engine: RemoteEngine, rules: TurnRules) -> list[tuple[str | None, str]]:
    turn = Turn(engine, V, QUESTION, TurnOptions(rules=rules))
    async for _ in turn.events():
        pass
    assert turn.repairs == ()
    return [(each.recipient or each.channel, each.text) for each in turn.messages]


async def test_the_answer_is_held_to_its_format(server: FakeServer) -> None:
    engine = RemoteEngine.connect([server.url], V)
    assert engine.reads_grammars
    said = [*THOUGHT, *V.encode("Hm."), *NEXT, *FINAL, *V.encode('no: {"sum":4!}'), V.return_]
    server.plans.append(Plan(said))
    rules = TurnRules(answer=AnswerFormat.json_schema(SCHEMA))
    assert await run(engine, rules) == [("analysis", "Hm."), ("final", '{"sum":4}')]
    await engine.close()


async def test_behind_a_thought_that_was_ended_a_required_call_comes(server: FakeServer) -> None:
    engine = RemoteEngine.connect([server.url], V)
    call = [V.channel, *V.encode("commentary to=functions.add "), V.constrain, *V.encode("json")]
    endless = [*THOUGHT, *V.encode("one two three four five six seven")]
    arguments = V.encode('{"sum":4}')
    server.plans += [
        Plan(endless, "length"),
        Plan([*FINAL, *call, V.message, *arguments, V.return_, V.call]),
    ]
    rules = TurnRules(ToolChoice.call(), maximum_thinking_tokens=3)
    said = await run(engine, rules)
    assert said == [("analysis", "one two th"), ("functions.add", '{"sum":4}')]
    second = server.requests[-1].get("prompt") or server.requests[-1]["input_ids"]
    assert second[-len(NEXT) :] == NEXT
    await engine.close()


async def test_a_server_that_passes_over_a_grammar_is_not_trusted_with_one(
    server: FakeServer,
) -> None:
    server.reads_grammars = False
    engine = RemoteEngine.connect([server.url], V)
    assert not engine.reads_grammars
    server.plans.append(Plan([*FINAL, *V.encode("Four."), V.return_]))
    rules = TurnRules(answer=AnswerFormat.json_schema(SCHEMA))
    assert await run(engine, rules) == [("final", "Four.")]
    fields = {"structured_outputs", "grammar"} & server.requests[-1].keys()
    assert not fields | ({"ebnf"} & server.requests[-1].get("sampling_params", {}).keys())
    await engine.close()


async def test_of_several_servers_all_have_to_read_grammars(server: FakeServer) -> None:
    with FakeServer(ServerKind.VLLM, V) as other:
        engine = RemoteEngine.connect([server.url, other.url], V)
        assert not engine.reads_grammars
        await engine.close()
