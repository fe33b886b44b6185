"""Getting to know a server before anything depends on it.

`/v1/models`, which all four kinds have, names the kind and the model. What it lacks is asked of the
routes of the kind: `/props` of llama.cpp, `/get_server_info` of SGLang. Then two questions are put
that cannot be answered wrongly by accident: whether a text has the ids that this vocabulary gives
it, and whether a generation of one token comes back as a token id. A third says whether a grammar
binds the answer from its first token on, special tokens included: two tokens that no model would
write come back only from a server that was made to write them.
"""

from collections.abc import Mapping
from typing import Any

import httpx

from motet.engine.errors import EngineError
from motet.engine.remote.backend import refusal
from motet.engine.remote.completions import CompletionsDialect
from motet.engine.remote.dialect import Dialect
from motet.engine.remote.events import whole_events
from motet.engine.remote.llama_cpp import LlamaCppDialect
from motet.engine.remote.server import ServerInfo, ServerKind, TimeLimits
from motet.engine.remote.sglang import SglangDialect
from motet.engine.request import GenerationRequest, SamplingParameters
from motet.harmony import Vocabulary
from motet.harmony.grammar import sequence_text

_OWNERS = {
    "vllm": ServerKind.VLLM,
    "sglang": ServerKind.SGLANG,
    "llamacpp": ServerKind.LLAMA_CPP,
    "motet": ServerKind.MOTET,
}
_TEXT = "Tokens in, tokens out."


def describe_server(
    url: str, headers: Mapping[str, str] | None = None, limits: TimeLimits | None = None
) -> ServerInfo:
    """What the server at `url` (with or without `/v1`) is. Raises EngineError."""
    url = _base_url(url)
    with _client(headers, limits) as client:
        listed = _asked(client, f"{url}/v1/models")
        try:
            card = listed["data"][0]
            kind = _OWNERS.get(card.get("owned_by"), ServerKind.VLLM)
            return _described(client, url, kind, card)
        except (LookupError, TypeError, AttributeError) as error:
            raise EngineError(
                f"{url} lists no model as vLLM, SGLang, llama.cpp and Motet do; give the address of"
                " one of these"
            ) from error


def dialect_for(info: ServerInfo, vocabulary: Vocabulary) -> Dialect:
    """The language to speak to a server with a model of this vocabulary."""
    match info.kind:
        case ServerKind.SGLANG:
            return SglangDialect(takes_seeds=info.takes_seeds)
        case ServerKind.LLAMA_CPP:
            return LlamaCppDialect(vocabulary)
        case ServerKind.VLLM | ServerKind.MOTET:
            return CompletionsDialect(info.model)


def examine(
    info: ServerInfo,
    vocabulary: Vocabulary,
    headers: Mapping[str, str] | None = None,
    limits: TimeLimits | None = None,
) -> None:
    """Raise EngineError unless the server has this vocabulary and gives token ids."""
    if info.vocabulary_size not in (None, vocabulary.size):
        raise _other_vocabulary(info, f"{info.vocabulary_size} tokens", f"{vocabulary.size}")
    with _client(headers, limits) as client:
        _compare_tokens(client, info, vocabulary)
        _generate_one(client, info, vocabulary)


def reads_grammars(
    info: ServerInfo,
    vocabulary: Vocabulary,
    headers: Mapping[str, str] | None = None,
    limits: TimeLimits | None = None,
) -> bool:
    """Whether the server holds an answer to a grammar of llguidance's, token by token."""
    wanted = [vocabulary.constrain, vocabulary.constrain]
    with _client(headers, limits) as client:
        try:
            return _generated(client, info, vocabulary, 2, sequence_text(wanted)) == wanted
        except EngineError:
            return False  # it refuses grammars, or those of this kind


def _described(
    client: httpx.Client, url: str, kind: ServerKind, card: dict[str, Any]
) -> ServerInfo:
    model, meta = str(card["id"]), card.get("meta") or {}
    length = card.get("max_model_len") or card.get("context_length") or meta.get("n_ctx")
    takes_seeds = True
    if kind is ServerKind.LLAMA_CPP and not length:
        length = _asked(client, f"{url}/props")["default_generation_settings"]["n_ctx"]
    if kind is ServerKind.SGLANG:
        details = _asked(client, f"{url}/get_server_info")
        takes_seeds = bool(details.get("enable_deterministic_inference"))
        length = length or details.get("context_length")
    if not isinstance(length, int) or length < 1:
        raise EngineError(
            f"{url} ({kind}) does not say how long its context is; start it with an explicit one"
        )
    size = card.get("vocabulary_size") or meta.get("n_vocab")
    return ServerInfo(url, kind, model, length, size, takes_seeds)


def _compare_tokens(client: httpx.Client, info: ServerInfo, vocabulary: Vocabulary) -> None:
    """Compare the ids of a text, where the server has a tokenizer."""
    body = {"model": info.model, "prompt": _TEXT, "content": _TEXT, "add_special_tokens": False}
    try:
        response = client.post(f"{info.url}/tokenize", json=body)
    except httpx.HTTPError as error:
        raise _unreachable(info.url, error) from error
    if response.status_code != httpx.codes.OK:
        return
    try:
        theirs = response.json()["tokens"]
    except (ValueError, LookupError, TypeError):
        return
    ours = vocabulary.encode(_TEXT)
    if theirs != ours:
        raise _other_vocabulary(info, f"the ids {str(theirs)[:60]} for «{_TEXT}»", f"{ours}")


def _generate_one(client: httpx.Client, info: ServerInfo, vocabulary: Vocabulary) -> None:
    try:
        if not _generated(client, info, vocabulary, 1):
            raise EngineError("it gives no token ids")
    except _Unreachable:
        raise
    except EngineError as error:
        raise EngineError(f"{info.url} ({info.kind}) cannot be used: {error}") from error


def _generated(
    client: httpx.Client,
    info: ServerInfo,
    vocabulary: Vocabulary,
    count: int,
    grammar: str | None = None,
) -> list[int]:
    """So many likeliest tokens behind a short prompt. Raises EngineError."""
    dialect = dialect_for(info, vocabulary)
    prompt = [vocabulary.start, *vocabulary.encode("assistant")]
    greedy = SamplingParameters(temperature=0)
    request = GenerationRequest(prompt, greedy, count, grammar=grammar)
    try:
        response = client.post(info.url + dialect.path, json=dialect.body(request, count))
    except httpx.HTTPError as error:
        raise _unreachable(info.url, error) from error
    if response.status_code != httpx.codes.OK:
        raise refusal(response)
    reader = dialect.reader(request)
    try:
        pieces = [reader.read(event) for event in whole_events(response.content)]
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        raise EngineError(f"it answers unlike its documentation ({error!r})") from error
    return [token for piece in pieces if piece for token in piece.tokens]


def _client(headers: Mapping[str, str] | None, limits: TimeLimits | None) -> httpx.Client:
    limits = limits or TimeLimits()
    timeout = httpx.Timeout(limits.first_token, connect=limits.connect)
    return httpx.Client(headers=dict(headers or {}), timeout=timeout)


def _asked(client: httpx.Client, url: str) -> Any:
    """The JSON behind a URL. Raises EngineError."""
    try:
        response = client.get(url)
        if response.status_code != httpx.codes.OK:
            raise EngineError(f"{url} cannot be used: {refusal(response)}")
        return response.json()
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise _unreachable(url, error) from error
    except ValueError as error:
        raise EngineError(f"{url} answers with something that is no JSON") from error


class _Unreachable(EngineError):  # noqa: N818  (it says what is so)
    """Nobody answers at the address."""


def _unreachable(url: str, error: Exception) -> _Unreachable:
    what = str(error) or type(error).__name__
    return _Unreachable(f"{url} cannot be reached: {what}; is the server running?")


def _other_vocabulary(info: ServerInfo, theirs: str, ours: str) -> EngineError:
    return EngineError(
        f"the model {info.model} at {info.url} has another vocabulary: {theirs} where {ours} was"
        " expected; serve a gpt-oss model there"
    )


def _base_url(url: str) -> str:
    url = url.strip().rstrip("/").removesuffix("/v1")
    if not url.startswith(("http://", "https://")):
        raise EngineError(f"{url or 'nothing'} is no address of a server; write http://host:port")
    return url
