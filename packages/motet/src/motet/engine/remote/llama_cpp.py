"""The dialect of llama.cpp's `/completion`.

Source: the README of llama.cpp's `tools/server`, "POST /completion". A prompt may be an array of
token ids, and every streamed event has the new id in `tokens`; the end token is among them.

What has to be known about it:
- Events come for whole characters only. Of a character that spans several tokens the last token is
  named and the ones before it are not, though `content` holds all of the text. They are restored by
  encoding that text, which gives the ids the model chose unless it split the character unusually;
  the text is the same in any case. Where an answer ends within a character, that piece is lost.
- There are no stop ids. It ends at the model's own end tokens, and the engine ends it at others.
- Presence and frequency penalties regard the prompt too, so they are refused; the repetition
  penalty regards both, as ours does. The samplers are put into Motet's own order.
- Log probabilities are the model's own; those of restored tokens are not known.
"""

from typing import Any

from motet.engine.errors import EngineError
from motet.engine.remote.dialect import Reader, refuse_unless, token_ids
from motet.engine.remote.server import error_message
from motet.engine.request import FinishReason, GeneratedTokens, GenerationRequest, TokenLogprob
from motet.harmony import Vocabulary

_LARGEST_SEED = 2**31 - 1


class LlamaCppDialect:
    """Token ids through `/completion`, for a model with this vocabulary."""

    path = "/completion"

    def __init__(self, vocabulary: Vocabulary) -> None:
        self._vocabulary = vocabulary

    def body(self, request: GenerationRequest, maximum_tokens: int, /) -> dict[str, Any]:
        """The request as a streamed completion."""
        sampling = request.sampling
        refuse_unless(
            sampling.presence_penalty == 0 == sampling.frequency_penalty,
            "llama.cpp's presence and frequency penalties regard the prompt too; leave them at 0,"
            " or use the repetition penalty",
        )
        body: dict[str, Any] = {
            "prompt": list(request.prompt),
            "stream": True,
            "return_tokens": True,
            "n_predict": maximum_tokens,
            "samplers": ["penalties", "temperature", "top_k", "top_p", "min_p"],
            "temperature": sampling.temperature,
            "top_k": sampling.top_k,
            "top_p": sampling.top_p,
            "min_p": sampling.min_p,
            "repeat_penalty": sampling.repetition_penalty,
            "repeat_last_n": len(request.prompt) + maximum_tokens,  # all there will be
            "presence_penalty": 0.0,
            "frequency_penalty": 0.0,
        }
        if sampling.seed is not None:
            refuse_unless(
                sampling.seed <= _LARGEST_SEED, f"llama.cpp takes seeds up to {_LARGEST_SEED}"
            )
            body["seed"] = sampling.seed
        if request.top_logprobs is not None:
            body["n_probs"] = max(1, request.top_logprobs)
        if request.grammar is not None:
            body["grammar"] = request.grammar
        return body

    def reader(self, request: GenerationRequest, /) -> Reader:
        """A reader of `/completion` events."""
        return _LlamaCppReader(request, self._vocabulary)


class _LlamaCppReader:
    def __init__(self, request: GenerationRequest, vocabulary: Vocabulary) -> None:
        self._top = request.top_logprobs
        self._vocabulary = vocabulary

    def read(self, event: Any, /) -> GeneratedTokens | None:
        if "error" in event:
            raise EngineError(error_message(event))
        tokens = token_ids(event.get("tokens", []))
        if tokens:
            tokens = (*self._left_out(event["content"], tokens[0]), *tokens)
        finish = _finish(event) if event["stop"] else None
        if not tokens and finish is None:
            return None
        return GeneratedTokens(tokens, self._logprobs(event, tokens), finish)

    def _left_out(self, content: str, token: int) -> list[int]:
        """The tokens before `token` in an event whose text is of several."""
        own = self._vocabulary.token_bytes(token)
        data = content.encode()
        if not own or not data.endswith(own) or data == own:
            return []
        *before, last = self._vocabulary.encode(content)
        if last == token:
            return before
        # Every vocabulary begins with the 256 single bytes, in an order of its own.
        bytewise = {self._vocabulary.token_bytes(each): each for each in range(256)}
        return [bytewise[bytes((byte,))] for byte in data.removesuffix(own)]

    def _logprobs(
        self, event: dict[str, Any], tokens: tuple[int, ...]
    ) -> tuple[TokenLogprob, ...] | None:
        if self._top is None:
            return None
        if not tokens:
            return ()
        if len(tokens) > 1:
            raise EngineError(
                "llama.cpp's server gives no log probabilities of tokens within a character, and"
                " the answer has such a character"
            )
        (scored,) = event["completion_probabilities"]
        top = [(each["id"], each["logprob"]) for each in scored["top_logprobs"][: self._top]]
        return (TokenLogprob(scored["id"], scored["logprob"], tuple(top)),)


def _finish(event: dict[str, Any]) -> FinishReason:
    return FinishReason.LENGTH if event.get("stop_type") == "limit" else FinishReason.STOP
