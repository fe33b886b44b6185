"""A span for every turn, where OpenTelemetry is installed (`pip install motet[otel]`) and set up.

Setting up is left to `opentelemetry-instrument motet serve` or a program of one's own: without it
spans go nowhere and cost nothing. Names are those of OpenTelemetry's conventions for generative AI;
nothing of what was said is in them.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from motet.agent import Turn

try:
    from opentelemetry import trace
except ImportError:
    trace = None  # type: ignore[assignment]


@contextmanager
def turn_span(turn: Turn) -> Iterator[None]:
    """A span around a turn; its figures are noted when it ends."""
    if trace is None:
        yield
        return
    tracer = trace.get_tracer("motet.server")
    # It is not made the current one: a turn is played by several tasks, each with its own context.
    span = tracer.start_span("chat", attributes={"gen_ai.operation.name": "chat"})
    try:
        yield
    except Exception as error:
        span.record_exception(error)
        span.set_status(trace.StatusCode.ERROR)
        raise
    finally:
        span.set_attributes(
            {
                "gen_ai.usage.input_tokens": turn.prompt_tokens,
                "gen_ai.usage.output_tokens": turn.generated_tokens,
                "gen_ai.response.finish_reasons": [str(turn.finish or "cancelled")],
                "motet.cached_tokens": turn.cached_tokens,
                "motet.forced_tokens": turn.forced_tokens,
                "motet.repairs": len(turn.repairs),
            }
        )
        span.end()
