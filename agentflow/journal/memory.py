"""A journal that lives and dies with the process: for tests, and for runs that need no record."""

from __future__ import annotations

from collections.abc import Sequence

from agentflow.events import Event, RunStarted, chained
from agentflow.exceptions import JournalConflict
from agentflow.journal import RunRow, canonical, status_of


class MemoryJournal:
    """Events in lists."""

    def __init__(self) -> None:
        self._runs: dict[str, list[Event]] = {}

    async def append(self, run: str, events: Sequence[Event]) -> None:
        known = self._runs.get(run, [])
        if events and events[0].seq != len(known) + 1:
            raise JournalConflict(
                f"run `{run}` was continued elsewhere: it has {len(known)} events, and event {events[0].seq} came"
            )

        if events:
            self._runs.setdefault(run, []).extend(events)

    async def read(self, run: str) -> list[Event]:
        return list(self._runs.get(run, ()))

    async def runs(self) -> list[RunRow]:
        rows = [await self._row(run, events) for run, events in reversed(self._runs.items())]
        return sorted(rows, key=lambda row: row.started, reverse=True)

    async def _row(self, run: str, events: list[Event]) -> RunRow:
        first, last = events[0], events[-1]
        return RunRow(
            run=run,
            workflow=first.workflow if isinstance(first, RunStarted) else "",
            status=status_of(last.type),
            started=first.at,
            updated=last.at,
            events=len(events),
            head=await self.head(run),
        )

    async def head(self, run: str) -> str:
        # Hashed when asked for: a run that nobody audits does not pay for it.
        head = b""
        for event in self._runs.get(run, ()):
            head = chained(head, canonical(event))

        return head.hex()

    async def close(self) -> None:
        self._runs.clear()
