"""What of a run may be told to a collector: the one place that decides it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from agentflow.secrets import has_secrets, redact
from agentflow.tracing import semconv
from agentflow.tracing.records import attributes_of
from agentflow.tracing.span import SpanData, SpanEvent
from agentflow.tracing.values import Attribute


def told(span: SpanData, *, content: bool) -> SpanData:
    """The span as a collector is told of it, its records as attributes; without `content` nothing of what was said.

    Secrets that are known by now are taken out by value, whether or not they were when the event was written.
    """
    shown = _hidden(span if content else _bare(span)) if has_secrets() else span if content else _bare(span)
    if span.records is None:
        return shown

    audit = attributes_of(span.records, content=content)
    return replace(shown, attributes={**shown.attributes, **audit}, records=None)


def _hidden(span: SpanData) -> SpanData:
    events = tuple(
        replace(event, name=redact(event.name), attributes=_redacted(event.attributes))
        for event in span.events
    )
    return replace(
        span,
        name=redact(span.name),
        error=redact(span.error),
        attributes=_redacted(span.attributes),
        events=events,
    )


def _redacted(attributes: Mapping[str, Attribute]) -> dict[str, Attribute]:
    return {name: _without_secrets(value) for name, value in attributes.items()}


def _without_secrets(value: Attribute) -> Attribute:
    if isinstance(value, tuple):
        return tuple(redact(item) for item in value)

    return redact(value) if isinstance(value, str) else value


def _bare(span: SpanData) -> SpanData:
    """The span without what people, models and tools said; the journal has that."""
    events = tuple(_without_words(event) for event in span.events)
    error = str(span.attributes.get(semconv.ERROR_TYPE, "")) if span.error else ""
    return replace(span, attributes=_without(span.attributes), events=events, error=error)


def _without_words(event: SpanEvent) -> SpanEvent:
    return replace(event, attributes=_without(event.attributes))


def _without(attributes: Mapping[str, Attribute]) -> dict[str, Attribute]:
    asked = f"{semconv.OPERATION_REQUEST}."
    return {n: v for n, v in attributes.items() if n not in semconv.CONTENT and not n.startswith(asked)}
