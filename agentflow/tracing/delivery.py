"""Spans of runs that a collector has not all of yet, from the journal, each told the same way as before."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from agentflow.events import Event
from agentflow.exceptions import JournalError
from agentflow.journal import Delivered, Journal
from agentflow.tracing.collector import Collector
from agentflow.tracing.content import Capture
from agentflow.tracing.export import Delivery, Exporter

_RESOURCE = {"resource": "OTEL_RESOURCE_ATTRIBUTES", "service": "OTEL_SERVICE_NAME"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipient:
    """A collector, what it may be told, and as whose."""

    collector: Collector
    capture: Capture
    environ: Mapping[str, str]

    def noted(self, run: str, upto: int, manner: Mapping[str, Any] | None = None) -> Delivered:
        """That it has a run up to an event; `manner` as it was before, else as it is now."""
        told = {"content": self.capture.level, **{n: self.environ.get(v, "") for n, v in _RESOURCE.items()}}
        return Delivered(run=run, place=self.collector.place, upto=upto, manner=manner or told)

    def exporter(self, known: Delivered) -> Exporter:
        """What sends the rest of a run the way that it was begun to be sent, or with less where less may be told now."""
        given = {_RESOURCE[n]: str(text) for n, text in known.manner.items() if n in _RESOURCE}
        return Exporter(
            self.collector,
            content=self.capture.at_most(str(known.manner.get("content", ""))),
            environ={**self.environ, **given},
            since=known.upto,
        )


async def known_delivery(journal: Journal, run: str, to: Recipient) -> Delivered:
    """How far a run was delivered, which is noted as begun where it was not."""
    found = await journal.deliveries(to.collector.place, run)
    known = found[0] if found else to.noted(run, 0)
    if not found:
        await journal.note_delivery(known)

    return known


async def deliver(
    journal: Journal, events: Sequence[Event], known: Delivered, to: Recipient, seconds: float
) -> Delivery:
    """Send what is missing of a run and note how far that went; waits at most `seconds`."""
    exporter = to.exporter(known)
    for event in events:
        exporter(event)

    try:
        # In a thread, as a collector that does not answer is waited for.
        delivery = await asyncio.to_thread(exporter.flush, seconds)
        await journal.note_delivery(to.noted(known.run, exporter.upto, known.manner))
    finally:
        exporter.close()

    return delivery


async def deliver_owed(journal: Journal, to: Recipient, seconds: float) -> Delivery:
    """Send what a collector is owed of all runs that nobody drives, until it takes no more; within `seconds`."""
    until = time.monotonic() + seconds
    whole = Delivery(sent=0, failed=0)
    for known in await journal.deliveries(to.collector.place):
        left = until - time.monotonic()
        if left <= 0:
            break

        try:
            if await journal.holder(known.run) is not None:
                continue

            delivery = await deliver(journal, await journal.read(known.run), known, to, left)
        except JournalError:  # one run that cannot be read must not hold the others back
            continue

        why = delivery.why or whole.why
        whole = Delivery(sent=whole.sent + delivery.sent, failed=whole.failed + delivery.failed, why=why)
        if delivery.failed and not delivery.sent:
            break

    return whole
