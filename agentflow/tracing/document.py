"""Spans as one OTLP/JSON document: for a file that Jaeger's page and any collector take."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from agentflow.tracing.collector import resource_of
from agentflow.tracing.content import Capture, told
from agentflow.tracing.span import SpanData, SpanEvent, SpanLink
from agentflow.tracing.values import Attribute
from agentflow.version import VERSION

_KINDS = {"internal": 1, "client": 3}
_ERROR = 2
# It is known whether the parent is of another process, and it is not.
_FLAGS = 0x100


def otlp_json(
    spans: Sequence[SpanData], environ: Mapping[str, str] | None = None, *, content: Capture | bool = True
) -> dict[str, Any]:
    """The spans as an `ExportTraceServiceRequest` in JSON, with ids in hexadecimal digits as OTLP wants them.

    `content` is how much of what people, models and tools said is in it.
    """
    return document([told(span, content=content) for span in spans], environ or {})


def document(spans: Sequence[SpanData], environ: Mapping[str, str]) -> dict[str, Any]:
    """The same of spans that are as they are to be told."""
    by_source: dict[tuple[int, str], list[SpanData]] = {}
    for span in spans:
        by_source.setdefault((span.trace_id, span.service), []).append(span)

    return {"resourceSpans": [_resource(resource_of(*of, environ), made) for of, made in by_source.items()]}


def _resource(resource: Mapping[str, Attribute], spans: Sequence[SpanData]) -> dict[str, Any]:
    scope = {"name": "agentflow", "version": VERSION}
    return {
        "resource": {"attributes": _attributes(resource)},
        "scopeSpans": [{"scope": scope, "spans": [_span(span) for span in spans]}],
    }


def _span(span: SpanData) -> dict[str, Any]:
    document: dict[str, Any] = {
        "traceId": f"{span.trace_id:032x}",
        "spanId": f"{span.span_id:016x}",
        "name": span.name,
        "kind": _KINDS[span.kind],
        "startTimeUnixNano": str(span.start),
        "endTimeUnixNano": str(span.end),
        "attributes": _attributes(span.attributes),
        "events": [_event(event) for event in span.events],
        "links": [_link(span.trace_id, link) for link in span.links],
        "status": {"code": _ERROR, "message": span.error} if span.status == "error" else {},
        "flags": _FLAGS,
    }
    if span.parent_id is not None:
        document["parentSpanId"] = f"{span.parent_id:016x}"

    return document


def _event(event: SpanEvent) -> dict[str, Any]:
    return {"name": event.name, "timeUnixNano": str(event.at), "attributes": _attributes(event.attributes)}


def _link(trace: int, link: SpanLink) -> dict[str, Any]:
    return {
        "traceId": f"{trace if link.trace_id is None else link.trace_id:032x}",
        "spanId": f"{link.span_id:016x}",
        "attributes": _attributes(link.attributes),
        "flags": _FLAGS,
    }


def _attributes(attributes: Mapping[str, Attribute]) -> list[dict[str, Any]]:
    return [{"key": name, "value": _value(value)} for name, value in attributes.items()]


def _value(value: Attribute) -> dict[str, Any]:
    match value:
        case bool():
            return {"boolValue": value}
        case int():
            return {"intValue": str(value)}
        case float():
            return {"doubleValue": value}
        case str():
            return {"stringValue": value}
        case _:
            return {"arrayValue": {"values": [_value(item) for item in value]}}
