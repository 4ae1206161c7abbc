"""A journal that lives and dies with the process: for tests, and for runs that need no record."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from typing import Any

from agentflow.encoding import encode
from agentflow.events import Event, RunStarted
from agentflow.journal import (
    Delivered,
    Kept,
    Lease,
    Pruned,
    Request,
    RunRow,
    Trail,
    canonical,
    hashes_of,
    said_by,
    status_of,
)
from agentflow.journal.refusals import continued_elsewhere, is_driven, was_pruned


class MemoryJournal:
    """Events in lists."""

    is_immediate = True

    def __init__(self) -> None:
        self._runs: dict[str, list[Event]] = {}
        self._pruned: dict[str, RunRow] = {}
        self._leases: dict[str, Lease] = {}
        self._requests: dict[str, list[Request]] = {}
        self._sent = 0
        self._delivered: dict[tuple[str, str], Delivered] = {}

    async def append(self, run: str, events: Sequence[Event], *, durable: bool = False) -> None:
        del durable  # nothing here outlives the process
        if not events:
            return

        known = self._runs.get(run)
        if known is None:
            self._refuse_pruned(run)
            known = self._runs.setdefault(run, [])

        if events[0].seq != len(known) + 1:
            raise continued_elsewhere(run, len(known), events[0].seq)

        known.extend(events)

    def _refuse_pruned(self, run: str) -> None:
        if run in self._pruned:
            raise was_pruned(run)

    async def read(self, run: str) -> list[Event]:
        return list(self._runs.get(run, ()))

    async def runs(
        self,
        *,
        status: Collection[str] = (),
        workflow: str = "",
        before: int | None = None,
        after: int | None = None,
        limit: int | None = None,
        pruned: bool = False,
    ) -> list[RunRow]:
        rows = list(self._pruned.values()) if pruned else [await self._row(run) for run in self._runs]
        rows = [
            row
            for row in reversed(rows)
            if (not status or row.status in status)
            and workflow in ("", row.workflow)
            and (before is None or row.updated < before)
            and (after is None or row.updated >= after)
        ]
        return sorted(rows, key=lambda row: row.started, reverse=True)[:limit]

    async def _row(self, run: str) -> RunRow:
        events = self._runs[run]
        first, last = events[0], events[-1]
        return RunRow(
            run=run,
            workflow=first.workflow if isinstance(first, RunStarted) else "",
            status=status_of(said_by(last), driven=await self.holder(run) is not None),
            started=first.at,
            updated=last.at,
            events=len(events),
            head=await self.head(run),
        )

    async def head(self, run: str) -> str:
        return (await self.head_later(run))()

    async def head_later(self, run: str) -> Callable[[], str]:
        # Hashed when asked for: a run that nobody audits does not pay for it.
        events = self._runs.get(run, [])
        count = len(events)
        return lambda: "".join(hash_.hex() for hash_ in hashes_of(events[:count])[-1:])

    async def trail(self, run: str) -> Trail | None:
        if (row := self._pruned.get(run)) is not None:
            return Trail(
                run=run,
                workflow=row.workflow,
                count=row.events,
                head=bytes.fromhex(row.head),
                rows=(),
                is_pruned=True,
            )

        events = self._runs.get(run)
        if not events:
            return None

        hashes = hashes_of(events)
        rows = [
            Kept(seq=event.seq, at=event.at, type=event.type, data=canonical(event), hash=hash_)
            for event, hash_ in zip(events, hashes, strict=True)
        ]
        first = events[0]
        workflow = first.workflow if isinstance(first, RunStarted) else ""
        return Trail(run=run, workflow=workflow, count=len(rows), head=hashes[-1], rows=rows)

    async def claim(self, run: str, owner: str, until: int) -> Lease | None:
        self._refuse_pruned(run)
        known = await self.holder(run)
        if known is not None and known.owner != owner:
            return known

        self._leases[run] = Lease(run=run, owner=owner, until=until)
        return None

    async def renew(self, leases: Sequence[tuple[str, str]], until: int) -> list[Lease]:
        lost: list[Lease] = []
        for run, owner in leases:
            known = self._leases.get(run)
            if known is not None and known.owner == owner:
                self._leases[run] = replace(known, until=until)
            elif (holder := await self.claim(run, owner, until)) is not None:
                lost.append(holder)

        return lost

    async def release(self, run: str, owner: str) -> None:
        if run in self._leases and self._leases[run].owner == owner:
            del self._leases[run]

    async def holder(self, run: str) -> Lease | None:
        known = self._leases.get(run)
        return known if known is not None and known.is_live() else None

    async def send(self, run: str, body: Any) -> int:
        self._refuse_pruned(run)
        self._sent += 1
        # As in a file: what is read is data, not the object that was sent.
        request = Request(id=self._sent, run=run, at=time.time_ns(), body=json.loads(json.dumps(body)))
        self._requests.setdefault(run, []).append(request)
        return self._sent

    async def requested(self) -> Collection[str]:
        return self._requests.keys()

    async def requests(self, run: str) -> list[Request]:
        return list(self._requests.get(run, ()))

    async def take(self, run: str, request: int) -> bool:
        known = self._requests.get(run, [])
        left = [one for one in known if one.id != request]
        if left:
            self._requests[run] = left
        else:
            self._requests.pop(run, None)

        return len(left) < len(known)

    async def deliveries(self, place: str, run: str = "") -> list[Delivered]:
        known = [d for d in self._delivered.values() if d.place == place and d.run in self._runs]
        return [d for d in known if d.run == run or (not run and d.upto < len(self._runs[d.run]))]

    async def note_delivery(self, delivered: Delivered) -> None:
        before = self._delivered.get((delivered.run, delivered.place), delivered)
        upto = max(before.upto, delivered.upto)
        self._delivered[delivered.run, delivered.place] = replace(delivered, upto=upto)

    async def prune(self, runs: Sequence[str]) -> Pruned:
        known = [run for run in dict.fromkeys(runs) if run in self._runs]
        for run in known:
            if (lease := await self.holder(run)) is not None:
                raise is_driven(run, lease.owner)

        rows = [await self._row(run) for run in known]
        size = sum(len(encode(event)) for run in known for event in self._runs[run])
        for row in rows:
            self._pruned[row.run] = row
            for kept in (self._runs, self._leases, self._requests):
                kept.pop(row.run, None)

        return Pruned(runs=len(rows), events=sum(row.events for row in rows), bytes=size)

    async def close(self) -> None:
        self._runs.clear()
