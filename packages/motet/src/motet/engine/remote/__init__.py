"""An engine on other servers: token ids over HTTP, in and out.

The way of one request: `RemoteEngine` checks it, `routing.py` chooses the server, `backend.py`
posts what the server's dialect (`completions.py`, `sglang.py`, `llama_cpp.py`) makes of it,
`events.py` reads the stream, and the dialect's reader makes tokens of its events. `survey.py` finds
out at the beginning what a server is and whether it can be used at all. docs/remote.md says which
server can do what.
"""

from motet.engine.remote.engine import RemoteEngine, bearer
from motet.engine.remote.server import Retries, ServerInfo, ServerKind, TimeLimits
from motet.engine.remote.survey import describe_server

__all__ = [
    "RemoteEngine",
    "Retries",
    "ServerInfo",
    "ServerKind",
    "TimeLimits",
    "bearer",
    "describe_server",
]
