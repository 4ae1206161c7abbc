"""Where a run's events are kept: append-only, in order, one writer a run."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from agentflow.events import Event, encode

# Larger payloads are stored once under their digest; below it, a second row costs more than the bytes it saves.
INLINE = 8192
MARK = "$payload"
_MARK = MARK.encode()


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRow:
    """One run in a journal, in short; times are nanoseconds since the epoch."""

    run: str
    workflow: str
    status: str
    started: int
    updated: int
    events: int
    head: str


class Journal(Protocol):
    """A store of events. `append` is all or nothing and durable when it returns."""

    async def append(self, run: str, events: Sequence[Event]) -> None:
        """Add events, whose `seq` continue the run's; raises `JournalConflict` where another process did."""
        ...

    async def read(self, run: str) -> list[Event]:
        """All events of a run in order; empty for a run that is not there."""
        ...

    async def runs(self) -> list[RunRow]:
        """All runs, the newest first."""
        ...

    async def head(self, run: str) -> str:
        """The hash of the run's last event, which stands for all of them; empty for a run that is not there."""
        ...

    async def close(self) -> None: ...


def stand_in(raw: bytes) -> bytes:
    """What stands for a payload in its event: itself, or its digest where it is large or could be taken for one."""
    if len(raw) <= INLINE and _MARK not in raw:
        return raw

    digest = "sha256:" + hashlib.sha256(raw).hexdigest()
    return json.dumps({MARK: digest, "size": len(raw)}, separators=(",", ":")).encode()


def canonical(event: Event) -> bytes:
    """The bytes of an event that are chained by hash: the same in every journal."""
    return encode(event, stand_in)


LAST_STATUS = {
    "run.finished": "done",
    "run.failed": "failed",
    "run.cancelled": "cancelled",
    "run.interrupted": "interrupted",
    "approval.asked": "waiting",
    "timer.set": "waiting",
}


def status_of(last_event: str) -> str:
    """What the type of the last event says of a run; `open` is running somewhere, or cut off."""
    return LAST_STATUS.get(last_event, "open")
