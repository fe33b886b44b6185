"""A real `motet serve` with the embedded model on a socket of its own."""

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping
from typing import Any


class ServerProcess:
    """Runs while it is entered; `log` is what it has written to stderr so far, line by line."""

    command = (sys.executable, "-m", "motet", "serve")

    def __init__(self, *options: str, environment: Mapping[str, str] | None = None) -> None:
        self.log: list[dict[str, Any]] = []
        self._listening = threading.Event()
        self._process = subprocess.Popen(
            [*self.command, "--port", "0", *options],
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, **(environment or {})},
        )
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def __enter__(self) -> "ServerProcess":
        assert self._listening.wait(60), self.log
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    @property
    def url(self) -> str:
        """Where clients find the API."""
        url: str = next(line["url"] for line in self.log if line["message"] == "listening")
        return url

    @property
    def pid(self) -> int:
        """The id of the process."""
        return self._process.pid

    def kill(self) -> None:
        """End it at once, as if the machine had lost its power."""
        self._process.kill()
        self._process.wait()
        self._reader.join()

    def terminate(self, seconds: float = 30) -> int:
        """Ask it to end and wait; the exit code."""
        self._process.send_signal(signal.SIGTERM)
        code = self._process.wait(seconds)
        self._reader.join()
        return code

    def _read(self) -> None:
        assert self._process.stderr
        for line in self._process.stderr:
            self.log.append(json.loads(line))
            if self.log[-1]["message"] == "listening":
                self._listening.set()
        self._listening.set()
