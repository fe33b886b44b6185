"""POST /v1/completions: tokens in, tokens out, without harmony.

A prompt is token ids or text (encoded as ordinary text, so `<|start|>` in it is nine characters),
and the answer has token ids too if `return_token_ids` asks for them. That makes a server the engine
of another one. Texts end at `stop`, at the ids of `stop_token_ids` and, unless `ignore_eos`, where
a harmony turn ends. With `return_tokens_as_token_ids` scores name tokens as `token_id:5`, because
the texts of tokens are not unique. `structured_outputs` holds an answer to a format from its first
token on; a grammar, in llguidance's variant of Lark, may name special tokens by their ids. All
these fields are vLLM's.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from itertools import accumulate
from time import time
from typing import Annotated, Any
from uuid import uuid4

from fastapi import APIRouter, Request
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, Field

from motet.engine import (
    EngineError,
    FinishReason,
    GeneratedTokens,
    GenerationRequest,
    SamplingParameters,
    TokenLogprob,
)
from motet.harmony import StreamingDecoder, Vocabulary
from motet.harmony.grammar import (
    AnswerFormat,
    GrammarConstraint,
    GrammarError,
    answer_grammar,
    format_text,
)
from motet.server.errors import ApiError
from motet.server.generation import begun, together, within
from motet.server.http import answer, data_events, events_answer, strict_routes, while_connected
from motet.server.model import ServedModel
from motet.server.prompts import sampling
from motet.server.scores import finite
from motet.server.service import Service, service_of
from motet.server.stops import StopCutter

router = APIRouter(route_class=strict_routes, tags=["completions"])
Tokens = list[Annotated[int, Field(ge=0)]]
_MAXIMUM_CHOICES = 128
_DEFAULT_TOKENS = 16  # as in OpenAI's reference


class CompletionStreamOptions(BaseModel):
    """What a stream holds beside the text."""

    include_usage: bool | None = None


class StructuredOutputs(BaseModel):
    """What the text must match: one of a schema, a pattern, texts to choose from, a grammar."""

    model_config = ConfigDict(extra="forbid")

    json_schema: dict[str, Any] | None = Field(None, alias="json")
    regex: str | None = None
    choice: list[str] | None = None
    grammar: str | None = None

    @property
    def source(self) -> str:
        """The format as llguidance reads it. Raises ApiError and GrammarError."""
        match self.json_schema, self.regex, self.choice, self.grammar:
            case dict(schema), None, None, None:
                return answer_grammar(AnswerFormat.json_schema(schema))
            case None, str(pattern), None, None:
                return answer_grammar(AnswerFormat.regex(pattern))
            case None, None, list(texts), None:
                return answer_grammar(AnswerFormat.choice(texts))
            case None, None, None, str(grammar):
                return grammar
        raise ApiError(
            "structured_outputs needs one of json, regex, choice and grammar.",
            param="structured_outputs",
        )


class CompletionRequest(BaseModel):
    """A request as OpenAI's reference describes it, and vLLM's fields for token ids."""

    model_config = ConfigDict(extra="ignore", allow_inf_nan=False)

    prompt: str | Tokens | list[str] | list[Tokens]
    model: str | None = None
    max_tokens: int | None = Field(None, ge=1)
    n: int | None = Field(None, ge=1, le=16)
    best_of: int | None = None
    echo: bool | None = None
    suffix: str | None = None
    logprobs: int | None = Field(None, ge=0, le=20)
    logit_bias: dict[str, float] | None = None
    stop: str | list[str] | None = None
    stop_token_ids: Tokens | None = None
    structured_outputs: StructuredOutputs | None = None
    ignore_eos: bool | None = None
    return_token_ids: bool | None = None
    return_tokens_as_token_ids: bool | None = None
    seed: int | None = None
    stream: bool | None = None
    stream_options: CompletionStreamOptions | None = None
    temperature: float | None = Field(None, ge=0, le=2)
    top_p: float | None = Field(None, ge=0, le=1)
    top_k: int | None = Field(None, ge=-1)
    min_p: float | None = Field(None, ge=0, le=1)
    repetition_penalty: float | None = None
    presence_penalty: float | None = Field(None, ge=-2, le=2)
    frequency_penalty: float | None = Field(None, ge=-2, le=2)

    @property
    def stops(self) -> list[str]:
        """The texts that end an answer."""
        return [self.stop] if isinstance(self.stop, str) else self.stop or []


@dataclass(frozen=True)
class Piece:
    """More of one choice."""

    text: str
    tokens: tuple[int, ...]
    logprobs: tuple[TokenLogprob, ...] = ()


@dataclass
class _Choice:
    """One continuation of one prompt."""

    prompt: list[int]
    request: GenerationRequest
    cutter: StopCutter
    decoder: StreamingDecoder
    said: list[Piece] = field(default_factory=list)
    finish: str = "length"
    generated: int = 0
    cached: int = 0

    def read(self, chunk: GeneratedTokens) -> Piece:
        """The text and ids of a chunk."""
        self.generated += len(chunk.tokens)
        self.cached += chunk.cached
        is_stopped = chunk.finish is FinishReason.STOP
        shown = chunk.tokens[:-1] if is_stopped else chunk.tokens
        text = self.cutter.feed("".join(self.decoder.feed(token) for token in shown))
        if chunk.finish:
            text += self.cutter.feed(self.decoder.finish()) + self.cutter.finish()
        if is_stopped or self.cutter.stopped:
            self.finish = "stop"
        piece = Piece(text, chunk.tokens, chunk.logprobs or ())
        self.said.append(piece)
        return piece


@router.post("/v1/completions")
async def create_completion(body: CompletionRequest, request: Request) -> Response:
    """Continue prompts."""
    service = service_of(request)
    service.model.require(body.model)
    choices = _choices(body, service)
    head = {
        "id": f"cmpl-{uuid4().hex}",
        "object": "text_completion",
        "created": int(time()),
        "model": service.model.name,
    }
    pieces = together([_pieces(service, choice) for choice in choices])
    if body.stream:
        chunks = _chunks(body, service, head, choices, await begun(pieces))
        return events_answer(data_events(chunks))
    await while_connected(request, _all(pieces))
    whole = [_whole(body, service, index, choice) for index, choice in enumerate(choices)]
    return answer({**head, "choices": whole, "usage": _usage(body, choices)})


async def _all(pieces: AsyncGenerator[tuple[int, Piece], None]) -> None:
    async with aclosing(pieces):
        async for _ in pieces:
            pass


async def _pieces(service: Service, choice: _Choice) -> AsyncGenerator[Piece, None]:
    seconds = service.settings.request_seconds
    generated = service.model.engine.generate(choice.request)
    try:
        async with aclosing(within(generated, seconds)) as chunks:
            async for chunk in chunks:
                yield choice.read(chunk)
                if choice.cutter.stopped:
                    return
    finally:
        service.metrics.note_tokens(
            prompt=len(choice.prompt), cached=choice.cached, generated=choice.generated
        )


async def _chunks(
    body: CompletionRequest,
    service: Service,
    head: dict[str, Any],
    choices: Sequence[_Choice],
    pieces: AsyncGenerator[tuple[int, Piece], None],
) -> AsyncGenerator[dict[str, Any], None]:
    def chunk(index: int, text: str, **more: Any) -> dict[str, Any]:
        choice = {"index": index, "text": text, "logprobs": None, "finish_reason": None} | more
        return {**head, "choices": [choice]}

    if body.echo:
        for index, choice in enumerate(choices):
            yield chunk(index, service.model.vocabulary.decode(choice.prompt))
    offsets = [0] * len(choices)
    async with aclosing(pieces):
        async for index, piece in pieces:
            more: dict[str, Any] = {}
            if body.return_token_ids:
                more["token_ids"] = list(piece.tokens)
            if body.logprobs is not None:
                more["logprobs"] = _logprobs([piece], body, service, offsets[index])
            offsets[index] += len(piece.text)
            yield chunk(index, piece.text, **more)
    for index, choice in enumerate(choices):
        yield chunk(index, "", finish_reason=choice.finish)
    if body.stream_options and body.stream_options.include_usage:
        yield {**head, "choices": [], "usage": _usage(body, choices)}


def _whole(
    body: CompletionRequest, service: Service, index: int, choice: _Choice
) -> dict[str, Any]:
    vocabulary = service.model.vocabulary
    before = vocabulary.decode(choice.prompt) if body.echo else ""
    made: dict[str, Any] = {
        "index": index,
        "text": before + "".join(piece.text for piece in choice.said),
        "finish_reason": choice.finish,
        "logprobs": None,
    }
    if body.logprobs is not None:
        made["logprobs"] = _logprobs(choice.said, body, service, len(before))
    if body.return_token_ids:
        made["prompt_token_ids"] = choice.prompt
        made["token_ids"] = [token for piece in choice.said for token in piece.tokens]
    return made


def _logprobs(
    pieces: Sequence[Piece], body: CompletionRequest, service: Service, offset: int
) -> dict[str, Any]:
    """Scores in the form of this API; an offset counts the characters of whole tokens before it."""
    vocabulary = service.model.vocabulary

    def name(token: int) -> str:
        as_id = body.return_tokens_as_token_ids
        return f"token_id:{token}" if as_id else vocabulary.decode((token,))

    scores = [score for piece in pieces for score in piece.logprobs]
    lengths = [len(vocabulary.decode((score.token,))) for score in scores]
    return {
        "tokens": [name(score.token) for score in scores],
        "token_logprobs": [finite(score.logprob) for score in scores],
        "top_logprobs": [
            {name(token): finite(logprob) for token, logprob in score.top} for score in scores
        ],
        "text_offset": list(accumulate(lengths, initial=offset))[:-1],
    }


def _usage(body: CompletionRequest, choices: Sequence[_Choice]) -> dict[str, Any]:
    prompts = choices[:: body.n or 1]
    prompt = sum(len(choice.prompt) for choice in prompts)
    generated = sum(choice.generated for choice in choices)
    return {
        "prompt_tokens": prompt,
        "completion_tokens": generated,
        "total_tokens": prompt + generated,
        "prompt_tokens_details": {"cached_tokens": sum(choice.cached for choice in prompts)},
    }


def _choices(body: CompletionRequest, service: Service) -> list[_Choice]:
    _refuse_impossible(body)
    prompts = _prompts(body.prompt, service.model.vocabulary)
    count = len(prompts) * (body.n or 1)
    if count > _MAXIMUM_CHOICES:
        raise ApiError(f"At most {_MAXIMUM_CHOICES} answers at once, not {count}.", param="n")
    return [
        _choice(body, service, prompt, number)
        for prompt in prompts
        for number in range(body.n or 1)
    ]


def _choice(body: CompletionRequest, service: Service, prompt: list[int], number: int) -> _Choice:
    model = service.model
    limit = model.engine.context_length
    if len(prompt) >= limit:
        raise ApiError(
            f"The prompt has {len(prompt)} tokens, and the context of {limit} has to hold at least"
            " one token of the answer too; shorten it.",
            code="context_length_exceeded",
            param="prompt",
        )
    ends = frozenset() if body.ignore_eos else model.vocabulary.stop_ids
    stop_ids = ends | frozenset(body.stop_token_ids or ())
    request = GenerationRequest(
        prompt,
        _sampling(body, model.sampling, number),
        body.max_tokens or _DEFAULT_TOKENS,
        stop_ids,
        top_logprobs=body.logprobs,
    )
    if body.structured_outputs:
        request = _held(request, body.structured_outputs, model)
    return _Choice(prompt, request, StopCutter(body.stops), StreamingDecoder(model.vocabulary))


def _held(
    request: GenerationRequest, wanted: StructuredOutputs, model: ServedModel
) -> GenerationRequest:
    """The request with what the text must match, in the way the engine knows."""
    param = "structured_outputs"
    try:
        if model.engine.obeys_constraints:
            constraint = GrammarConstraint(wanted.source, model.vocabulary, request.stop_ids)
            return replace(request, constraint=constraint)
        if model.engine.reads_grammars:
            return replace(request, grammar=format_text(wanted.source))
    except (GrammarError, ValueError) as error:
        raise ApiError(f"{str(error).rstrip('.')}.", param=param, code="invalid_schema") from error
    raise ApiError("The servers that run this model hold to no format; leave it out.", param=param)


def _sampling(
    body: CompletionRequest, default: SamplingParameters, number: int
) -> SamplingParameters:
    base = sampling(
        default,
        temperature=body.temperature,
        top_p=body.top_p,
        presence_penalty=body.presence_penalty,
        frequency_penalty=body.frequency_penalty,
        seed=None if body.seed is None else body.seed + number,
    )
    further: dict[str, Any] = {
        "top_k": None if body.top_k is None else max(body.top_k, 0),
        "min_p": body.min_p,
        "repetition_penalty": body.repetition_penalty,
    }
    try:
        return replace(base, **{name: each for name, each in further.items() if each is not None})
    except EngineError as error:
        raise ApiError(f"{error}.", param="repetition_penalty") from error


def _refuse_impossible(body: CompletionRequest) -> None:
    if body.suffix:
        raise ApiError("gpt-oss cannot fill a gap; leave suffix out.", param="suffix")
    if body.best_of is not None and body.best_of != (body.n or 1):
        raise ApiError("best_of is not offered; ask for n.", param="best_of")
    if body.logit_bias:
        raise ApiError(
            "logit_bias cannot be done by this engine; leave it out.", param="logit_bias"
        )


def _prompts(
    given: str | list[int] | list[str] | list[list[int]], vocabulary: Vocabulary
) -> list[list[int]]:
    prompts: list[Any] = given if isinstance(given, list) and not _are_ids(given) else [given]
    encoded = [vocabulary.encode(each) if isinstance(each, str) else each for each in prompts]
    if not encoded or not all(encoded):
        raise ApiError("A prompt needs at least one token.", param="prompt")
    for prompt in encoded:
        if (highest := max(prompt)) >= vocabulary.size:
            raise ApiError(
                f"The token {highest} is not in the vocabulary of {vocabulary.size} tokens.",
                param="prompt",
            )
    return encoded


def _are_ids(given: Sequence[Any]) -> bool:
    return all(isinstance(each, int) for each in given) and bool(given)
