"""Where a run's events are kept: append-only, in order, one writer a run."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from agentflow.encoding import chain_of, chained, encode, linked, seal, seal_of
from agentflow.events import Event, RunFailed
from agentflow.journal.owner import is_gone

# Larger payloads are stored once under their digest; below it, a second row costs more than the bytes it saves.
INLINE = 8192
MARK = "$payload"
# The status of a run whose record is not what was written.
DAMAGED = "damaged"
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """Who drives a run, and until when (nanoseconds since the epoch) without a sign of life."""

    run: str
    owner: str
    until: int

    def is_live(self) -> bool:
        """Whether its time is not over, and its owner not surely dead."""
        return self.until > time.time_ns() and not is_gone(self.owner)


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What another process asks of the one that drives the run; `body` is plain JSON data."""

    id: int
    run: str
    at: int
    body: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Pruned:
    """What was taken out of a journal; `bytes` counts those of events and payloads."""

    runs: int
    events: int
    bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """An event as a journal keeps it, unread: `data` is its canonical JSON, `hash` what was chained of it."""

    seq: int
    at: int
    type: str
    data: bytes
    hash: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Trail:
    """All that a journal keeps of a run, unread and unchecked, for who is to say whether it is what was written.

    `count` and `head` are what is kept of its end, apart from the events. `faults` says what is wrong with payloads, by
    digest: `missing` or `altered`. `notes` says what else is not as it was written.
    """

    run: str
    workflow: str
    count: int
    head: bytes
    rows: Sequence[Kept]
    faults: Mapping[str, str] = field(default_factory=dict[str, str])
    notes: Sequence[str] = ()
    is_pruned: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivered:
    """How far the spans of a run were taken by a collector: all those that ended with its first `upto` events.

    `place` names the collector; `manner` says how they were told, so that they are told the same way again.
    """

    run: str
    place: str
    upto: int
    manner: Mapping[str, Any] = field(default_factory=dict[str, Any])


class Journal(Protocol):
    """A store of events, of who drives each run, and of what that one is asked to do.

    One whose `append` never waits for the event loop may say so by an attribute `is_immediate = True`; appends of others are
    kept from being cancelled, at the price of a task for each. One that need not look for a head at the end of each run may
    have `async head_later(run)`, which gives a function that says it, of the events there are now.
    """

    async def append(self, run: str, events: Sequence[Event], *, durable: bool = False) -> None:
        """Add events, whose `seq` continue the run's, all or none; raises `JournalConflict` where another process did.

        They survive the process when it returns; with `durable` also a power cut.
        """
        ...

    async def read(self, run: str) -> list[Event]:
        """All events of a run in order; empty for a run that is not there, or was pruned."""
        ...

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
        """Runs, the newest first: those of a status, of a workflow, and with `after` <= `updated` < `before`.

        With `pruned`, those whose events were taken out, as they were last.
        """
        ...

    async def head(self, run: str) -> str:
        """The hash of the run's last event, which stands for all of them; empty for a run that is not there."""
        ...

    async def trail(self, run: str) -> Trail | None:
        """What is kept of a run, unread; None for a run that is not there. It never refuses a run that was altered."""
        ...

    async def claim(self, run: str, owner: str, until: int) -> Lease | None:
        """Take or renew the lease of a run: None where it is ours now, else the live lease that is in the way."""
        ...

    async def renew(self, leases: Sequence[tuple[str, str]], until: int) -> list[Lease]:
        """Take or renew many leases, each a run and its owner; gives the live leases that are in the way."""
        ...

    async def release(self, run: str, owner: str) -> None:
        """Give a lease back; does nothing where it is not ours."""
        ...

    async def holder(self, run: str) -> Lease | None:
        """The live lease of a run, if there is one."""
        ...

    async def send(self, run: str, body: Any) -> int:
        """Leave a request to the one that drives the run, or will; gives its id."""
        ...

    async def requested(self) -> Collection[str]:
        """The runs that have requests; costs next to nothing where nothing has changed."""
        ...

    async def requests(self, run: str) -> list[Request]:
        """The requests to a run, the oldest first; costs next to nothing where nothing has changed."""
        ...

    async def take(self, run: str, request: int) -> bool:
        """Remove a request that was acted on; False where it was gone already."""
        ...

    async def deliveries(self, place: str, run: str = "") -> list[Delivered]:
        """How far runs were delivered to a place, of which it has not all yet; the oldest first. Or how far `run` was, if it was."""
        ...

    async def note_delivery(self, delivered: Delivered) -> None:
        """Keep how far a run was delivered; what went further before stays so."""
        ...

    async def prune(self, runs: Sequence[str]) -> Pruned:
        """Take out the events of runs, each with the payloads that no other run uses; their rows stay, as `pruned`.

        Runs that are not there are passed over; raises `JournalConflict` where one has a live lease.
        """
        ...

    async def close(self) -> None: ...


def stand_in(raw: bytes) -> bytes:
    """What stands for a payload in its event: itself, or its digest where it is large or could be taken for one."""
    if len(raw) <= INLINE and _MARK not in raw:
        return raw

    return json.dumps({MARK: digest_of(raw), "size": len(raw)}, separators=(",", ":")).encode()


def digest_of(raw: bytes) -> str:
    """The name of a payload that is kept beside its events."""
    return "sha256:" + hashlib.sha256(raw).hexdigest()


def canonical(event: Event) -> bytes:
    """The bytes of an event that are chained by hash: the same in every journal."""
    return encode(event, stand_in)


def digest_of_event(event: Event) -> bytes:
    """The SHA-256 of an event's canonical JSON, as it was when it was first written or asked for."""
    known = seal_of(event)
    if not known:
        known = hashlib.sha256(canonical(event)).digest()
        seal(event, known)

    return known


def hash_after(previous: bytes, event: Event, chain: int) -> bytes:
    """The hash that stands for all events up to this one, from that of the one before."""
    if chain == 1:
        return chained(previous, canonical(event))

    return linked(previous, digest_of_event(event))


def hashes_of(events: Sequence[Event]) -> list[bytes]:
    """The hash of each event of a run."""
    chain = chain_of(events[0]) if events else 1
    hashes: list[bytes] = []
    for event in events:
        hashes.append(hash_after(hashes[-1] if hashes else b"", event, chain))

    return hashes


# `asked` is kept beside `waiting`: version 0.1.0 said nothing more when it stopped at a question.
_LAST = {
    "run.finished": "done",
    "run.failed": "failed",
    "run.cancelled": "cancelled",
    "run.interrupted": "interrupted",
    "run.paused": "waiting",
    "approval.asked": "asked",
}


def said(last: str, error: str = "") -> str:
    """What the type of the last event, and the kind of its error, say of a run: its status, but for who drives it."""
    return "rejected" if error == "RunRejected" else _LAST.get(last, "open")


def said_by(last: Event) -> str:
    """What the last event says of a run."""
    return said(last.type, last.error.kind if isinstance(last, RunFailed) else "")


def status_of(word: str, *, driven: bool) -> str:
    """The status of a run: `running` or `open` (cut off with its process) where its last event says neither."""
    if word not in ("open", "asked"):
        return word

    return "running" if driven else {"open": "open", "asked": "waiting"}[word]
