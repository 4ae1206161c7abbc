"""Spans as others give them back: OTLP in JSON, from a file or from Jaeger, read into the form that they were made in."""

from __future__ import annotations

import json
from base64 import b64decode
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from agentflow.exceptions import TraceUnreadable
from agentflow.tracing.span import Kind, SpanData, SpanEvent, SpanLink
from agentflow.tracing.values import Attribute

_KINDS: dict[Any, str] = {
    0: "unspecified",
    1: "internal",
    2: "server",
    3: "client",
    4: "producer",
    5: "consumer",
}
_ERROR = (2, "STATUS_CODE_ERROR")
_KIND = "SPAN_KIND_"


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """A span as it was given back; `scope` says whose it is."""

    scope: str
    span: SpanData


def spans_in(document: Any) -> list[Received]:
    """The spans of OTLP/JSON: one request, or a list of them; raises `TraceUnreadable` where it is none.

    Names may be written in `camelCase` or `snake_case`, ids in hexadecimal digits or in base64.
    """
    found: list[Received] = []
    for request in document if isinstance(document, list) else [document]:
        whole = _mapping(request, "the document")
        # Jaeger puts it into an envelope.
        whole = _mapping(whole.get("result", whole), "result")
        for resource in _list(whole, "resourceSpans"):
            found += _of_resource(resource)

    return found


def read_file(text: str) -> list[Received]:
    """The spans in the text of a file: one JSON document, or one a line, as the collector's file exporter writes."""
    try:
        return spans_in(json.loads(text))
    except RecursionError:
        raise TraceUnreadable("this is JSON in JSON without end", hint="give OTLP in JSON") from None
    except json.JSONDecodeError:
        return [span for line in text.splitlines() if line.strip() for span in spans_in(_parsed(line))]


def _parsed(line: str) -> Any:
    try:
        return json.loads(line)
    except (ValueError, RecursionError) as error:
        raise TraceUnreadable(f"this is no JSON: {error}", hint="give OTLP in JSON") from None


def _of_resource(resource: Any) -> Iterator[Received]:
    for scoped in _list(_mapping(resource, "resourceSpans"), "scopeSpans"):
        known = _mapping(scoped, "scopeSpans")
        scope = _mapping(known.get("scope") or {}, "scope")
        for span in _list(known, "spans"):
            yield Received(scope=str(scope.get("name", "")), span=_span(_mapping(span, "spans")))


def _span(known: Mapping[str, Any]) -> SpanData:
    status = _mapping(known.get("status") or {}, "status")
    try:
        trace = _id(_get(known, "traceId"), 16)
        return SpanData(
            name=str(known.get("name", "")),
            kind=cast("Kind", _kind(known.get("kind", 0))),
            trace_id=trace,
            span_id=_id(_get(known, "spanId"), 8),
            parent_id=_id(_get(known, "parentSpanId") or "", 8) or None,
            start=int(_get(known, "startTimeUnixNano") or 0),
            end=int(_get(known, "endTimeUnixNano") or 0),
            attributes=_attributes(known),
            events=tuple(_event(_mapping(event, "events")) for event in _list(known, "events")),
            links=tuple(_link(_mapping(link, "links"), trace) for link in _list(known, "links")),
            status="error" if status.get("code") in _ERROR else "unset",
            error=str(status.get("message") or ""),
        )
    except (ValueError, TypeError) as error:
        raise _unreadable(f"span `{known.get('name', '')}`", str(error)) from None


def _kind(value: Any) -> str:
    return _KINDS.get(value, str(value).removeprefix(_KIND).lower())


def _id(value: Any, size: int) -> int:
    text = str(value or "")
    if not text:
        return 0

    raw = bytes.fromhex(text) if len(text) == 2 * size else b64decode(text, validate=True)
    if len(raw) != size:
        raise ValueError(f"`{text[:40]}` is no id of {size} bytes")

    return int.from_bytes(raw, "big")


def _event(known: Mapping[str, Any]) -> SpanEvent:
    at = int(_get(known, "timeUnixNano") or 0)
    return SpanEvent(name=str(known.get("name", "")), at=at, attributes=_attributes(known))


def _link(known: Mapping[str, Any], own: int) -> SpanLink:
    trace = _id(_get(known, "traceId") or "", 16)
    other = trace if trace not in (0, own) else None
    return SpanLink(span_id=_id(_get(known, "spanId"), 8), trace_id=other, attributes=_attributes(known))


def _attributes(known: Mapping[str, Any]) -> dict[str, Attribute]:
    found: dict[str, Attribute] = {}
    for entry in _list(known, "attributes"):
        pair = _mapping(entry, "attributes")
        name = str(pair.get("key", ""))
        if name in found:
            raise ValueError(f"the attribute `{name[:80]}` stands there twice")

        found[name] = _value(_mapping(pair.get("value") or {}, "value"))

    return found


def _value(value: Mapping[str, Any]) -> Any:
    for name, given in value.items():
        if given is None:  # some name all kinds, and leave all but one empty
            continue

        match name.replace("_", "").lower():
            case "stringvalue":
                return str(given)
            case "intvalue":
                return int(given)
            case "doublevalue":
                return float(given)
            case "boolvalue" if isinstance(given, bool):
                return given
            case "arrayvalue":
                items = _list(_mapping(given, "arrayValue"), "values")
                return tuple(_value(_mapping(item, "values")) for item in items)
            case _:
                raise ValueError(f"`{name}` is a kind of value that was not written here")

    return ""


def _get(known: Mapping[str, Any], name: str) -> Any:
    return known.get(name, known.get(_snake(name)))


def _snake(name: str) -> str:
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name)


def _list(known: Mapping[str, Any], name: str) -> Sequence[Any]:
    value = _get(known, name)
    if value is None:
        return ()

    if not isinstance(value, list):
        raise _unreadable(name, "it is no list")

    return list(value)


def _mapping(value: Any, where: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise _unreadable(where, f"it is {type(value).__name__}, not an object")

    return cast("Mapping[str, Any]", value)


def _unreadable(where: str, why: str) -> TraceUnreadable:
    return TraceUnreadable(f"{where} is not OTLP in JSON: {why}", hint="give an OTLP/JSON file of traces")
