"""Many clients that behave badly, all at once, against a real `motet serve` with the nano model.

    python packages/motet/tests/server/soak.py --minutes 10 --clients 64

Every question is asked alone first. Then the clients ask at random, on both APIs, whole and as
streams, with functions, schemas and seeds; some leave in the middle, read slowly, send half a body,
send nonsense, cancel what runs in the background. At the end there must have been no error but the
intended ones, every answer that was completed must be the one given alone, and the server must hold
what it held before: no generation, no page of keys and values but the prefix cache's, no file, no
thread, no memory. What it holds "before" is measured after a tenth of the time, when caches,
threads and buffers are what they are under this load.
"""

import argparse
import asyncio
import json
import os
import random
import re
import socket
import sys
import tempfile
import time
import urllib.request
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from scripted import ADD, CHAT_ADD
from server_process import ServerProcess
from stream_rules import check_stream

WAITING = 64  # so few that some requests are turned away
KEY_VALUE_LIMIT = 12 * 2**20  # so little that prefixes are forgotten and generations give way
POOL = min(32, (os.cpu_count() or 1) + 4)  # threads that asyncio may add for short work
WARM_UP, LEAST_WARM_UP = 0.1, 4.0  # of the time, and in seconds
GROWTH = 48 * 2**20  # bytes that resident memory may differ by, beside keys and values
OPTIONS = (
    f"--maximum-waiting={WAITING}",
    f"--key-value-limit={KEY_VALUE_LIMIT}",
    "--remembered-turns=64",
)


@dataclass(frozen=True)
class Question:
    """A request, its whole answer alike whenever it is asked."""

    path: str
    body: dict[str, Any]

    def answer(self, whole: dict[str, Any]) -> Any:
        """What was said, without ids and times."""
        if self.path == "responses":
            return whole["status"], [_item(item) for item in whole["output"]]
        return [(each["finish_reason"], _message(each["message"])) for each in whole["choices"]]

    def streamed(self, text: str, *, is_checked: bool) -> Any:
        """The same of a stream."""
        events = [json.loads(data) for data in re.findall(r"^data: (\{.*)$", text, re.MULTILINE)]
        if self.path == "responses":
            if is_checked:
                check_stream(events)
            return self.answer(events[-1]["response"])
        choices: dict[int, dict[str, Any]] = {}
        for chunk in events:
            for choice in chunk["choices"]:
                made = choices.setdefault(choice["index"], {"message": {}})
                made["finish_reason"] = choice["finish_reason"]
                _extend(made["message"], choice["delta"])
        return self.answer({"choices": [choices[index] for index in sorted(choices)]})


def _item(item: dict[str, Any]) -> tuple[str, str]:
    if item["type"] == "function_call":
        return item["name"], item["arguments"]
    return item["type"], "".join(part["text"] for part in item["content"])


def _message(message: dict[str, Any]) -> tuple[str, str, list[tuple[str, str]]]:
    calls = [each["function"] for each in message.get("tool_calls") or ()]
    return (
        message.get("content") or "",
        message.get("reasoning_content") or "",
        [(call["name"], call["arguments"]) for call in calls],
    )


def _extend(message: dict[str, Any], delta: dict[str, Any]) -> None:
    for name in ("content", "reasoning_content"):
        message[name] = (message.get(name) or "") + (delta.get(name) or "")
    for call in delta.get("tool_calls") or ():
        calls = message.setdefault("tool_calls", [])
        if call["index"] == len(calls):
            calls.append({"function": {"name": call["function"]["name"], "arguments": ""}})
        calls[call["index"]]["function"]["arguments"] += call["function"].get("arguments") or ""


def questions(kinds: int) -> list[Question]:
    """So many of each kind: sums, orders, functions, schemas for both APIs; for Chat with seeds."""
    choose = random.Random(1)
    schema = {
        "type": "object",
        "properties": {"larger": {"enum": ["first", "second"]}, "certain": {"type": "boolean"}},
        "required": ["larger", "certain"],
        "additionalProperties": False,
    }
    shape = {"name": "verdict", "schema": schema, "strict": True}
    made = []
    for number in range(kinds):
        one, other = choose.randrange(100, 999), choose.randrange(100, 999)
        text = f"What is {one} + {other}?"
        many = "Sort these numbers: " + ", ".join(str(choose.randrange(99)) for _ in range(30))
        chat = {"messages": [{"role": "user", "content": text}], "max_tokens": 120}
        long = {"messages": [{"role": "user", "content": many}], "max_tokens": 400}
        plain = {"input": text, "max_output_tokens": 120}
        add = f"Add {one} and {other}."
        called = {"messages": [{"role": "user", "content": add}], "max_tokens": 120}
        made += [
            Question("chat/completions", chat),
            Question("chat/completions", {**chat, "temperature": 1, "seed": number, "n": 3}),
            Question("chat/completions", {**long, "temperature": 1.2, "seed": number, "n": 2}),
            Question("chat/completions", {**called, "tools": [CHAT_ADD]}),
            Question(
                "chat/completions",
                {**chat, "response_format": {"type": "json_schema", "json_schema": shape}},
            ),
            Question("responses", plain),
            Question("responses", {"input": many, "max_output_tokens": 400}),
            Question(
                "responses", {**plain, "input": add, "tools": [ADD], "tool_choice": "required"}
            ),
            Question("responses", {**plain, "text": {"format": {"type": "json_schema", **shape}}}),
        ]
    return made


NONSENSE: list[tuple[int, str, bytes]] = [
    (404, "chat/completions", b'{"model": "gpt-9", "messages": [{"role": "user"}]}'),
    (404, "responses", b'{"input": "?", "previous_response_id": "resp_none"}'),
    (400, "responses", b'{"input": '),
    (400, "responses", b"\xff\xfe"),
    (400, "chat/completions", b'{"messages": []}'),
    (400, "responses", b'{"input": "?", "tools": [{"type": "function"}]}'),
    (
        400,
        "chat/completions",
        b'{"messages": [{"role": "user", "content": "?"}], "response_format": {"type":'
        b' "json_schema", "json_schema": {"schema": {"type": "string", "minLength": -1}}}}',
    ),
    (404, "nothing", b"{}"),
]


@dataclass(frozen=True)
class Held:
    """What a server holds at one moment; memory in bytes."""

    requests: int
    live: int
    waiting: int
    key_value_bytes: int
    cached_bytes: int
    files: int
    threads: int
    resident: int

    @classmethod
    def of(cls, server: ServerProcess) -> "Held":
        """Asked of its metrics, and of the system where that knows better."""
        figures = metrics(server)
        status = Path(f"/proc/{server.pid}/status").read_text()
        resident, threads = (
            int(re.search(rf"^{name}:\s+(\d+)", status, re.MULTILINE)[1])  # type: ignore[index]
            for name in ("VmRSS", "Threads")
        )
        names = ("live", "waiting", "key_value_bytes", "cached_bytes")
        return cls(
            int(figures["motet_requests_running"]) - 1,  # but for the one that asks
            *(int(figures[f"motet_engine_{name}"]) for name in names),
            len(list(Path(f"/proc/{server.pid}/fd").iterdir())),
            threads,
            resident * 1024,
        )

    @property
    def is_quiet(self) -> bool:
        """Whether nothing is being answered any more."""
        return not (self.requests or self.live or self.waiting)

    def complaints(self, before: "Held") -> list[str]:
        """What has not gone back to what it was before."""
        found = [] if self.is_quiet else [f"something still runs: {self}"]
        if self.key_value_bytes != self.cached_bytes:
            lost = self.key_value_bytes - self.cached_bytes
            found.append(f"{lost} bytes of keys and values belong to nobody")
        if self.files > before.files:
            found.append(f"{before.files} files became {self.files}")
        if self.threads > before.threads + POOL:
            found.append(f"{before.threads} threads became {self.threads}")
        grown = self.resident - before.resident - (self.key_value_bytes - before.key_value_bytes)
        if grown > GROWTH:
            found.append(f"resident memory has grown by {grown / 2**20:.1f} MiB")
        return found


def metrics(server: ServerProcess) -> dict[str, float]:
    """All figures by their names."""
    with urllib.request.urlopen(f"{server.url.removesuffix('v1')}metrics") as answer:
        lines = answer.read().decode().splitlines()
    pairs = (line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
    return {name: float(value) for name, value in pairs}


def quiet(server: ServerProcess, files: int = sys.maxsize, seconds: float = 30) -> Held:
    """What the server holds once it is at rest, or after so many seconds."""
    deadline = time.monotonic() + seconds
    held = Held.of(server)
    while not (held.is_quiet and held.files <= files) and time.monotonic() < deadline:
        time.sleep(0.2)
        held = Held.of(server)
    return held


@dataclass
class Soak:
    """Clients of one server, what they did, and what was wrong."""

    url: str
    asked: list[Question]
    done: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    expected: list[Any] = field(default_factory=list)

    async def ask_alone(self) -> None:
        """Ask every question while nobody else does."""
        async with httpx.AsyncClient(timeout=120) as http:
            for question in self.asked:
                answer = await http.post(f"{self.url}/{question.path}", json=question.body)
                assert answer.status_code == 200, answer.text
                self.expected.append(question.answer(answer.json()))

    async def run(self, clients: int, seconds: float, seed: int) -> None:
        """Let so many clients do as they like."""
        end = time.monotonic() + seconds
        await asyncio.gather(
            *(self._client(random.Random(f"{seed} {number}"), end) for number in range(clients))
        )

    async def _client(self, choose: random.Random, end: float) -> None:
        ways: list[tuple[int, Callable[[httpx.AsyncClient, random.Random], Awaitable[None]]]] = [
            (8, self._whole),
            (8, self._stream),
            (3, self._read_slowly),
            (4, self._leave_stream),
            (4, self._leave_whole),
            (3, self._send_half),
            (2, self._in_background),
            (2, self._nonsense),
        ]
        weights = [weight for weight, _ in ways]
        async with httpx.AsyncClient(timeout=300) as http:
            while time.monotonic() < end:
                ((_, way),) = choose.choices(ways, weights)
                name = way.__name__.strip("_")
                try:
                    await way(http, choose)
                    self.done[name] += 1
                except Exception as error:
                    self.wrong.append(f"{name}: {error!r}")
                if choose.random() < 0.1:
                    await asyncio.sleep(choose.random())

    def _pick(self, choose: random.Random) -> tuple[Question, Any]:
        index = choose.randrange(len(self.asked))
        return self.asked[index], self.expected[index]

    def _compare(self, question: Question, expected: Any, answer: Any) -> None:
        self.done["answers compared"] += 1
        if answer != expected:
            self.wrong.append(f"{question} was answered {answer} and not {expected}")

    def _is_turned_away(self, answer: httpx.Response) -> bool:
        """Whether too many wait; any other status than 200 is wrong."""
        self.done[f"status {answer.status_code}"] += 1
        if answer.status_code not in (200, 429):
            self.wrong.append(f"status {answer.status_code}: {answer.text}")
        return answer.status_code != 200

    async def _whole(self, http: httpx.AsyncClient, choose: random.Random) -> None:
        question, expected = self._pick(choose)
        answer = await http.post(f"{self.url}/{question.path}", json=question.body)
        if self._is_turned_away(answer):
            return
        whole = answer.json()
        self._compare(question, expected, question.answer(whole))
        if question.path == "responses" and choose.random() < 0.5:
            path = f"{self.url}/responses/{whole['id']}"
            if (await http.get(path)).json() != whole:
                self.wrong.append(f"{whole['id']} was stored otherwise")
            await http.delete(path)

    async def _stream(self, http: httpx.AsyncClient, choose: random.Random) -> None:
        question, expected = self._pick(choose)
        body = {**question.body, "stream": True}
        answer = await http.post(f"{self.url}/{question.path}", json=body)
        if not self._is_turned_away(answer):
            self._compare_stream(question, expected, answer.text, choose)

    def _compare_stream(
        self, question: Question, expected: Any, text: str, choose: random.Random
    ) -> None:
        if '"rate_limit_exceeded"' in text:  # the n-th choice may be turned away in a stream
            self.done["turned away in a stream"] += 1
            return
        answer = question.streamed(text, is_checked=choose.random() < 0.1)
        self._compare(question, expected, answer)

    async def _read_slowly(self, _: httpx.AsyncClient, choose: random.Random) -> None:
        """With so small a buffer that the server has to wait."""
        question, expected = self._pick(choose)
        small = [(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)]
        transport = httpx.AsyncHTTPTransport(socket_options=small)
        body = {**question.body, "stream": True}
        text = bytearray()
        async with (
            httpx.AsyncClient(transport=transport, timeout=300) as http,
            http.stream("POST", f"{self.url}/{question.path}", json=body) as answer,
        ):
            async for piece in answer.aiter_bytes(1024):
                text += piece
                await asyncio.sleep(choose.random() * 0.05)
            if not self._is_turned_away(answer):
                self._compare_stream(question, expected, text.decode(), choose)

    async def _leave_stream(self, http: httpx.AsyncClient, choose: random.Random) -> None:
        question, _ = self._pick(choose)
        body = {**question.body, "stream": True}
        left = choose.randrange(30)
        async with http.stream("POST", f"{self.url}/{question.path}", json=body) as answer:
            async for _ in answer.aiter_raw():
                left -= 1
                if left < 0:
                    return

    async def _leave_whole(self, http: httpx.AsyncClient, choose: random.Random) -> None:
        question, _ = self._pick(choose)
        try:
            seconds = choose.random() * 2
            await http.post(f"{self.url}/{question.path}", json=question.body, timeout=seconds)
        except httpx.TimeoutException:
            self.done["left before the answer"] += 1

    async def _send_half(self, _: httpx.AsyncClient, choose: random.Random) -> None:
        """Part of a head or of a body, and then nothing more, or a connection reset."""
        question, _ = self._pick(choose)
        body = json.dumps(question.body).encode()
        url = httpx.URL(self.url)
        head = (
            f"POST /v1/{question.path} HTTP/1.1\r\nHost: {url.host}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        ).encode()
        whole = head + body
        _, writer = await asyncio.open_connection(url.host, url.port)
        try:
            writer.write(whole[: choose.randrange(1, len(whole))])
            await writer.drain()
            await asyncio.sleep(choose.random())
        finally:
            writer.transport.abort() if choose.random() < 0.5 else writer.close()

    async def _in_background(self, http: httpx.AsyncClient, choose: random.Random) -> None:
        question, expected = self._pick(choose)
        if question.path != "responses":
            return
        body = {**question.body, "background": True}
        answer = await http.post(f"{self.url}/responses", json=body)
        if self._is_turned_away(answer):
            return
        response = answer.json()
        path = f"{self.url}/responses/{response['id']}"
        if choose.random() < 0.5:
            await asyncio.sleep(choose.random())
            response = (await http.post(f"{path}/cancel")).json()
        while response["status"] in ("queued", "in_progress"):
            await asyncio.sleep(0.2)
            response = (await http.get(path)).json()
        match response["status"], response["error"]:
            case "cancelled", None:
                self.done["cancelled in the background"] += 1
            case "failed", {"code": "rate_limit_exceeded"}:
                self.done["turned away in the background"] += 1
            case _:
                self._compare(question, expected, question.answer(response))

    async def _nonsense(self, http: httpx.AsyncClient, choose: random.Random) -> None:
        status, path, body = choose.choice(NONSENSE)
        headers = {"content-type": "application/json"}
        answer = await http.post(f"{self.url}/{path}", content=body, headers=headers)
        if answer.status_code != status:
            self.wrong.append(f"{body!r} was answered with {answer.status_code}: {answer.text}")


def soak(
    seconds: float, clients: int, seed: int = 0, kinds: int = 8
) -> tuple[list[str], dict[str, Any]]:
    """Complaints, none if all is well, and what was done and held."""
    with (
        tempfile.TemporaryDirectory() as folder,
        ServerProcess(*OPTIONS, f"--store=sqlite:///{folder}/store.db") as server,
    ):
        work = Soak(server.url, questions(kinds))
        asyncio.run(work.ask_alone())
        warm_up = max(seconds * WARM_UP, LEAST_WARM_UP)
        asyncio.run(work.run(clients, warm_up, seed))
        before = quiet(server)
        asyncio.run(work.run(clients, seconds - warm_up, seed + 1))
        after = quiet(server, before.files)
        figures = metrics(server)
        wrong = work.wrong + after.complaints(before)
        if figures["motet_engine_key_value_limit"] != KEY_VALUE_LIMIT:
            wrong.append("the limit of keys and values is another one")
        code = server.terminate()
        wrong += [f"exit code {code}"] * (code != -15)
        wrong += [f"logged: {line}" for line in server.log if line["level"] == "error"]
    engine = {name: int(value) for name, value in figures.items() if "motet_engine" in name}
    done = dict(sorted(work.done.items()))
    return wrong, {"done": done, "before": before, "after": after, "engine": engine}


def main() -> None:
    """Soak a server, print what happened, and fail if anything was wrong."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    wrong, story = soak(options.minutes * 60, options.clients, options.seed)
    for name, value in story.items():
        print(f"{name}: {value}")
    for each in wrong[:20]:
        print(f"WRONG: {each[:1000]}")
    sys.exit(f"{len(wrong)} things were wrong" if wrong else 0)


if __name__ == "__main__":
    main()
