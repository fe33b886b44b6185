"""The dialect of vLLM's `/v1/completions`, which Motet's own server speaks too.

Source: vLLM's documentation, "OpenAI-Compatible Server", Completions API, with its extra sampling
parameters and extra parameters; `return_token_ids` came with vLLM 0.10.2. A prompt may be a list of
token ids, and with `return_token_ids` every streamed choice carries the `token_ids` it adds. With
`return_tokens_as_token_ids` log probabilities name tokens as `token_id:123`, since texts of tokens
are not unique.

Every sampling parameter is sent, because vLLM takes what is missing from the model's
`generation_config.json`. `ignore_eos` leaves `stop_token_ids` as the only tokens that end an
answer. vLLM applies `min_p` before `top_k` and `top_p`, so the three together may keep a few tokens
more or less than Motet's own engine does. Its log probabilities are the model's own
(`raw_logprobs`) unless it was started with another `--logprobs-mode`.
"""

from typing import Any

from motet.engine.errors import EngineError
from motet.engine.remote.dialect import Reader, token_ids
from motet.engine.remote.server import error_message
from motet.engine.request import FinishReason, GeneratedTokens, GenerationRequest, TokenLogprob

_TOKEN = "token_id:"


class CompletionsDialect:
    """Token ids through `/v1/completions`, for the model of this name."""

    path = "/v1/completions"

    def __init__(self, model: str) -> None:
        self._model = model

    def body(self, request: GenerationRequest, maximum_tokens: int, /) -> dict[str, Any]:
        """The request as a streamed completion."""
        sampling = request.sampling
        body: dict[str, Any] = {
            "model": self._model,
            "prompt": list(request.prompt),
            "stream": True,
            "max_tokens": maximum_tokens,
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            "top_k": sampling.top_k,
            "min_p": sampling.min_p,
            "repetition_penalty": sampling.repetition_penalty,
            "presence_penalty": sampling.presence_penalty,
            "frequency_penalty": sampling.frequency_penalty,
            "stop_token_ids": sorted(request.stop_ids),
            "ignore_eos": True,
            "skip_special_tokens": False,
            "return_token_ids": True,
        }
        if sampling.seed is not None:
            body["seed"] = sampling.seed
        if request.top_logprobs is not None:
            body |= {"logprobs": request.top_logprobs, "return_tokens_as_token_ids": True}
        if request.grammar is not None:
            body["structured_outputs"] = {"grammar": request.grammar}
        return body

    def reader(self, request: GenerationRequest, /) -> Reader:
        """A reader of completion chunks."""
        return _CompletionReader(request)


class _CompletionReader:
    def __init__(self, request: GenerationRequest) -> None:
        self._stop_ids = request.stop_ids
        self._top = request.top_logprobs

    def read(self, event: Any, /) -> GeneratedTokens | None:
        if "error" in event:
            raise EngineError(error_message(event))
        if not event["choices"]:
            return None
        choice = event["choices"][0]
        finish = _finish(choice.get("finish_reason"))
        tokens = self._tokens(choice, finish)
        if not tokens and finish is None:
            return None
        return GeneratedTokens(tokens, self._logprobs(choice, tokens), finish)

    def _tokens(self, choice: dict[str, Any], finish: FinishReason | None) -> tuple[int, ...]:
        """The ids a chunk adds; a last chunk may have no text and, from some servers, no ids."""
        given = choice.get("token_ids")
        if given is None:
            if choice.get("text") or finish is None:
                raise EngineError(
                    "it gives text, but no token ids; vLLM has to be version 0.10.2 or newer, and"
                    " between Motet and it there must be nothing that drops return_token_ids"
                )
            return ()
        return token_ids(given)

    def _logprobs(
        self, choice: dict[str, Any], tokens: tuple[int, ...]
    ) -> tuple[TokenLogprob, ...] | None:
        if self._top is None:
            return None
        if not tokens:
            return ()
        given = choice["logprobs"]
        tops = given.get("top_logprobs") or [None] * len(tokens)
        return tuple(
            TokenLogprob(token, float(logprob), _likeliest(top or {}, self._top))
            for token, logprob, top in zip(tokens, given["token_logprobs"], tops, strict=True)
        )


def _finish(reason: str | None) -> FinishReason | None:
    if reason is None:
        return None
    if reason not in ("stop", "length"):
        raise EngineError(f"it ended the answer because of «{reason}»")
    return FinishReason(reason)


def _likeliest(top: dict[str, Any], count: int) -> tuple[tuple[int, float], ...]:
    """The likeliest tokens, best first; a server may add the chosen one behind them."""
    if not count:
        return ()
    if not all(name.startswith(_TOKEN) for name in top):
        raise EngineError("it names the likeliest tokens by their texts only, not by their ids")
    pairs = [(int(name.removeprefix(_TOKEN)), float(logprob)) for name, logprob in top.items()]
    return tuple(sorted(pairs, key=lambda pair: -pair[1])[:count])
