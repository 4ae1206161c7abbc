"""Which span each event of a run stands on, so that the trail can be proven from the spans alone.

Each event stands on exactly one span: the first and the last of an operation or of an attempt on its own, what happens
between on the nearest that is open, and what belongs to no step on the run's.
"""

from __future__ import annotations

import hashlib

from agentflow.encoding import chain_of, chained, encode, linked, seal_of
from agentflow.events import Event, OperationStarted, RunStarted, StepStarted
from agentflow.journal import stand_in
from agentflow.tracing import semconv
from agentflow.tracing.span import OpenSpan, Record
from agentflow.tracing.values import Attribute

# Each of these opens the span that it stands on.
OPENING = frozenset({RunStarted, StepStarted, OperationStarted})


class Ledger:
    """The hashes of a run, followed event by event."""

    def __init__(self) -> None:
        self._chain = 1
        self._record: Record | None = None
        self._payloads: list[bytes] = []

    def take(self, event: Event) -> None:
        """Follow the chain to the next event of the run."""
        before = b"" if self._record is None else self._record.hash
        if isinstance(event, RunStarted):
            self._chain, before = chain_of(event), b""

        if self._payloads:
            self._payloads = []

        raw = encode(event, self._apart)
        digest, known = hashlib.sha256(raw).digest(), seal_of(event)
        hash_ = chained(before, raw) if self._chain == 1 else linked(before, known or digest)
        if known and known != digest:
            # It was written before a secret was known, and is not told again without it: its digest would not fit.
            raw, digest = b"", known

        self._record = Record(self._chain, event.seq, digest, hash_, event, raw, tuple(self._payloads))

    def _apart(self, raw: bytes) -> bytes:
        short = stand_in(raw)
        if short is not raw:
            self._payloads.append(raw)

        return short

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
