"""Spans over the wire: OTLP over HTTP, one request at a time, and what the collector said to it."""

from __future__ import annotations

import gzip
import json
import time
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from functools import cache, cached_property, lru_cache, partial
from importlib import import_module
from typing import TYPE_CHECKING, Any

from agentflow.tracing.collector import Collector, resource_of
from agentflow.tracing.document import document
from agentflow.tracing.span import SpanData, SpanLink
from agentflow.version import VERSION

if TYPE_CHECKING:
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import ReadableSpan
    from opentelemetry.trace import Link, SpanContext

# Answers that ask to come back, as OTLP says; and those that say of a request that it is wrong, not who sends it.
_AGAIN = (429, 502, 503, 504)
_WRONG = (400, 413, 422)
# What a collector says to a request is short.
_LONGEST = 65536


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What became of a request: how many spans were taken, and why not all.

    `later` says that it makes sense to ask again, after `wait` seconds where the collector said so; `is_gone`, that nobody
    answered at all; `is_wrong`, that the request was refused for what is in it, so that a part of it may be taken.
    """

    taken: int = 0
    why: str = ""
    later: bool = False
    wait: float | None = None
    is_gone: bool = False
    is_wrong: bool = False


class Wire:
    """A connection to a collector, kept open from one request to the next; made where requests are sent."""

    def __init__(self, collector: Collector, environ: Mapping[str, str]) -> None:
        requests: Any = import_module("requests")  # untyped, and known to this class alone
        self._collector, self._environ = collector, environ
        # An answer that breaks off is told in the words of the library below.
        below: Any = import_module("urllib3.exceptions")
        self._errors = (requests.exceptions.RequestException, below.HTTPError, OSError)
        self._session: Any = requests.Session()
        self._session.headers.update(
            {
                **collector.headers,
                "content-type": "application/json" if self._is_json else "application/x-protobuf",
                "user-agent": f"agentflow/{VERSION}",
            }
        )
        if collector.compression != "none":
            self._session.headers["content-encoding"] = collector.compression

        self._session.verify = collector.certificate or True
        if collector.client_certificate:
            pair = (collector.client_certificate, collector.client_key)
            self._session.cert = pair if collector.client_key else collector.client_certificate

        self._resources: dict[tuple[int, str], Resource] = {}

    @cached_property
    def _read(self) -> Reader:
        return Reader()

    @property
    def _is_json(self) -> bool:
        return self._collector.protocol == "http/json"

    def send(self, spans: Sequence[SpanData]) -> Answer:
        """Send spans in one request; never raises for what the collector does."""
        body = _squeezed(self._json(spans) if self._is_json else self._protobuf(spans), self._collector)
        try:
            # What it answers is read within limits; a redirection would lose what is sent.
            with self._session.post(
                self._collector.endpoint,
                data=body,
                timeout=self._collector.timeout,
                allow_redirects=False,
                stream=True,
            ) as response:
                content = response.raw.read(_LONGEST, decode_content=True)
                return self._answer(response, content, len(spans))
        except self._errors as error:
            return Answer(why=f"{self._collector.place}: {_deepest(error)}", later=True, is_gone=True)

    def _answer(self, response: Any, content: bytes, count: int) -> Answer:
        status: int = response.status_code
        if status < 300:
            rejected, why = self._rejected(content)
            return Answer(taken=count - min(count, rejected), why=why)

        return Answer(
            why=f"{self._collector.place} answered {status} {response.reason}",
            later=status in _AGAIN,
            wait=_seconds(response.headers.get("retry-after", "")) if status in _AGAIN else None,
            is_wrong=status in _WRONG,
        )

    def _rejected(self, content: bytes) -> tuple[int, str]:
        """How many spans of a request that was taken were not, and why."""
        try:
            if self._is_json:
                partial = json.loads(content or b"{}").get("partialSuccess") or {}
                rejected, why = int(partial.get("rejectedSpans", 0)), str(partial.get("errorMessage", ""))
            else:
                from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
                    ExportTraceServiceResponse,
                )

                told = ExportTraceServiceResponse.FromString(content).partial_success
                rejected, why = told.rejected_spans, told.error_message
        except Exception:  # noqa: BLE001 - some answer with another form or a word, and took the spans all the same
            return 0, ""

        return (rejected, why or "some were rejected") if rejected > 0 else (0, "")

    def _json(self, spans: Sequence[SpanData]) -> bytes:
        return json.dumps(document(spans, self._environ), separators=(",", ":"), ensure_ascii=False).encode(
            errors="replace"
        )

    def _protobuf(self, spans: Sequence[SpanData]) -> bytes:
        from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans

        made = [self._read(span, self._resource(span)) for span in spans]
        encode: Callable[..., Any] = encode_spans
        raw: bytes = encode(made).SerializeToString()
        return raw

    def _resource(self, span: SpanData) -> Resource:
        from opentelemetry.sdk.resources import Resource

        key = span.trace_id, span.service
        if key not in self._resources:
            self._resources[key] = Resource(dict(resource_of(*key, self._environ)))

        return self._resources[key]


class Reader:
    """Makes of spans what OpenTelemetry's encoder and exporters take. No limits apply to them, so nothing that names one is dropped."""

    def __init__(self) -> None:
        from opentelemetry.sdk.trace import Event as OtelEvent
        from opentelemetry.sdk.trace import ReadableSpan
        from opentelemetry.sdk.util.instrumentation import InstrumentationScope
        from opentelemetry.trace import Link, SpanKind, Status, StatusCode

        self._span, self._event, self._link = ReadableSpan, OtelEvent, Link
        self._kinds = {"client": SpanKind.CLIENT, "internal": SpanKind.INTERNAL}
        self._failed = partial(Status, StatusCode.ERROR)
        self._unset = Status(StatusCode.UNSET)
        self._scope = InstrumentationScope("agentflow", VERSION)
        self._context = contexts()
        # What many spans are under.
        self._parent = lru_cache(64)(self._context)

    def __call__(self, span: SpanData, resource: Resource) -> ReadableSpan:
        """The span as OpenTelemetry's own."""
        trace, parent = span.trace_id, span.parent_id
        return self._span(
            name=span.name,
            context=self._context(trace, span.span_id),
            parent=self._parent(trace, parent) if parent is not None else None,
            resource=resource,
            attributes=span.attributes,
            events=[self._event(e.name, e.attributes, e.at) for e in span.events] if span.events else (),
            links=[self._linked(trace, link) for link in span.links] if span.links else (),
            kind=self._kinds[span.kind],
            status=self._failed(span.error) if span.status == "error" else self._unset,
            start_time=span.start,
            end_time=span.end,
            instrumentation_scope=self._scope,
        )

    def _linked(self, trace: int, link: SpanLink) -> Link:
        context = self._context(trace if link.trace_id is None else link.trace_id, link.span_id)
        return self._link(context, link.attributes)


@cache
def contexts() -> Callable[[int, int], SpanContext]:
    """What makes the context of a span of ours from the ids of its trace and its own; it loads OpenTelemetry."""
    from opentelemetry.trace import SpanContext, TraceFlags

    return partial(SpanContext, is_remote=False, trace_flags=TraceFlags(TraceFlags.SAMPLED))


def _squeezed(body: bytes, collector: Collector) -> bytes:
    match collector.compression:
        case "gzip":
            return gzip.compress(body, 6, mtime=0)
        case "deflate":
            return zlib.compress(body)
        case "none":
            return body


def _seconds(text: str) -> float | None:
    """What `Retry-After` asks for: seconds, or a date; None where it asks for nothing that can be read."""
    try:
        return max(
            0.0,
            float(text)
            if text.strip().isdecimal()
            else parsedate_to_datetime(text).timestamp() - time.time(),
        )
    except (ValueError, TypeError, OverflowError):
        return None


def _deepest(error: BaseException) -> str:
    while error.__context__ is not None:
        error = error.__context__

    return str(error) or type(error).__name__
