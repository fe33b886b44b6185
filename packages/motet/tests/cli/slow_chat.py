"""`motet chat` in a real terminal with a scripted model that speaks slowly enough to be stopped.

Its answer counts on and on; asked again, it tells what the conversation holds.
"""

import asyncio
from collections.abc import AsyncGenerator

from motet.cli.conversing import TerminalFront, converse
from motet.cli.session import Model, Session
from motet.engine import FinishReason, GeneratedTokens, GenerationRequest, ScriptedEngine
from motet.harmony import o200k_harmony

WORDS = o200k_harmony()
OPENING = [WORDS.channel, *WORDS.encode("final"), WORDS.message]


class SlowEngine(ScriptedEngine):
    """Counts for ever in the first answer, and says in later ones how far it got."""

    async def generate(self, request: GenerationRequest) -> AsyncGenerator[GeneratedTokens, None]:
        prompt = WORDS.decode(request.prompt)
        yield GeneratedTokens(tuple(OPENING))
        if "one two" in prompt:
            rest = (*WORDS.encode("I got to two."), WORDS.return_)
            yield GeneratedTokens(rest, finish=FinishReason.STOP)
            return
        for text in ("one", " two", " and on"):
            yield GeneratedTokens(tuple(WORDS.encode(text)))
        await asyncio.sleep(60)


if __name__ == "__main__":
    model = Model(SlowEngine([]), WORDS, "a slow model", skills="It counts.", dated=False)
    with asyncio.Runner() as runner:
        front = TerminalFront(model, hide_thinking=False)
        converse(runner, Session(model, effort="low"), front)
