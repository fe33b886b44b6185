"""Spans of turns, as OpenTelemetry's own exporter receives them."""

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from scripted import FailingEngine, client, scripted_engine, thought, user

from motet.engine import EngineError


@pytest.fixture
def exporter(monkeypatch: pytest.MonkeyPatch) -> InMemorySpanExporter:
    received = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(received))
    monkeypatch.setattr(trace, "get_tracer", provider.get_tracer)
    return received


def test_a_turn_is_a_span_with_its_figures(exporter: InMemorySpanExporter) -> None:
    answer = thought("Hm.").answer("Yes.")
    with client(scripted_engine(answer)) as http:
        http.post("/v1/chat/completions", json={"messages": [user("Secret?")]})
    (span,) = exporter.get_finished_spans()
    assert span.attributes is not None
    assert span.attributes["gen_ai.usage.output_tokens"] == len(answer.tokens)
    assert span.attributes["gen_ai.response.finish_reasons"] == ("stop",)
    assert "Secret" not in span.to_json()


def test_a_failed_turn_is_a_failed_span(exporter: InMemorySpanExporter) -> None:
    with client(FailingEngine(EngineError("lost"))) as http:
        http.post("/v1/responses", json={"input": "?"})
    (span,) = exporter.get_finished_spans()
    assert span.status.status_code is trace.StatusCode.ERROR
