"""Many turns held to a grammar, each checked by others: the parser, and the jsonschema package.

    python packages/motet/tests/agent/constrained_turns.py --turns 10000

The embedded model and one with random weights, which is the worst case, are given tools and
response formats out of `schema_corpus.py`, at temperatures from 0 to 2. A turn is at fault if it is
not well-formed, does not end by itself, does not obey the choice of tools, or is not valid against
its schema. The test suite runs a few hundred turns of the same.
"""

import argparse
import asyncio
import json
import random
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import jsonschema
from schema_corpus import KEYWORDS, api_schemas

from motet.agent import Turn, TurnOptions
from motet.checkpoint import Checkpoint, open_checkpoint
from motet.checkpoint.random import random_tensors
from motet.engine import Engine, FinishReason, NativeEngine, SamplingParameters
from motet.harmony import (
    Conversation,
    DeveloperContent,
    Message,
    ResponseFormat,
    SystemContent,
    ToolDescription,
    ToolNamespace,
    Vocabulary,
    browser_tool,
    python_tool,
)
from motet.harmony.grammar import AnswerFormat, ToolChoice, TurnRules
from motet.nano import embedded_nano_path

MAXIMUM_TOKENS = 320
TEMPERATURES = (0.0, 0.5, 1.0, 1.5, 2.0)
FORMATS = jsonschema.FormatChecker(["email", "ipv4", "ipv6", "uuid"])
BUILTIN = {"python": None} | {
    f"browser.{tool.name}": tool.parameters for tool in browser_tool().tools
}


@dataclass(frozen=True)
class Case:
    """A turn to be generated. `tools` has the schemas of the tools that may be called; `calls` says
    whether one must be, None for either; `answer` is the schema of the answer."""

    conversation: Conversation
    options: TurnOptions
    tools: dict[str, dict[str, Any] | None]
    calls: bool | None
    answer: dict[str, Any] | None = None


def nano() -> tuple[Checkpoint, Vocabulary]:
    checkpoint = open_checkpoint(embedded_nano_path())
    return checkpoint, checkpoint.vocabulary


def random_weights() -> tuple[Checkpoint, Vocabulary]:
    """The embedded model's shape with two layers of random weights."""
    trained, vocabulary = nano()
    config = replace(trained.config, layers=2, layer_types=trained.config.layer_types[:2])
    tensors = {tensor.name: tensor for tensor in random_tensors(config, 1)}
    return Checkpoint(Path("random"), "huggingface", (), config, tensors, None), vocabulary


def tool_cases(seed: int) -> Iterator[Case]:
    """Conversations with up to four tools, every choice of tools in turn."""
    chance = random.Random(seed)
    schemas = [s for s in {**KEYWORDS, **api_schemas()}.values() if s.get("type") == "object"]
    for place in range(1 << 40):
        chosen = chance.sample(schemas, chance.randint(1, 3))
        names = chance.sample(["get_weather", "python", "browser", "search", "a.b"], len(chosen))
        functions = [ToolDescription(n, "A tool.", s) for n, s in zip(names, chosen, strict=True)]
        if chance.random() < 0.2:
            functions.append(ToolDescription("now", "No parameters."))
        builtin = chance.choice([(), (python_tool(),), (browser_tool(), python_tool())])
        offered: dict[str, dict[str, Any] | None] = {
            f"functions.{tool.name}": tool.parameters or {"type": "object", "maxProperties": 0}
            for tool in functions
        }
        offered |= {r: BUILTIN[r] for namespace in builtin for r in namespace.recipients}
        some = chance.sample(sorted(offered), chance.randint(1, len(offered)))
        choice, calls = [
            (ToolChoice.auto(), None),
            (ToolChoice.none(), False),
            (ToolChoice.call(), True),
            (ToolChoice.call(some[:1]), True),
            (ToolChoice.auto(some), None),
            (ToolChoice.call(some), True),
        ][place % 6]
        only = choice.only
        yield Case(
            Conversation(
                (
                    Message.system(SystemContent(tools=builtin)),
                    Message.developer(
                        DeveloperContent(tools=(ToolNamespace.functions(functions),))
                    ),
                    Message.user("Use a tool."),
                )
            ),
            _options(chance, TurnRules(tool_choice=choice)),
            {name: s for name, s in offered.items() if only is None or name in only},
            calls,
        )


def format_cases(seed: int) -> Iterator[Case]:
    """A response format for each turn, all of the corpus in turn."""
    chance = random.Random(seed)
    schemas = list({**KEYWORDS, **api_schemas()}.items())
    for place in range(1 << 40):
        name, schema = schemas[place % len(schemas)]
        described = ResponseFormat(name.split()[0], schema)
        messages = (
            Message.system(),
            Message.developer(DeveloperContent(response_formats=(described,))),
            Message.user("Answer in the format."),
        )
        rules = TurnRules(answer=AnswerFormat.json_schema(schema))
        yield Case(Conversation(messages), _options(chance, rules), {}, False, schema)


def _options(chance: random.Random, rules: TurnRules) -> TurnOptions:
    sampling = SamplingParameters(chance.choice(TEMPERATURES), seed=chance.getrandbits(30))
    limit = chance.choice([None, None, 0, 20])
    return TurnOptions(sampling, MAXIMUM_TOKENS, replace(rules, maximum_thinking_tokens=limit))


def fault(case: Case, turn: Turn) -> str | None:
    """What is wrong with a turn that is over."""
    if turn.repairs:
        return f"repaired: {turn.repairs[0]} in {turn.messages}"
    if turn.finish is None or not turn.messages or turn.messages[-1].tokens is None:
        return "no end"
    last, thoughts = turn.messages[-1], turn.messages[:-1]
    if any(each.recipient or each.channel == "final" for each in thoughts):
        return "went on behind its end"
    if last.recipient is None:
        if case.calls or last.channel != "final" or not last.text:
            return f"no call, but {last.channel}"
        return case.answer and _invalid(last.text, case.answer)
    if case.calls is False or last.recipient not in case.tools:
        return f"called {last.recipient}"
    schema = case.tools[last.recipient]
    return None if schema is None else _invalid(last.text, schema)


def _invalid(text: str, schema: dict[str, Any]) -> str | None:
    try:
        jsonschema.validate(json.loads(text), schema, format_checker=FORMATS)
    except (ValueError, jsonschema.ValidationError) as error:
        return f"invalid: {' '.join(str(error).split())[:300]} in {text[:200]}"
    return None


async def run(
    engine: Engine, vocabulary: Vocabulary, cases: list[Case]
) -> tuple[list[str], Counter[str]]:
    """Generate and check the cases, many at once: their faults, and counts of what happened."""
    gate = asyncio.Semaphore(64)
    faults: list[str] = []
    counts: Counter[str] = Counter()

    async def play(case: Case) -> None:
        async with gate:
            turn = Turn(engine, vocabulary, case.conversation, case.options)
            async for _ in turn.events():
                pass
        if wrong := fault(case, turn):
            faults.append(wrong)
        counts["turns"] += 1
        counts["tokens"] += turn.generated_tokens
        counts["forced"] += turn.forced_tokens
        counts["closed for lack of room"] += turn.finish is FinishReason.LENGTH
        counts["thinking ended"] += turn.ended_thinking is not None
        counts["calls"] += turn.messages[-1].recipient is not None

    await asyncio.gather(*map(play, cases))
    return faults, counts


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--turns", type=int, default=10_000, help="of each kind")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    for title, model in (("embedded model", nano()), ("random weights", random_weights())):
        for kind, cases in (("tools", tool_cases), ("response formats", format_cases)):
            share = arguments.turns // 2
            chosen = [case for case, _ in zip(cases(arguments.seed), range(share), strict=False)]
            started = time.monotonic()

            async def all_turns(
                model: tuple[Checkpoint, Vocabulary] = model, chosen: list[Case] = chosen
            ) -> tuple[list[str], Counter[str]]:
                engine = NativeEngine(model[0])
                result = await run(engine, model[1], chosen)
                await engine.close()
                return result

            faults, counts = asyncio.run(all_turns())
            seconds = time.monotonic() - started
            print(
                f"{title}, {kind}: {len(faults)} faults; {dict(counts)}; {seconds:.0f} s",
                flush=True,
            )
            for each in faults[:20]:
                print("   ", each)


if __name__ == "__main__":
    main()
