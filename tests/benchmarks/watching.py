"""An observer that makes the spans of a run as the exporter does, and gives them to OpenTelemetry's exporter in memory."""

from __future__ import annotations

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from agentflow.events import (
    Event,
    RunCancelled,
    RunFailed,
    RunFinished,
    RunInterrupted,
    RunPaused,
    RunStarted,
)
from agentflow.tracing.content import DEFAULT, Capture, Level, told
from agentflow.tracing.spans import SpanFolder
from agentflow.tracing.wire import Reader

# OpenTelemetry's own processor sends so many spans at once.
_TOGETHER = 512
_ENDS = frozenset({RunFinished, RunFailed, RunCancelled, RunPaused, RunInterrupted})


class Watching:
    """Takes the events of one run after the other. All work on a run is done when it ends, so that it counts."""

    def __init__(self, level: Level = DEFAULT) -> None:
        self.kept = InMemorySpanExporter()
        self._capture, self._resource = Capture(level), Resource({"service.name": "agentflow"})
        self._folder, self._read = SpanFolder(""), Reader()
        self._events: list[Event] = []

    def __call__(self, event: object) -> None:
        if isinstance(event, Event):
            self._events.append(event)
            if len(self._events) == _TOGETHER or type(event) in _ENDS:
                self._export()

    def _export(self) -> None:
        events, self._events = self._events, []
        if isinstance(events[0], RunStarted):
            self._folder = SpanFolder(events[0].run, with_records=True)

        ended = [span for event in events for span in self._folder.fold(event)]
        spans = [told(span, content=self._capture) for span in ended]
        self.kept.export([self._read(span, self._resource) for span in spans])
