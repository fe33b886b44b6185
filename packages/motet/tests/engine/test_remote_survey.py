"""What is found out about a server before it is used, and how it is turned down."""

import socket
from collections.abc import Iterator

import pytest
from fake_servers import FakeServer, Plan

from motet.engine import EngineError
from motet.engine.remote import RemoteEngine, ServerKind, describe_server
from motet.harmony import Vocabulary, o200k_harmony

VOCABULARY = o200k_harmony().first(1000)
OTHER = o200k_harmony().first(300)


@pytest.fixture(params=list(ServerKind))
def server(request: pytest.FixtureRequest) -> Iterator[FakeServer]:
    with FakeServer(request.param, VOCABULARY) as running:
        yield running


def connected(server: FakeServer, vocabulary: Vocabulary = VOCABULARY) -> RemoteEngine:
    return RemoteEngine.connect([server.url], vocabulary, key=server.key)


def test_a_server_is_known_by_its_models(server: FakeServer) -> None:
    for url in (server.url, f"{server.url}/v1", f" {server.url}/ "):
        info = describe_server(url)
        assert (info.url, info.kind, info.model) == (server.url, server.kind, "gpt-oss-test")
        assert info.context_length == 4096
    says = {ServerKind.LLAMA_CPP, ServerKind.MOTET}
    assert info.vocabulary_size == (VOCABULARY.size if server.kind in says else None)


def test_older_servers_are_asked_on_other_routes() -> None:
    with FakeServer(ServerKind.LLAMA_CPP, VOCABULARY) as server:
        del server.card["meta"]
        assert describe_server(server.url).context_length == 2048
    with FakeServer(ServerKind.SGLANG, VOCABULARY) as server:
        del server.card["max_model_len"]
        server.info = {"context_length": 1024}
        info = describe_server(server.url)
        assert (info.context_length, info.takes_seeds) == (1024, False)


def test_another_vocabulary_is_refused(server: FakeServer) -> None:
    server.tokenizer = OTHER
    server.card |= {"vocabulary_size": OTHER.size} if server.kind is ServerKind.MOTET else {}
    with pytest.raises(EngineError, match="has another vocabulary"):
        connected(server)


def test_a_server_without_a_tokenizer_is_trusted(server: FakeServer) -> None:
    server.tokenizer = None
    assert connected(server).vocabulary_size == VOCABULARY.size


def test_text_alone_is_not_enough(server: FakeServer) -> None:
    server.gives_ids = False
    with pytest.raises(EngineError, match="no token ids"):
        connected(server)


def test_a_server_may_want_a_key(server: FakeServer) -> None:
    server.key = "secret"
    assert connected(server).context_length == 4096
    with pytest.raises(EngineError, match="MOTET_ENGINE_KEY") as caught:
        describe_server(server.url)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("plan", [Plan([5], raw=b"data: 7\n\n"), Plan([5], raw=b"<html>\n\n")])
def test_answers_of_another_kind_are_one_sentence(server: FakeServer, plan: Plan) -> None:
    server.plans.append(plan)
    with pytest.raises(EngineError, match="cannot be used"):
        connected(server)


def test_addresses_that_lead_nowhere_are_one_sentence() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        with pytest.raises(EngineError, match="is the server running"):
            describe_server(f"http://127.0.0.1:{port}")
    for url in ("localhost:8000", "", "ftp://x"):
        with pytest.raises(EngineError, match="no address of a server"):
            describe_server(url)
    with pytest.raises(EngineError, match="cannot be reached"):
        describe_server("http://[::1:99999")


def test_servers_that_list_no_model_are_one_sentence(server: FakeServer) -> None:
    server.card = {"owned_by": server.card["owned_by"], "id": "x"}
    if server.kind is ServerKind.LLAMA_CPP:
        assert describe_server(server.url).context_length == 2048
    else:
        with pytest.raises(EngineError, match="how long its context is"):
            describe_server(server.url)
    server.card = {}
    with pytest.raises(EngineError, match="lists no model"):
        describe_server(server.url)
