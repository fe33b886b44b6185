"""The Ray Serve application, where Ray is installed: it is too large to be installed for a test."""

import socket
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from motet.server.settings import SettingsError

ray = pytest.importorskip("ray", reason="ray is not installed: pip install motet[ray]")

serve = pytest.importorskip("ray.serve")
ray_app = pytest.importorskip("motet.cli.ray_app")


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The embedded model on two replicas with one store."""
    store = f"sqlite:///{tmp_path_factory.mktemp('store')}/store.db"
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    try:
        replicas = {"minimum_replicas": "2", "maximum_replicas": "2"}
        serve.start(http_options={"port": port})
        serve.run(ray_app.build({"threads": "1", "name": "tiny,small", "store": store, **replicas}))
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        serve.shutdown()
        ray.shutdown()


def test_replicas_answer_and_know_each_others_responses(url: str) -> None:
    with httpx.Client(timeout=60) as http:
        names = [each["id"] for each in http.get(f"{url}/models").json()["data"]]
        assert names == ["tiny", "small"]
        asked = {"input": "What is 123 + 456?"}
        first = http.post(f"{url}/responses", json=asked).json()
        assert first["output"][-1]["content"][0]["text"] == "579"
        for _ in range(6):
            assert http.get(f"{url}/responses/{first['id']}").json() == first
        body = {"messages": [{"role": "user", "content": "What is 123 + 456?"}], "stream": True}
        text = http.post(f"{url}/chat/completions", json=body).text
        assert text.endswith("data: [DONE]\n\n")


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ({"maximum_replicas": "2"}, "store"),
        ({"replicas": "2"}, "replicas"),
        ({"maximum_replicas": "many"}, "maximum_replicas"),
        ({"precision": "half"}, "precision"),
    ],
)
def test_wrong_arguments_are_named(
    arguments: dict[str, str], complaint: str, tmp_path: Path
) -> None:
    with pytest.raises(SettingsError, match=complaint):
        ray_app.build(arguments)
