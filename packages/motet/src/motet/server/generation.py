"""Turns while they run: made ready off the event loop, played within the time allowed, several at
once, and ended with their request.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing, suppress
from dataclasses import dataclass, replace
from time import monotonic
from typing import TypeVar

from motet.agent import Turn, TurnOptions
from motet.harmony import Conversation, HarmonyEvent, Role, render_for_completion
from motet.harmony.grammar import GrammarError, ToolChoice, TurnGrammar, TurnRules, compile_turn
from motet.server.errors import ApiError
from motet.server.metrics import Metrics
from motet.server.model import ServedModel
from motet.server.prompts import Ask
from motet.server.tracing import turn_span

T = TypeVar("T")
_PATIENCE_SECONDS = 0.05
_OPENING_ROLES = (Role.SYSTEM, Role.DEVELOPER)


@dataclass(frozen=True)
class Prepared:
    """The turns that answer an ask, one for each choice, and what of it is not held to."""

    turns: list[Turn]
    warnings: tuple[str, ...]


async def prepare(model: ServedModel, ask: Ask, *, truncate: bool = False) -> Prepared:
    """Make an ask ready to be played.

    With `truncate` a conversation that is too long loses its oldest messages. Raises ApiError if
    the conversation does not fit, or if its rules cannot be held to.
    """
    return await asyncio.to_thread(_prepared, model, ask, truncate)


def _prepared(model: ServedModel, ask: Ask, truncate: bool) -> Prepared:
    asked = _fitting(model, ask.conversation, truncate)
    grammar = _grammar(model, asked, ask.options)
    turns = [
        Turn(model.engine, model.vocabulary, asked, _choice(ask.options, choice), grammar)
        for choice in range(ask.choices)
    ]
    unheld = grammar.warnings if grammar else _unheld(asked, ask.options.rules)
    return Prepared(turns, (*ask.warnings, *unheld))


def _unheld(asked: Conversation, rules: TurnRules) -> tuple[str, ...]:
    """What an engine that heeds no grammar is not held to, though the request wants it."""
    wanted = []
    if rules.answer:
        wanted.append("the answer's format")
    if rules.tool_choice != ToolChoice():
        wanted.append("the choice of tools")
    if asked.tools - rules.lenient_tools:
        wanted.append("strict parameters")
    if not wanted:
        return ()
    return (f"the servers that run this model are told, but not held to: {', '.join(wanted)}",)


def _grammar(model: ServedModel, asked: Conversation, options: TurnOptions) -> TurnGrammar | None:
    if not (model.engine.obeys_constraints or model.engine.reads_grammars):
        return None
    try:
        return compile_turn(model.vocabulary, asked, options.rules)
    except GrammarError as error:
        raise ApiError(f"{str(error).rstrip('.')}.", code="invalid_schema") from error
    except ValueError as error:  # llguidance reads so deep and no deeper
        raise ApiError(f"A schema cannot be read: {error}.", code="invalid_schema") from error


def _choice(options: TurnOptions, choice: int) -> TurnOptions:
    """The options of the n-th choice, which must not repeat the first."""
    seed = options.sampling.seed
    if seed is None or choice == 0:
        return options
    return replace(options, sampling=replace(options.sampling, seed=seed + choice))


def _fitting(model: ServedModel, asked: Conversation, truncate: bool) -> Conversation:
    limit = model.engine.context_length
    while (length := prompt_length(model, asked)) >= limit:
        shorter = _without_oldest(asked) if truncate else None
        if shorter is None:
            raise ApiError(
                f"The conversation has {length} tokens, and the context of {limit} has to hold at"
                " least one token of the answer too; shorten it.",
                code="context_length_exceeded",
                param="input" if truncate else None,
            )
        asked = shorter
    return asked


def prompt_length(model: ServedModel, asked: Conversation) -> int:
    """Tokens of the prompt that a conversation becomes."""
    return len(render_for_completion(asked, model.vocabulary))


def _without_oldest(asked: Conversation) -> Conversation | None:
    """A tenth of what was said less, from the oldest user's message on; None if none is left."""
    messages = list(asked.messages)
    start = next(
        (i for i, each in enumerate(messages) if each.author.role not in _OPENING_ROLES), 0
    )
    starts = [
        index
        for index, each in enumerate(messages)
        if each.author.role is Role.USER and index > start
    ]
    if not starts:
        return None
    least = start + max(1, (len(messages) - start) // 10)
    cut = next((index for index in starts if index >= least), starts[-1])
    return Conversation((*messages[:start], *messages[cut:]))


async def play(
    turn: Turn, metrics: Metrics, *, seconds: float | None = None
) -> AsyncGenerator[HarmonyEvent, None]:
    """The events of a turn; closing it ends the generation. Raises TimeoutError after `seconds`."""
    started = monotonic()
    is_first = True
    try:
        with turn_span(turn):
            async with aclosing(within(turn.events(), seconds)) as events:
                async for event in events:
                    if is_first:
                        metrics.first_token.observe(monotonic() - started)
                        is_first = False
                    yield event
    finally:
        metrics.note_turn(turn)


async def within(stream: AsyncGenerator[T, None], seconds: float | None) -> AsyncGenerator[T, None]:
    """The stream for so long; 0 or None is no limit. Raises TimeoutError."""
    deadline = asyncio.get_running_loop().time() + seconds if seconds else None
    async with aclosing(stream):
        while True:
            try:
                async with asyncio.timeout_at(deadline):
                    each = await anext(stream)
            except StopAsyncIteration:
                return
            yield each


async def together(
    streams: Sequence[AsyncGenerator[T, None]],
) -> AsyncGenerator[tuple[int, T], None]:
    """What several streams yield, as it comes, each with the stream's index.

    The first error of any ends all.
    """
    queue: asyncio.Queue[tuple[int, T] | BaseException | None] = asyncio.Queue()

    async def pump(index: int, stream: AsyncGenerator[T, None]) -> None:
        try:
            async with aclosing(stream):
                async for each in stream:
                    queue.put_nowait((index, each))
            queue.put_nowait(None)
        except BaseException as error:
            queue.put_nowait(error)
            raise

    tasks = [asyncio.create_task(pump(index, stream)) for index, stream in enumerate(streams)]
    try:
        left = len(tasks)
        while left:
            each = await queue.get()
            if isinstance(each, BaseException):
                raise each
            if each is None:
                left -= 1
            else:
                yield each
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def begun(stream: AsyncGenerator[T, None]) -> AsyncGenerator[T, None]:
    """The stream, once it has had a moment to fail: then a request can still get an error status.

    Raises what the stream raises in that moment.
    """
    first = asyncio.ensure_future(anext(stream))
    try:
        await asyncio.wait({first}, timeout=_PATIENCE_SECONDS)
        if first.done() and not isinstance(first.exception(), StopAsyncIteration):
            first.result()
    except BaseException:
        await _end(stream, first)
        raise
    return _rest(stream, first)


async def _rest(
    stream: AsyncGenerator[T, None], first: asyncio.Future[T]
) -> AsyncGenerator[T, None]:
    try:
        with suppress(StopAsyncIteration):
            yield await first
        async for each in stream:
            yield each
    finally:
        await _end(stream, first)


async def _end(stream: AsyncGenerator[T, None], first: asyncio.Future[T]) -> None:
    first.cancel()
    await asyncio.wait({first})
    await stream.aclose()
