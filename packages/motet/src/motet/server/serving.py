"""The process: a socket, uvicorn, and an end that lets running answers finish."""

from __future__ import annotations

import signal
import socket
from types import FrameType

import uvicorn
from fastapi import FastAPI

from motet.server.app import make_app
from motet.server.keys import KeyRing
from motet.server.logs import log_to_stderr, logger
from motet.server.model import ServedModel
from motet.server.settings import Settings, SettingsError


class _Server(uvicorn.Server):
    """Says that it is no longer ready as soon as it is asked to end."""

    def __init__(self, config: uvicorn.Config, app: FastAPI) -> None:
        super().__init__(config)
        self._application = app

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """SIGTERM and Ctrl-C: take nothing new, finish what runs; a second one ends it at once."""
        self._application.state.is_draining = True
        logger.info("draining", extra={"fields": {"signal": signal.Signals(sig).name}})
        super().handle_exit(sig, frame)


def listen(settings: Settings) -> socket.socket:
    """The socket to answer on. Raises SettingsError if it cannot be had."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    try:
        return socket.create_server((settings.host, settings.port), family=family, backlog=2048)
    except OSError as error:
        raise SettingsError(
            f"The port {settings.port} of {settings.host} cannot be listened on:"
            f" {error.strerror}. Choose others with --port and --host."
        ) from error


def serve_model(
    model: ServedModel, settings: Settings, keys: KeyRing, listener: socket.socket
) -> None:
    """Answer requests until a signal ends it."""
    log_to_stderr(settings.log_level)
    app = make_app(model, settings, keys)
    config = uvicorn.Config(
        app,
        access_log=False,
        log_config=None,
        server_header=False,
        timeout_graceful_shutdown=settings.drain_seconds,
    )
    server = _Server(config, app)
    with listener:
        host, port = listener.getsockname()[:2]
        shown = f"[{host}]" if ":" in host else host
        url = f"http://{shown}:{port}/v1"
        logger.info("listening", extra={"fields": {"url": url, "model": model.name}})
        if not settings.is_local and keys.is_empty:
            logger.warning("anybody who reaches this address may use it: there are no API keys")
        server.run([listener])
