"""An observer that makes the spans of a run as the exporter does, and gives them to OpenTelemetry's exporter in memory."""

from __future__ import annotations

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from agentflow.events import Event, RunStarted
from agentflow.tracing.content import DEFAULT, Capture, Level, told
from agentflow.tracing.spans import SpanFolder
from agentflow.tracing.wire import readable


class Watching:
    """Takes the events of one run after the other. All its work is done at once, so that it counts."""

    def __init__(self, level: Level = DEFAULT) -> None:
        self.kept = InMemorySpanExporter()
        self._capture, self._resource = Capture(level), Resource({"service.name": "agentflow"})
        self._folder = SpanFolder("")

    def __call__(self, event: object) -> None:
        if isinstance(event, RunStarted):
            self._folder = SpanFolder(event.run, with_records=True)

        if isinstance(event, Event):
            spans = [told(span, content=self._capture) for span in self._folder.fold(event)]
            self.kept.export([readable(span, self._resource) for span in spans])
