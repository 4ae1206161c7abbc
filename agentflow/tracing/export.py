"""Spans on their way to a collector, sent in the background. This is the only home of OpenTelemetry's SDK.

It is loaded where it is first needed, which for sending is a thread of its own: a run does not wait for it.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from importlib import import_module
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any

from agentflow.events import Event, RunStarted
from agentflow.tracing.collector import Collector, collector_of, resource_of, sends_content
from agentflow.tracing.content import told
from agentflow.tracing.document import otlp_json as otlp_json
from agentflow.tracing.ids import step_span_id, trace_id
from agentflow.tracing.spans import SpanData, SpanFolder
from agentflow.tracing.values import Attribute
from agentflow.version import VERSION

if TYPE_CHECKING:
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import ReadableSpan
    from opentelemetry.trace import SpanContext

# A request holds at most so many spans and bytes: collectors refuse large ones (4 MiB is a common limit).
BATCH = 96
BATCH_BYTES = 2_000_000
# So many spans wait for a collector that is down; the oldest go first.
KEPT = 4096
_IDLE = 1.0  # seconds after which what has come together is sent
_REST = 30.0  # seconds for which a collector that is down is left alone
_AGAIN = (429, 502, 503, 504)  # answers that ask to come back
_LOGGER = "opentelemetry.exporter.otlp.proto.http.trace_exporter"


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """How many spans a collector took and how many it did not, and the last reason why not."""

    sent: int
    failed: int
    why: str = ""


class Exporter:
    """An observer that sends the spans of a run as they end. It never raises into the run, nor makes it wait.

    It takes one run at a time, from its first event on: a run that is resumed begins with the events that its journal
    has. Spans that a collector has already are sent once more then; they are the same, so it keeps one.
    """

    def __init__(
        self, collector: Collector, *, content: bool = True, environ: Mapping[str, str] | None = None
    ) -> None:
        self.collector, self._content = collector, content
        self._environ = dict(os.environ if environ is None else environ)
        self._queue: SimpleQueue[Event | Sequence[SpanData] | threading.Event] = SimpleQueue()
        self._thread: threading.Thread | None = None
        self._wire: _Wire | None = None
        self._folder: SpanFolder | None = None
        self._pending: deque[SpanData] = deque()
        self._rest_until = 0.0
        self._sent = self._failed = 0
        self._why = ""

    def __call__(self, event: object) -> None:
        """Take an event of the run; streamed text has no span."""
        if isinstance(event, Event):
            self._put(event)

    def send(self, spans: Sequence[SpanData]) -> None:
        """Send finished spans, such as those of a run that ended long ago."""
        self._put(tuple(spans))

    def flush(self, timeout: float = 5.0) -> Delivery:
        """Send what is left and say what came of all so far; waits at most `timeout` seconds."""
        done = threading.Event()
        self._put(done)
        if done.wait(timeout):
            return Delivery(sent=self._sent, failed=self._failed, why=self._why)

        why = self._why or f"{self.collector.endpoint} did not answer within {timeout:g} s"
        return Delivery(sent=self._sent, failed=self._failed + len(self._pending), why=why)

    def _put(self, item: Event | Sequence[SpanData] | threading.Event) -> None:
        self._queue.put(item)
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="agentflow-export", daemon=True)
            self._thread.start()

    def _work(self) -> None:
        # Opened before there is a span, as the SDK takes a while to load and a run mostly waits.
        self._open()
        while True:
            try:
                item = self._queue.get(timeout=_IDLE if self._pending else None)
            except Empty:
                self._deliver(last=False)
                continue

            if isinstance(item, threading.Event):
                self._deliver(last=True)
                item.set()
            else:
                self._take(item)

    def _take(self, item: Event | Sequence[SpanData]) -> None:
        try:
            spans = self._fold(item) if isinstance(item, Event) else item
            self._pending.extend(told(span, content=self._content) for span in spans)
        except Exception as error:  # noqa: BLE001 - a run must not end for its spans' sake
            self._why = f"a span could not be made: {type(error).__name__}: {error}"

        if len(self._pending) >= BATCH:
            self._deliver(last=False)

    def _fold(self, event: Event) -> Sequence[SpanData]:
        if isinstance(event, RunStarted):
            self._folder = SpanFolder(event.run, with_records=True)

        if self._folder is None:
            self._why = "the run was taken up without the events before; its journal has its spans"
            return ()

        return self._folder.fold(event)

    def _deliver(self, *, last: bool) -> None:
        """Send what has come together. What a collector that is down did not take is kept, unless this is the `last` try."""
        if last or time.monotonic() >= self._rest_until:
            while self._pending and self._deliver_batch():
                pass

        surplus = len(self._pending) - (0 if last else KEPT)
        for _ in range(surplus):
            self._pending.popleft()
            self._failed += 1

    def _deliver_batch(self) -> bool:
        """Whether it makes sense to go on."""
        batch = self._batch()
        wire = self._open()
        if wire is None:
            return False

        try:
            taken = wire.send(batch)
        except Exception as error:  # noqa: BLE001 - as above
            taken, wire.why = 0, f"{type(error).__name__}: {error}"

        self._why = wire.why or self._why
        if wire.is_down:
            self._rest_until = time.monotonic() + _REST
            return False

        for _ in batch:
            self._pending.popleft()

        self._sent += taken
        self._failed += len(batch) - taken
        return True

    def _open(self) -> _Wire | None:
        if self._wire is None:
            try:
                self._wire = _Wire(self.collector, self._environ)
            except Exception as error:  # noqa: BLE001 - as above; a certificate that is not there, for example
                self._why = f"{type(error).__name__}: {error}"

        return self._wire

    def _batch(self) -> list[SpanData]:
        batch: list[SpanData] = []
        size = 0
        for span in self._pending:
            size += _size(span)
            if batch and (len(batch) == BATCH or size > BATCH_BYTES):
                break

            batch.append(span)

        return batch


def from_environment(environ: Mapping[str, str] | None = None) -> Exporter | None:
    """An exporter to where OTEL_EXPORTER_OTLP_ENDPOINT (or ..._TRACES_ENDPOINT) points; None where neither is set."""
    environ = os.environ if environ is None else environ
    collector = collector_of(environ)
    return (
        Exporter(collector, content=sends_content(environ), environ=environ)
        if collector is not None
        else None
    )


def step_scope(run_id: str) -> Callable[[str, int], AbstractContextManager[None]]:
    """What makes a step's span the current one while the step runs, so that spans of other libraries nest under it."""

    @contextmanager
    def scope(activation: str, attempt: int) -> Generator[None]:
        from opentelemetry import context, trace

        here = trace.NonRecordingSpan(_context(trace_id(run_id), step_span_id(run_id, activation, attempt)))
        token = context.attach(trace.set_span_in_context(here))
        try:
            yield
        finally:
            context.detach(token)

    return scope


def readable(span: SpanData, resource: Resource) -> ReadableSpan:
    """A span as OpenTelemetry's exporters take it. No limits apply to it, so nothing that names it is dropped."""
    from opentelemetry.sdk.trace import Event as OtelEvent
    from opentelemetry.sdk.trace import ReadableSpan
    from opentelemetry.sdk.util.instrumentation import InstrumentationScope
    from opentelemetry.trace import Link, SpanKind, Status, StatusCode

    failed = Status(StatusCode.ERROR, span.error)
    links = [
        Link(_context(link.trace_id or span.trace_id, link.span_id), link.attributes) for link in span.links
    ]
    return ReadableSpan(
        name=span.name,
        context=_context(span.trace_id, span.span_id),
        parent=_context(span.trace_id, span.parent_id) if span.parent_id is not None else None,
        resource=resource,
        attributes=span.attributes,
        events=[OtelEvent(event.name, event.attributes, event.at) for event in span.events],
        links=links,
        kind=SpanKind.CLIENT if span.kind == "client" else SpanKind.INTERNAL,
        status=failed if span.status == "error" else Status(StatusCode.UNSET),
        start_time=span.start,
        end_time=span.end,
        instrumentation_scope=InstrumentationScope("agentflow", VERSION),
    )


def _context(trace: int, span: int) -> SpanContext:
    from opentelemetry.trace import SpanContext, TraceFlags

    return SpanContext(trace, span, is_remote=False, trace_flags=TraceFlags(TraceFlags.SAMPLED))


class _Wire:
    """The SDK's OTLP exporter, with its own HTTP session that notes what the collector said.

    The SDK tells only whether it failed, and goes on trying for seconds where nobody listens.
    """

    def __init__(self, collector: Collector, environ: Mapping[str, str]) -> None:
        from opentelemetry.exporter.otlp.proto.http import Compression
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

        requests: Any = import_module("requests")  # untyped, and known to this class alone
        self._collector, self._environ = collector, environ
        self._resources: dict[int, Resource] = {}
        self._unreachable = (requests.exceptions.ConnectionError, requests.exceptions.Timeout)
        session: Any = requests.Session()
        self._request, session.request = session.request, self._noted
        self._quiet = _Quiet()
        logging.getLogger(_LOGGER).addFilter(self._quiet)
        self._exporter = OTLPSpanExporter(
            endpoint=collector.endpoint,
            certificate_file=collector.certificate,
            client_key_file=collector.client_key,
            client_certificate_file=collector.client_certificate,
            headers=collector.headers,
            timeout=collector.timeout,
            compression=Compression(collector.compression),
            session=session,
        )
        self._status = self._rejected = 0
        self.why, self.is_down = "", False

    def send(self, spans: Sequence[SpanData]) -> int:
        """How many of the spans were taken; `why` says why not all, `is_down` that it makes sense to try later."""
        from opentelemetry.sdk.trace.export import SpanExportResult

        self.why, self.is_down, self._status, self._rejected, self._quiet.said = "", False, 0, 0, ""
        result = self._exporter.export([readable(span, self._resource(span.trace_id)) for span in spans])
        if result is SpanExportResult.SUCCESS and self._status < 300:
            return len(spans) - self._rejected

        self.why = self.why or self._quiet.said
        return 0

    def _resource(self, trace: int) -> Resource:
        from opentelemetry.sdk.resources import Resource

        if trace not in self._resources:
            self._resources[trace] = Resource(dict(resource_of(trace, self._environ)))

        return self._resources[trace]

    def _noted(self, **asked: Any) -> Any:
        try:
            response = self._request(**asked)
        except self._unreachable as error:
            self.is_down, self.why = True, f"{self._collector.endpoint}: {_deepest(error)}"
            # Of another type than the SDK knows, so that it does not wait and try again.
            raise OSError(self.why) from None

        self._status = response.status_code
        if self._status >= 300:
            self.is_down = self._status in _AGAIN
            self.why = f"{self._collector.endpoint} answered {self._status} {response.reason}"
        elif response.content:
            self._note_rejected(response.content)

        return response

    def _note_rejected(self, content: bytes) -> None:
        from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

        try:
            partial = ExportTraceServiceResponse.FromString(content).partial_success
        except Exception:  # noqa: BLE001 - some answer with JSON or a word, and took the spans all the same
            return

        if partial.rejected_spans:
            self._rejected, self.why = partial.rejected_spans, partial.error_message or "some were rejected"


class _Quiet(logging.Filter):
    """Keeps what the SDK's exporter logs in this thread from the user's terminal: it is said once, at the end."""

    def __init__(self) -> None:
        super().__init__()
        self.said = ""
        self._thread = threading.get_ident()

    def filter(self, record: logging.LogRecord) -> bool:
        if record.thread != self._thread:
            return True

        self.said = record.getMessage()
        return False


def _deepest(error: BaseException) -> str:
    while error.__context__ is not None:
        error = error.__context__

    return str(error) or type(error).__name__


def _size(span: SpanData) -> int:
    events = sum(_length(event.attributes) for event in span.events)
    return 256 + _length(span.attributes) + events


def _length(attributes: Mapping[str, Attribute]) -> int:
    return sum(len(name) + len(value) if isinstance(value, str) else 64 for name, value in attributes.items())
