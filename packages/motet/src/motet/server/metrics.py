"""What the server counts, for Prometheus: requests, tokens, waiting, repairs.

Nothing here depends on what was said. An engine that has `statistics()` adds its own figures.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, is_dataclass
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from motet.agent import Turn
from motet.engine import Engine

_SECONDS = (0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 100, 300)


class Metrics:
    """The counters of one server."""

    def __init__(self, engine: Engine) -> None:
        self._registry = registry = CollectorRegistry()
        registry.register(_EngineFigures(engine))
        self.requests = Counter(
            "motet_requests", "Requests answered.", ["route", "status"], registry=registry
        )
        self.running = Gauge("motet_requests_running", "Requests now.", registry=registry)
        self.seconds = Histogram(
            "motet_request_seconds",
            "Time to the end of the answer.",
            ["route"],
            buckets=_SECONDS,
            registry=registry,
        )
        self.first_token = Histogram(
            "motet_time_to_first_token_seconds",
            "Time from a turn's beginning to its first event.",
            buckets=_SECONDS,
            registry=registry,
        )
        self._tokens = Counter(
            "motet_tokens",
            "Tokens of turns: of prompts, of those the cached ones; generated, of those the forced"
            " ones and the chain of thought.",
            ["kind"],
            registry=registry,
        )
        self._repairs = Counter(
            "motet_repairs",
            "Departures from harmony, mended.",
            ["kind"],
            registry=registry,
        )
        self._ended = Counter(
            "motet_thinking_ended",
            "Chains of thought that were ended from outside.",
            ["why"],
            registry=registry,
        )

    def note_turn(self, turn: Turn) -> None:
        """Count a turn that is over, however it ended."""
        self.note_tokens(
            prompt=turn.prompt_tokens,
            cached=turn.cached_tokens,
            generated=turn.generated_tokens,
            forced=turn.forced_tokens,
            thinking=turn.thinking_tokens,
        )
        for repair in turn.repairs:
            self._repairs.labels(repair.kind.value).inc()
        if turn.ended_thinking:
            self._ended.labels(turn.ended_thinking).inc()

    def note_tokens(self, **counts: int) -> None:
        """Count tokens by kind."""
        for kind, count in counts.items():
            self._tokens.labels(kind).inc(count)

    def text(self) -> bytes:
        """Everything in Prometheus' text format."""
        return generate_latest(self._registry)


class _EngineFigures(Collector):
    """The numbers in an engine's statistics; `totals` only grow, the others are of the moment."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def collect(self) -> Iterator[Metric]:
        statistics = getattr(self._engine, "statistics", None)
        figures = statistics() if statistics else None
        if not is_dataclass(figures) or isinstance(figures, type):
            return
        values = asdict(figures)
        totals: Mapping[str, Any] = values.pop("totals", {})
        for name, value in values.items():
            yield GaugeMetricFamily(f"motet_engine_{name}", "The engine now.", value=value)
        for name, value in totals.items():
            yield CounterMetricFamily(
                f"motet_engine_{name}", "The engine since its start.", value=value
            )
