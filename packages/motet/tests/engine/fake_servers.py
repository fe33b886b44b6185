"""Small servers on real sockets that speak as vLLM, SGLang, llama.cpp and Motet do, or misbehave.

Each runs in a thread with an event loop of its own. What it answers to the next generation is a
`Plan`; without one it gives a single token. Shapes are those of the projects' documentation and
sources as of 2026: vLLM 0.18, SGLang 0.5, llama.cpp's tools/server.
"""

import asyncio
import json
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from typing import Any

from motet.engine.remote import ServerKind
from motet.harmony import Vocabulary
from motet.harmony.grammar import GrammarConstraint, sequence_text

Json = dict[str, Any]
PATHS = {
    ServerKind.VLLM: "/v1/completions",
    ServerKind.MOTET: "/v1/completions",
    ServerKind.SGLANG: "/generate",
    ServerKind.LLAMA_CPP: "/completion",
}
OWNERS = {
    ServerKind.VLLM: "vllm",
    ServerKind.MOTET: "motet",
    ServerKind.SGLANG: "sglang",
    ServerKind.LLAMA_CPP: "llamacpp",
}
LOGPROB = -0.5  # of every token it gives; the others it names are less likely by one each


@dataclass
class Plan:
    """One answer: an error status, or tokens and how they end.

    After `dies_after` or `stalls_after` tokens the connection is cut or nothing comes any more.
    `raw` is sent in the place of events.
    """

    tokens: Sequence[int] = ()
    finish: str = "stop"
    status: int = 200
    headers: Json = field(default_factory=dict)
    dies_after: int | None = None
    stalls_after: int | None = None
    raw: bytes | None = None
    body: Json = field(default_factory=lambda: {"error": {"message": "as planned"}})


class FakeServer:
    """A server of one kind; use it as a context manager.

    `requests` holds the generations it was asked for, `disconnected` is set when a client left in
    the middle of one. `gate`, if closed, holds back all tokens. One that `reads_grammars` holds its
    plans to them; that it is asked whether it does is neither planned nor among the requests.
    """

    def __init__(self, kind: ServerKind, vocabulary: Vocabulary, *, port: int = 0) -> None:
        self.kind = kind
        self.vocabulary = vocabulary
        self.card: Json = {"id": "gpt-oss-test", "object": "model", "owned_by": OWNERS[kind]}
        self.info: Json = {"enable_deterministic_inference": True}
        self.tokenizer: Vocabulary | None = vocabulary
        self.is_incremental = False
        self.gives_ids = True
        self.reads_grammars = False
        self.key: str | None = None
        self.requests: list[Json] = []
        self.plans: deque[Plan] = deque()
        self.disconnected = threading.Event()
        self.gate = threading.Event()
        self.gate.set()
        if kind is ServerKind.LLAMA_CPP:
            self.card["meta"] = {"n_vocab": vocabulary.size, "n_ctx": 4096}
        elif kind is ServerKind.MOTET:
            self.card |= {"context_length": 4096, "vocabulary_size": vocabulary.size}
        else:
            self.card["max_model_len"] = 4096
        self._port = port
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    def __enter__(self) -> "FakeServer":
        self._thread.start()
        self._call(self._start()).result()
        return self

    def __exit__(self, *_: object) -> None:
        self._call(self._stop()).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _call(self, coroutine: Any) -> "Future[None]":
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop)

    async def _start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self._port)
        self._port = self._server.sockets[0].getsockname()[1]

    async def _stop(self) -> None:
        self._server.close()
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                line, *lines = head.decode().rstrip().split("\r\n")
                headers = {k.lower(): v for k, _, v in (each.partition(": ") for each in lines)}
                length = int(headers.get("content-length", 0))
                body = json.loads(await reader.readexactly(length) or b"null")
                path = line.split()[1]
                if self.key and headers.get("authorization") != f"Bearer {self.key}":
                    self._answer(writer, 401, {"error": "Unauthorized"})
                elif path == PATHS[self.kind]:
                    await self._generate(body, reader, writer)
                else:
                    self._answer(writer, *self._route(path, body))
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass
        finally:
            writer.transport.abort() if writer.transport.is_closing() else writer.close()

    def _answer(
        self, writer: asyncio.StreamWriter, status: int, body: Json, headers: Json | None = None
    ) -> None:
        data = json.dumps(body).encode()
        lines = [f"HTTP/1.1 {status} X", f"Content-Length: {len(data)}"]
        lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
        writer.write("\r\n".join(lines).encode() + b"\r\n\r\n" + data)

    def _route(self, path: str, body: Any) -> tuple[int, Json]:
        if path == "/v1/models":
            return 200, {"object": "list", "data": [self.card]}
        if path == "/get_server_info" and self.kind is ServerKind.SGLANG:
            return 200, self.info
        if path == "/props" and self.kind is ServerKind.LLAMA_CPP:
            return 200, {"default_generation_settings": {"n_ctx": 2048}}
        if path == "/tokenize" and self.tokenizer and self.kind is not ServerKind.MOTET:
            text = body["content" if self.kind is ServerKind.LLAMA_CPP else "prompt"]
            return 200, {"tokens": self.tokenizer.encode(text)}
        return 404, {"detail": "Not Found"}

    async def _generate(
        self, body: Json, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        plan = self._plan(body)
        if plan.status != 200:
            self._answer(writer, plan.status, plan.body, plan.headers)
            return
        if plan.dies_after == 0:
            writer.transport.abort()
            return
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n")
        writer.write(b"Transfer-Encoding: chunked\r\n\r\n8\r\n: ping\n\n\r\n")
        for count, event in enumerate(self._events(plan, body)):
            if count == plan.dies_after:
                await writer.drain()
                writer.transport.abort()
                return
            if count == plan.stalls_after or not self.gate.is_set():
                await self._hold(plan, count, reader)
            line = plan.raw or b"data: " + json.dumps(event, ensure_ascii=False).encode() + b"\n\n"
            writer.write(b"%x\r\n%s\r\n" % (len(line), line))
            await writer.drain()
        writer.write(b"e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n")

    def _plan(self, body: Json) -> Plan:
        grammar = _grammar(body)
        if grammar == sequence_text([self.vocabulary.constrain] * 2):
            return Plan(self._held([], grammar) if self.reads_grammars else (0, 0), "length")
        self.requests.append(body)
        plan = self.plans.popleft() if self.plans else Plan((0,), "length")
        if grammar and self.reads_grammars:
            return replace(plan, tokens=self._held(plan.tokens, grammar))
        return plan

    def _held(self, tokens: Sequence[int], grammar: str) -> list[int]:
        """What comes of the tokens, each that may not come left out, and what must come put in."""
        constraint = GrammarConstraint(grammar, self.vocabulary)
        written: list[int] = []
        planned = deque(tokens)
        while True:
            for token in constraint.forced():
                written.append(token)
                if planned and planned[0] == token:
                    planned.popleft()
            while planned and not constraint.allowed()[planned[0]]:
                planned.popleft()
            if not planned:
                return written
            written.append(planned.popleft())
            constraint.accept(written[-1])

    async def _hold(self, plan: Plan, count: int, reader: asyncio.StreamReader) -> None:
        """Say nothing until the gate opens, for ever if the plan says so, or the client leaves."""
        leaving = asyncio.ensure_future(reader.read(1))
        while not leaving.done():
            if self.gate.is_set() and count != plan.stalls_after:
                leaving.cancel()
                return
            await asyncio.sleep(0.005)
        self.disconnected.set()
        raise ConnectionError

    def _events(self, plan: Plan, body: Json) -> Iterator[Json]:
        match self.kind:
            case ServerKind.SGLANG:
                return self._sglang_events(plan, body)
            case ServerKind.LLAMA_CPP:
                return self._llama_events(plan, body)
            case _:
                return self._completion_events(plan, body)

    def _completion_events(self, plan: Plan, body: Json) -> Iterator[Json]:
        for position, token in enumerate(plan.tokens):
            is_last = position + 1 == len(plan.tokens)
            choice: Json = {"index": 0, "text": self.vocabulary.decode((token,)), "logprobs": None}
            choice["finish_reason"] = plan.finish if is_last else None
            if body.get("logprobs") is not None:
                tops = _tops(token, body["logprobs"])
                choice["logprobs"] = {
                    "tokens": [f"token_id:{token}"],
                    "token_logprobs": [LOGPROB],
                    "top_logprobs": [{f"token_id:{each}": value for each, value in tops}],
                }
            if body.get("return_token_ids") and self.gives_ids:
                choice["token_ids"] = [token]
            yield {"object": "text_completion", "choices": [choice]}
        yield {"object": "text_completion", "choices": [], "usage": {}}

    def _sglang_events(self, plan: Plan, body: Json) -> Iterator[Json]:
        wants = body.get("return_logprob")
        for count, token in enumerate(plan.tokens, start=1):
            since = count - 1 if self.is_incremental else 0
            ids = list(plan.tokens[since:count])
            meta: Json = {"completion_tokens": count, "finish_reason": None}
            if count == len(plan.tokens):
                meta["finish_reason"] = {"type": plan.finish}
                if plan.finish == "stop":
                    meta["finish_reason"]["matched"] = token
            if wants:
                meta["output_token_logprobs"] = [[LOGPROB, each, None] for each in ids]
                meta["output_top_logprobs"] = [
                    [[value, other, None] for other, value in _tops(each, body["top_logprobs_num"])]
                    for each in ids
                ]
            yield {"text": None, "meta_info": meta} | (
                {"output_ids": ids} if self.gives_ids else {}
            )

    def _llama_events(self, plan: Plan, body: Json) -> Iterator[Json]:
        """Only whole characters make an event, and the event names their last token alone."""
        data = b""
        for token in plan.tokens:
            if not self.vocabulary.is_special(token):
                data += self.vocabulary.decode_bytes((token,))
            if _is_incomplete(data):
                continue
            event: Json = {"content": data.decode(errors="replace"), "stop": False}
            event["tokens"] = [token] if body.get("return_tokens") and self.gives_ids else []
            if body.get("n_probs"):
                tops = [{"id": each, "logprob": v} for each, v in _tops(token, body["n_probs"])]
                scored = {"id": token, "logprob": LOGPROB, "top_logprobs": tops}
                event["completion_probabilities"] = [scored]
            data = b""
            yield event
        stop_type = "limit" if plan.finish == "length" else "eos"
        yield {"content": "", "tokens": [], "stop": True, "stop_type": stop_type}


def _grammar(body: Json) -> str | None:
    """The grammar in a request, wherever a server of its kind looks for it."""
    parameters = body.get("sampling_params", {})
    text = body.get("structured_outputs", body).get("grammar") or parameters.get("ebnf")
    assert text is None or isinstance(text, str)
    return text


def _tops(token: int, count: int) -> list[tuple[int, float]]:
    return [((token + each) % 256, LOGPROB - each) for each in range(count)]


def _is_incomplete(data: bytes) -> bool:
    """Whether the bytes end within a character, as llama.cpp's validate_utf8 sees it."""
    for back in range(1, min(4, len(data)) + 1):
        byte = data[-back]
        if byte >= 0xC0:
            wanted = 2 if byte < 0xE0 else 3 if byte < 0xF0 else 4
            return back < wanted
        if byte < 0x80:
            return False
    return False
