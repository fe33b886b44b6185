"""The OpenAPI document against the server: whatever fits or breaks it, no answer is a 500."""

import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis.checks import not_a_server_error
from scripted import NO_KEYS, RepeatingEngine, served, thought
from starlette.types import Receive, Scope, Send

from motet.server.app import make_app
from motet.server.settings import Settings

app = make_app(
    served(RepeatingEngine(thought("Hm.").answer("Yes.").tokens)),
    Settings(allowed_hosts=["*"], request_seconds=5),
    NO_KEYS,
)


async def lasting(scope: Scope, receive: Receive, send: Send) -> None:
    """The server without its end: one lifetime for all the requests."""
    if scope["type"] == "http":
        await app(scope, receive, send)


schema = schemathesis.openapi.from_asgi("/openapi.json", lasting)


@schema.parametrize()
@settings(max_examples=8, deadline=None, suppress_health_check=list(HealthCheck))
def test_no_request_breaks_the_server(case: schemathesis.Case) -> None:
    case.call_and_validate(checks=[not_a_server_error])
