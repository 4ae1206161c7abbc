"""Metrics of the GenAI conventions, counted from the spans of a run as they end; sent by OpenTelemetry's own SDK.

Names are those of the conventions' own repository (`semconv.CONVENTION`), in which metrics are in development as all is;
the names before that (`gen_ai.client.token.usage`) are not made beside them.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from threading import Thread
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from agentflow.events import Event, RunStarted
from agentflow.tracing import semconv
from agentflow.tracing.collector import pairs, service_name
from agentflow.tracing.span import SpanData
from agentflow.tracing.spans import SpanFolder

if TYPE_CHECKING:
    from opentelemetry.sdk.metrics.export import MetricReader

# The boundaries that the conventions advise: of seconds, and of tokens.
SECONDS = tuple(0.01 * 2**n for n in range(14))
TOKENS = tuple(4**n for n in range(14))
_DURATIONS = {
    semconv.CHAT: "gen_ai.client.inference.duration",
    semconv.INVOKE_AGENT: "gen_ai.invoke_agent.duration",
    semconv.EXECUTE_TOOL: "gen_ai.execute_tool.duration",
    # There is no convention yet for these.
    semconv.INVOKE_WORKFLOW: "agentflow.invoke_workflow.duration",
    semconv.RETRIEVAL: "agentflow.retrieval.duration",
}
_TOKENS = {"input_tokens": semconv.INPUT_TOKENS, "output_tokens": semconv.OUTPUT_TOKENS}
_LONGEST = 160  # characters of what the SDK says of a failure
# What tells measurements apart: names of which there are few, and nothing that anybody said.
_KEPT = (
    semconv.OPERATION_NAME,
    semconv.PROVIDER_NAME,
    semconv.REQUEST_MODEL,
    semconv.RESPONSE_MODEL,
    semconv.AGENT_NAME,
    semconv.TOOL_NAME,
    semconv.DATA_SOURCE_ID,
    semconv.SERVER_ADDRESS,
    semconv.ERROR_TYPE,
)


class Metrics:
    """An observer that counts what a run does. What happened before it was taken up is not counted again."""

    def __init__(self, environ: Mapping[str, str], reader: MetricReader | None = None) -> None:
        from opentelemetry.sdk.metrics import MeterProvider
        from opentelemetry.sdk.resources import Resource

        from agentflow.version import VERSION

        named = {
            semconv.SERVICE_INSTANCE_ID: str(uuid4()),
            semconv.CONVENTION_VERSION: semconv.CONVENTION,
            **pairs(environ.get("OTEL_RESOURCE_ATTRIBUTES", "")),
            semconv.SERVICE_NAME: service_name(environ) or "agentflow",
        }
        self._quiet = _Quiet()
        self._provider = MeterProvider(
            [reader if reader is not None else _periodic(self._quiet)],
            Resource(dict(named)),
            shutdown_on_exit=False,
        )
        self._meter = self._provider.get_meter("agentflow", VERSION)
        self._instruments: dict[str, Any] = {}
        self._folder: SpanFolder | None = None

    def take_up(self, events: Sequence[Event]) -> None:
        """Follow what happened before, without counting it."""
        for event in events:
            self._folded(event)

    def __call__(self, event: object) -> None:
        """Take an event of the run; streamed text is not counted."""
        if isinstance(event, Event):
            for span in self._folded(event):
                self._count(span)

    def close(self, timeout: float = 5.0) -> str:
        """Send what is left; says why not where it could not be."""
        # The SDK goes on trying for longer than the end of a run may take.
        closing = Thread(target=self._provider.shutdown, args=(timeout * 1000,), daemon=True)
        closing.start()
        closing.join(timeout)
        why = self._quiet.said or ("the collector did not answer in time" if closing.is_alive() else "")
        return f"metrics were not delivered: {why[:_LONGEST]}" if why else ""

    def _folded(self, event: Event) -> list[SpanData]:
        if isinstance(event, RunStarted):
            self._folder = SpanFolder(event.run)

        return self._folder.fold(event) if self._folder is not None else []

    def _count(self, span: SpanData) -> None:
        operation = str(span.attributes.get(semconv.OPERATION_NAME, ""))
        labels = {name: span.attributes[name] for name in _KEPT if name in span.attributes}
        if operation in _DURATIONS:
            self._histogram(_DURATIONS[operation], "s", SECONDS).record((span.end - span.start) / 1e9, labels)

        if operation == semconv.CHAT:
            self._count_tokens(span, labels)

    def _count_tokens(self, span: SpanData, labels: Mapping[str, Any]) -> None:
        for name, attribute in _TOKENS.items():
            used = span.attributes.get(attribute)
            if isinstance(used, int):
                self._counter(f"gen_ai.client.inference.usage.{name}", "{token}").add(used, labels)
                each = self._histogram(f"gen_ai.client.inference.operation.{name}", "{token}", TOKENS)
                each.record(used, labels)

        usd = span.attributes.get(f"{semconv.USAGE}usd")
        if isinstance(usd, int | float):
            self._counter("agentflow.usage.usd", "USD").add(usd, labels)

    def _histogram(self, name: str, unit: str, boundaries: Sequence[float]) -> Any:
        if name not in self._instruments:
            self._instruments[name] = self._meter.create_histogram(
                name, unit, explicit_bucket_boundaries_advisory=boundaries
            )

        return self._instruments[name]

    def _counter(self, name: str, unit: str) -> Any:
        if name not in self._instruments:
            self._instruments[name] = self._meter.create_counter(name, unit)

        return self._instruments[name]


def _periodic(quiet: _Quiet) -> MetricReader:
    """Sends each minute to where the variables of OpenTelemetry say."""
    from opentelemetry.exporter.otlp.proto.http import metric_exporter
    from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader

    logging.getLogger(metric_exporter.__name__).addFilter(quiet)
    return PeriodicExportingMetricReader(metric_exporter.OTLPMetricExporter())


class _Quiet(logging.Filter):
    """Keeps what the SDK's exporter logs from the user's terminal: it is said once, at the end."""

    def __init__(self) -> None:
        super().__init__()
        self.said = ""

    def filter(self, record: logging.LogRecord) -> bool:
        if record.levelno >= logging.WARNING:
            self.said = record.getMessage()

        return False
