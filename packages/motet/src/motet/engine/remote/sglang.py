"""The dialect of SGLang's `/generate`.

Source: SGLang's documentation, "SGLang Native APIs" and "Sampling Parameters". `input_ids` go in,
`output_ids` come out, with a tokenizer or without one (`--skip-tokenizer-init`). By default each
streamed event repeats the whole answer so far, with `--incremental-streaming-output` (earlier
`--stream-output`) it has only what is new; `meta_info.completion_tokens` counts all tokens and
tells how many at the end of `output_ids` are new, either way.

What SGLang does otherwise than Motet, and is refused where it would matter: its repetition penalty
knows the answer only and not the prompt; it takes a seed only with
`--enable-deterministic-inference`; its log probabilities are those after penalties and temperature,
so they are the model's own without penalties at temperature 1 and, since greedy rows are not
scaled, 0. It always ends at the model's own end tokens too, for `ignore_eos` would switch
`stop_token_ids` off as well.
"""

from typing import Any

from motet.engine.errors import EngineError
from motet.engine.remote.dialect import Reader, refuse_unless, token_ids
from motet.engine.remote.server import error_message
from motet.engine.request import FinishReason, GeneratedTokens, GenerationRequest, TokenLogprob


class SglangDialect:
    """Token ids through `/generate`."""

    path = "/generate"

    def __init__(self, *, takes_seeds: bool) -> None:
        self._takes_seeds = takes_seeds

    def body(self, request: GenerationRequest, maximum_tokens: int, /) -> dict[str, Any]:
        """The request as a streamed generation."""
        self._refuse_impossible(request)
        sampling = request.sampling
        parameters: dict[str, Any] = {
            "max_new_tokens": maximum_tokens,
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            "top_k": sampling.top_k or -1,
            "min_p": sampling.min_p,
            "presence_penalty": sampling.presence_penalty,
            "frequency_penalty": sampling.frequency_penalty,
            "stop_token_ids": sorted(request.stop_ids),
            "skip_special_tokens": False,
        }
        if sampling.seed is not None:
            parameters["sampling_seed"] = sampling.seed
        if request.grammar is not None:
            parameters["ebnf"] = request.grammar
        body = {"input_ids": list(request.prompt), "sampling_params": parameters, "stream": True}
        if request.top_logprobs is not None:
            body |= {"return_logprob": True, "top_logprobs_num": request.top_logprobs}
        return body

    def reader(self, request: GenerationRequest, /) -> Reader:
        """A reader of `/generate` events."""
        return _SglangReader(request)

    def _refuse_impossible(self, request: GenerationRequest) -> None:
        sampling = request.sampling
        refuse_unless(
            sampling.repetition_penalty == 1,
            "SGLang's repetition penalty does not regard the prompt; leave it at 1, or use the"
            " presence or frequency penalty",
        )
        refuse_unless(
            sampling.seed is None or self._takes_seeds,
            "this SGLang server would pass over the seed; start it with"
            " --enable-deterministic-inference, or leave the seed out",
        )
        is_plain = sampling.presence_penalty == 0 == sampling.frequency_penalty
        refuse_unless(
            request.top_logprobs is None or (is_plain and sampling.temperature in (0, 1)),
            "SGLang gives the model's own log probabilities only without penalties and at"
            " temperature 0 or 1",
        )


class _SglangReader:
    def __init__(self, request: GenerationRequest) -> None:
        self._top = request.top_logprobs
        self._seen = 0

    def read(self, event: Any, /) -> GeneratedTokens | None:
        if "error" in event:
            raise EngineError(error_message(event))
        meta = event["meta_info"]
        if "output_ids" not in event:
            raise EngineError("it gives text, but no token ids; SGLang has to be a newer version")
        tokens = self._new(token_ids(event["output_ids"]), meta["completion_tokens"])
        logprobs = self._logprobs(meta, len(tokens))
        finish, matched = _finish(meta["finish_reason"])
        if matched is not None and tokens[-1:] != (matched,):
            # Some versions keep the stop token to themselves.
            tokens += (matched,)
            logprobs = None
        if not tokens and finish is None:
            return None
        return GeneratedTokens(tokens, logprobs, finish)

    def _new(self, ids: tuple[int, ...], count: int) -> tuple[int, ...]:
        new, self._seen = count - self._seen, count
        if not 0 <= new <= len(ids):
            raise ValueError("the token counts contradict each other")
        return ids[len(ids) - new :]

    def _logprobs(self, meta: dict[str, Any], new: int) -> tuple[TokenLogprob, ...] | None:
        """Scores of the last `new` tokens; SGLang writes each as [logprob, id, text]."""
        if self._top is None:
            return None
        if not new:
            return ()
        chosen = meta["output_token_logprobs"][-new:]
        tops = meta["output_top_logprobs"][-new:] if self._top else [()] * new
        return tuple(
            TokenLogprob(token, logprob, tuple((each[1], each[0]) for each in top))
            for (logprob, token, *_), top in zip(chosen, tops, strict=True)
        )


def _finish(reason: Any) -> tuple[FinishReason | None, int | None]:
    """Why it ended and, if at a token, at which."""
    match reason:
        case None:
            return None, None
        case {"type": "length"}:
            return FinishReason.LENGTH, None
        case {"type": "stop", "matched": int(token)}:
            return FinishReason.STOP, token
        case {"type": "stop"}:
            return FinishReason.STOP, None
        case _:
            raise EngineError(f"it ended the answer: {error_message(reason)}")
