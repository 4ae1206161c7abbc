"""Spans as plain values: what OpenTelemetry sends, without OpenTelemetry."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from agentflow.events import ErrorInfo, Event
from agentflow.tracing import semconv
from agentflow.tracing.values import LIMIT, Attribute, Joined, cut

Kind = Literal["internal", "client"]
Status = Literal["unset", "error"]
_DESCRIPTION = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class SpanEvent:
    """Something that happened at one time within a span; `at` is nanoseconds since the epoch."""

    name: str
    at: int
    attributes: Mapping[str, Attribute] = field(default_factory=dict[str, Attribute])


@dataclass(frozen=True, slots=True, kw_only=True)
class SpanLink:
    """Another span that this one has to do with; of the same trace, where no other one is named."""

    span_id: int
    trace_id: int | None = None
    attributes: Mapping[str, Attribute] = field(default_factory=dict[str, Attribute])


class Record(NamedTuple):
    """An event that a span is made of: its number, the digest of its JSON, and the hash that stands for all up to it.

    `chain` says how the hashes are chained. `raw` is the JSON, empty where it cannot be written as it was any more, and
    `payloads` is that of large payloads, which an event names by digest.
    """

    chain: int
    seq: int
    digest: bytes
    hash: bytes
    event: Event
    raw: bytes
    payloads: Sequence[bytes] = ()


class SpanData(NamedTuple):
    """A finished span. Times are nanoseconds since the epoch; `error` is the short description of its status.

    `records` are the events that it is made of; None where nobody keeps account of them. `service` names the process that
    did it, where that has a name of its own.
    """

    name: str
    kind: Kind
    trace_id: int
    span_id: int
    parent_id: int | None
    start: int
    end: int
    attributes: Mapping[str, Attribute]
    events: tuple[SpanEvent, ...] = ()
    links: tuple[SpanLink, ...] = ()
    status: Status = "unset"
    error: str = ""
    records: tuple[Record, ...] | None = None
    service: str = ""

    def with_all(self, attributes: Mapping[str, Attribute]) -> SpanData:
        """The same with these attributes, its records among them."""
        # `_replace`, spelled out: that takes half of the time, and each span comes here.
        return SpanData._make((*self[:7], attributes, *self[8:-2], None, self.service))


@dataclass(slots=True, kw_only=True)
class OpenSpan:
    """A span that goes on. `names` are what its id was made of; a `lasting` one outlives the process it began in."""

    name: str
    kind: Kind = "internal"
    trace_id: int
    span_id: int
    parent_id: int | None
    start: int
    names: tuple[str | int, ...] = ()
    lasting: bool = False
    attributes: dict[str, Attribute]
    events: list[SpanEvent] = field(default_factory=list[SpanEvent])
    links: tuple[SpanLink, ...] = ()
    records: list[Record] | None = None

    def happened(self, name: str, at: int, attributes: Mapping[str, Attribute]) -> None:
        """Note an event."""
        self.events.append(SpanEvent(name=name, at=at, attributes=_fit({**attributes})))

    def closed(self, at: int, error: ErrorInfo | None = None) -> SpanData:
        """The span as it is when it ends at `at`; this one is not changed any more."""
        attributes, events = self.attributes, tuple(self.events)
        if error is not None:
            # What goes on from here under another span did not fail with it.
            attributes = attributes | _failure(error)
            events += tuple(_exception(error, at))

        return SpanData(
            self.name,
            self.kind,
            self.trace_id,
            self.span_id,
            self.parent_id,
            self.start,
            max(at, self.start),
            _bounded(_fit(attributes)),
            events,
            self.links,
            "unset" if error is None else "error",
            "" if error is None else _short(error),
            None if self.records is None else tuple(self.records),
        )


def _fit(attributes: dict[str, Attribute]) -> dict[str, Attribute]:
    for name, value in attributes.items():
        # What `cut` would leave is told at a glance, without a call for each.
        if type(value) is int or not isinstance(value, str) or (len(value) <= LIMIT and value.isascii()):
            continue

        if not isinstance(value, Joined):
            attributes[name] = cut(value)

    return attributes


def _bounded(attributes: dict[str, Attribute]) -> dict[str, Attribute]:
    """No more attributes than are taken everywhere: the last of those that there may be any number of are dropped."""
    surplus = len(attributes) - semconv.MOST_ATTRIBUTES + 1
    if surplus <= 1:
        return attributes

    dropped = [name for name in attributes if name.startswith(semconv.UNBOUNDED)][-surplus:]
    kept = {name: value for name, value in attributes.items() if name not in frozenset(dropped)}
    return {**kept, semconv.DROPPED: len(dropped)}


def _failure(error: ErrorInfo) -> dict[str, Attribute]:
    failure: dict[str, Attribute] = {semconv.ERROR_TYPE: error.kind}
    return failure | {semconv.ERROR_HINT: error.hint} if error.hint else failure


def _exception(error: ErrorInfo, at: int) -> list[SpanEvent]:
    if error.kind == semconv.INTERRUPTED:
        return []

    attributes: dict[str, Attribute] = {
        semconv.EXCEPTION_TYPE: error.kind,
        semconv.EXCEPTION_MESSAGE: error.message,
    }
    if error.traceback:
        attributes[semconv.EXCEPTION_STACKTRACE] = error.traceback

    return [SpanEvent(name=semconv.EXCEPTION, at=at, attributes=_fit(attributes))]


def _short(error: ErrorInfo) -> str:
    first = error.message.strip().partition("\n")[0]
    return cut(first or error.kind, _DESCRIPTION)
