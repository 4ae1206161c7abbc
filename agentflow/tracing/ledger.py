"""Which span each event of a run stands on, so that the trail can be proven from the spans alone.

Each event stands on exactly one span: the first and the last of an operation or of an attempt on its own, what happens
between on the nearest that is open, and what belongs to no step on the run's.
"""

from __future__ import annotations

from collections.abc import Callable

from agentflow.events import Event, OperationFinished, OperationStarted, RunStarted, StepStarted, chain_of
from agentflow.journal import digest_of_event, hash_after
from agentflow.tracing import semconv
from agentflow.tracing.span import OpenSpan, Record
from agentflow.tracing.values import Attribute
from agentflow.tracing.work import Work

# Each of these opens the span that it stands on.
OPENING = (RunStarted, StepStarted, OperationStarted)


class Ledger:
    """The hashes of a run, followed event by event."""

    def __init__(self) -> None:
        self._chain = 1
        self._record: Record | None = None

    def take(self, event: Event, span: OpenSpan | None) -> None:
        """Follow the chain to the next event of the run, which stands on `span` where there is one already."""
        before = b"" if self._record is None else self._record.hash
        if isinstance(event, RunStarted):
            self._chain, before = chain_of(event), b""

        hash_ = hash_after(before, event, self._chain)
        digest = digest_of_event(event)
        self._record = Record(chain=self._chain, seq=event.seq, digest=digest, hash=hash_, event=event)
        self.put(span)

    def put(self, span: OpenSpan | None) -> None:
        """Have the last event stand on a span."""
        if span is not None and self._record is not None:
            span.records = [] if span.records is None else span.records
            span.records.append(self._record)

    def head(self) -> dict[str, Attribute]:
        """What stands for all events so far."""
        assert self._record is not None
        return {
            semconv.AUDIT_HEAD: self._record.hash.hex(),
            semconv.AUDIT_COUNT: self._record.seq,
            semconv.AUDIT_CHAIN: self._chain,
        }


def carrier(event: Event, work: Work, nearest: Callable[[str], OpenSpan | None]) -> OpenSpan | None:
    """The open span that an event stands on: of the operation or the step that it is about, or `nearest` around it."""
    if isinstance(event, OperationStarted | OperationFinished) and (span := work.span(event)) is not None:
        return span

    return nearest("" if event.type.startswith("run.") else getattr(event, "step", ""))
