"""`--engine`: the real process in front of a server."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from processes import motet

from motet.engine.remote import ServerKind
from motet.harmony import o200k_harmony

sys.path.append(str(Path(__file__).parents[1] / "engine"))
from fake_servers import FakeServer, Plan

V = o200k_harmony()
ANSWER = [V.channel, *V.encode("final"), V.message, *V.encode("Four 🦆."), V.return_]


@pytest.fixture(params=list(ServerKind))
def server(request: pytest.FixtureRequest) -> Iterator[FakeServer]:
    with FakeServer(request.param, V) as running:
        yield running


def test_a_server_answers(server: FakeServer) -> None:
    server.plans += [Plan([0], "length"), Plan(ANSWER)]
    done = motet("generate", "--engine", server.url, "What is 2 + 2?")
    assert (done.stdout, done.stderr, done.returncode) == ("Four 🦆.\n", "", 0)
    server.plans += [Plan([0], "length"), Plan(ANSWER), Plan(ANSWER)]
    done = motet("chat", "--engine", f"{server.url}/v1", stdin="What is 2 + 2?\nSure?\n")
    assert (done.stdout, done.returncode) == ("Four 🦆.\nFour 🦆.\n", 0)


def test_with_several_servers_a_conversation_stays_and_moves_if_it_must() -> None:
    first, second = FakeServer(ServerKind.VLLM, V), FakeServer(ServerKind.SGLANG, V)
    with first, second:
        first.plans += [Plan([0], "length"), Plan(ANSWER), Plan(ANSWER), Plan(status=503)]
        second.plans += [Plan([0], "length"), Plan(ANSWER)]
        done = motet("chat", "--engine", first.url, "--engine", second.url, stdin="A\nB\nC\n")
        assert (done.stdout, done.returncode) == ("Four 🦆.\n" * 3, 0)
        assert (len(first.requests), len(second.requests)) == (4, 2)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--engine", "http://127.0.0.1:1"), "cannot be reached"),
        (("--engine", "gpu-box:8000"), "no address of a server"),
        (("--engine", "http://127.0.0.1:1", "--model", "/tmp"), "give no --model"),
    ],
)
def test_what_cannot_be_used_is_one_sentence(arguments: tuple[str, ...], said: str) -> None:
    done = motet("generate", "Hello", *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("motet: ")
    assert done.stderr.count("\n") == 1
    assert said in done.stderr


def test_another_model_or_a_dying_server_is_one_sentence() -> None:
    with FakeServer(ServerKind.VLLM, V) as server:
        server.tokenizer = V.first(500)
        done = motet("generate", "Hello", "--engine", server.url)
        assert (done.returncode, done.stderr.count("\n")) == (2, 1)
        assert "another vocabulary" in done.stderr
        server.tokenizer = V
        server.plans += [Plan([0], "length"), Plan(ANSWER, dies_after=4)]
        done = motet("generate", "Hello", "--engine", server.url)
        assert done.returncode == 2
        assert "broke off in the middle" in done.stderr
        assert done.stdout == "Four\n"  # what there was is not lost
