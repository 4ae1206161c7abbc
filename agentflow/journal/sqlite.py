"""A journal in one SQLite file: JSON rows, each chained by hash to the one before."""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

from agentflow.encoding import chain_of, chained, decode, encode, linked, seal
from agentflow.events import Event, RunStarted
from agentflow.exceptions import JournalDamaged
from agentflow.journal import (
    MARK,
    Delivered,
    Lease,
    Pruned,
    Request,
    RunRow,
    Trail,
    digest_of,
    listing,
    said_by,
    stand_in,
)
from agentflow.journal.database import Database
from agentflow.journal.deliveries import deliveries_to, goes_on, noted
from agentflow.journal.desk import Desk
from agentflow.journal.pruning import prune
from agentflow.journal.reading import ROWS, chain_of_row, shortened, trail_of, whole
from agentflow.journal.refusals import continued_elsewhere, was_pruned
from agentflow.journal.schema import GOING
from agentflow.journal.schema import seal as seal_of_row
from agentflow.journal.skimming import Skimmed, skim


@dataclass(slots=True, kw_only=True)
class _Known:
    """The row of a run, as it was when we wrote or read it last."""

    id: int
    workflow: str
    started: int
    status: str
    seq: int
    head: bytes
    chain: int


class SqliteJournal:
    """Events in SQLite with a write-ahead log.

    `synchronous` NORMAL survives a crash of the process; FULL also a power cut, at the price of an fsync a commit.
    With `read_only` nothing is written, no file is made, and a file that is not there is an empty journal.
    """

    is_immediate = True

    def __init__(
        self,
        path: Path | str,
        *,
        synchronous: Literal["NORMAL", "FULL"] = "NORMAL",
        read_only: bool = False,
    ) -> None:
        self.path = Path(path)
        self._known: dict[str, _Known] = {}
        self._file = Database(self.path, synchronous, read_only=read_only)
        self._desk = Desk(self._file)

    @property
    def _db(self) -> sqlite3.Connection:
        return self._file.connection

    async def append(self, run: str, events: Sequence[Event], *, durable: bool = False) -> None:
        if not events:
            return

        kept: dict[str, bytes] = {}
        raws = [encode(event, lambda payload: _apart(kept, payload)) for event in events]
        # Known again only once it is written: after an error the file is asked anew.
        known = self._known.pop(run, None)
        word = said_by(events[-1])
        is_longer = kept or durable or len(events) > 2
        if known is None or is_longer or word != known.status or word not in GOING:
            with self._file.transaction(durable=durable):
                known = known or self._find(run, events[0])
                if known.status not in GOING:
                    goes_on(self._db, run)

                self._add(run, known, events, raws, word)
                self._keep(known.id, kept)
        else:
            # The path of most appends: a lone statement is a transaction of its own, and needs no context either.
            try:
                self._add(run, known, events, raws, word)
            except sqlite3.Error as error:
                raise self._file.refusal(error) from None

        self._known[run] = known

    def _add(
        self, run: str, known: _Known, events: Sequence[Event], raws: Sequence[bytes], word: str
    ) -> None:
        """Insert events, and bring the row of their run up to the last of them; nobody else may have done so."""
        first, last = events[0], events[-1]
        if first.seq != known.seq + 1:
            self._refuse_pruned(run)
            raise continued_elsewhere(run, known.seq, first.seq)

        hashes = self._linked(known, events, raws)
        raws = [shortened(e.type, e.at, e.seq, raw) for e, raw in zip(events, raws, strict=True)]
        head = hashes[-1]
        sum_ = seal_of_row(run, known.workflow, word, known.started, last.at, last.seq, head)
        try:
            self._insert(known.id, events, raws, hashes, sum_)
        except sqlite3.IntegrityError:
            self._refuse_pruned(run)
            raise

        if word != known.status or word not in GOING:
            # Apart, as these alone are in indexes, which would be written with every event.
            rested = None if word in GOING else last.at
            self._db.execute("update runs set status = ?, rested = ? where id = ?", (word, rested, known.id))

        known.seq, known.head, known.status = last.seq, head, word

    def _linked(self, known: _Known, events: Sequence[Event], raws: Sequence[bytes]) -> list[bytes]:
        head, hashes = known.head, list[bytes]()
        for event, raw in zip(events, raws, strict=True):
            digest = hashlib.sha256(raw).digest()
            seal(event, digest)
            head = linked(head, digest) if known.chain > 1 else chained(head, raw)
            hashes.append(head)

        return hashes

    def _insert(
        self, id_: int, events: Sequence[Event], raws: Sequence[bytes], hashes: Sequence[bytes], sum_: int
    ) -> None:
        first, last = events[0], events[-1]
        if len(events) == 1:
            row = (id_, first.seq, first.at, first.type, raws[0], hashes[0], sum_)
            self._db.execute("insert into appended values (?,?,?,?,?,?,?)", row)
        elif len(events) == 2:
            told = (first.at, first.type, raws[0], hashes[0], last.at, last.type, raws[1], hashes[1])
            self._db.execute(
                "insert into appended_pair values (?,?,?,?,?,?,?,?,?,?,?)", (id_, first.seq, *told, sum_)
            )
        else:
            rows = [(id_, e.seq, e.at, e.type, *kept) for e, *kept in zip(events, raws, hashes, strict=True)]
            self._db.executemany("insert into events values (?,?,?,?,?,?)", rows)
            end = (last.at, last.seq, hashes[-1], sum_, id_, first.seq - 1)
            if self._db.execute(_MOVE, end).rowcount == 0:
                raise sqlite3.IntegrityError("the run is not what it was")

    def _refuse_pruned(self, run: str) -> None:
        if self._db.execute("select 1 from pruned where run = ?", (run,)).fetchone():
            raise was_pruned(run)

    def _find(self, run: str, first: Event) -> _Known:
        found = self._row(run)
        if found is not None:
            return found

        self._refuse_pruned(run)
        workflow = first.workflow if isinstance(first, RunStarted) else ""
        row = self._db.execute(
            "insert into runs (run, workflow, status, started, updated, events, head, seal) values (?,?,?,?,?,?,?,?)",
            (run, workflow, "open", first.at, first.at, 0, b"", 0),
        )
        id_ = cast("int", row.lastrowid)
        return _Known(
            id=id_, workflow=workflow, started=first.at, status="open", seq=0, head=b"", chain=chain_of(first)
        )

    def _row(self, run: str) -> _Known | None:
        row = self._db.execute(f"select {listing.COLUMNS}, id from runs where run = ?", (run,)).fetchone()  # noqa: S608
        if row is None:
            return None

        self._check_row(row, run)
        _, workflow, status, started, _, seq, head, _, id_ = row
        first = self._db.execute(_FIRST, (id_,)).fetchone()
        chain = chain_of_row(whole(*first) if first is not None else b"")
        return _Known(
            id=id_, workflow=workflow, started=started, status=status, seq=seq, head=head, chain=chain
        )

    def _check_row(self, row: Sequence[Any], run: str | None = None) -> None:
        if not listing.is_sound(tuple(row)) or run not in (None, row[0]):
            raise self._file.damaged(f"the row of run `{row[0]}` is not what was written")

    def _row_if_any(self, run: str) -> _Known | None:
        """The row of a run, where one that is not found is surely not there: an index may be damaged, or a row."""
        found = self._row(run)
        if found is None:
            # The sign keeps SQLite from its index.
            for row in self._db.execute(f"select {listing.COLUMNS}, +run = ? from runs", (run,)):  # noqa: S608
                self._check_row(row)
                if row[-1]:
                    raise self._file.damaged(f"run `{run}` is there, but not in the index")

        return found

    def _keep(self, run: int, payloads: Mapping[str, bytes]) -> None:
        for digest, raw in payloads.items():
            self._db.execute("insert or ignore into payloads values (?,?)", (digest, raw))
            self._db.execute("insert or ignore into uses values (?,?)", (run, digest))

    def _load(self, value: Any) -> bytes | None:
        if not isinstance(value, dict) or MARK not in value:
            return None

        digest = cast("dict[str, Any]", value)[MARK]
        row = self._db.execute("select data from payloads where digest = ?", (digest,)).fetchone()
        if row is None:
            raise JournalDamaged(f"the payload {digest} is missing from the journal {self.path}")

        if not isinstance(row[0], bytes) or digest_of(row[0]) != digest:
            raise JournalDamaged(f"the payload {digest} is not what was written")

        return row[0]

    async def read(self, run: str) -> list[Event]:
        with self._file.snapshot():
            known = self._row_if_any(run)
            if known is None:
                return []

            kept = self._db.execute(ROWS, (known.id,))
            rows = [(seq, whole(type_, at, seq, data), hash_) for seq, at, type_, data, hash_ in kept]
            self._check_chain(run, rows, known)
            return [self._event(run, seq, data) for seq, data, _ in rows]

    def _check_chain(self, run: str, rows: Sequence[tuple[Any, ...]], known: _Known) -> None:
        """Refuse events that are not what was appended: altered, missing or reordered ones break the chain."""
        head = b""
        for number, (seq, data, kept) in enumerate(rows, 1):
            # A damaged row may hold anything, text or nothing where bytes were.
            head = chained(head, data, known.chain) if isinstance(data, bytes) else b""
            if seq != number or head != kept:
                raise JournalDamaged(
                    f"event {number} of run `{run}` in {self.path} is not what was written: the chain of hashes breaks there",
                    hint="restore the journal from a copy; nothing of this run can be trusted from that event on",
                )

        if (len(rows), head) != (known.seq, known.head):
            raise JournalDamaged(
                f"run `{run}` in {self.path} has {known.seq} events, but {len(rows)} are there",
                hint="restore the journal from a copy; the end of this run is lost",
            )

    def _event(self, run: str, seq: int, data: bytes) -> Event:
        try:
            event = decode(data, self._load)
        except JournalDamaged as error:
            raise JournalDamaged(f"event {seq} of run `{run}` in {self.path}: {error}") from None

        seal(event, hashlib.sha256(data).digest())
        return event

    async def trail(self, run: str) -> Trail | None:
        with self._file.snapshot():
            return trail_of(self._db, run)

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
        wanted = listing.Wanted(
            status=status, workflow=workflow, before=before, after=after, limit=limit, pruned=pruned
        )
        with self._file.snapshot():
            return listing.select(
                self._db, wanted, is_driven=self._desk.driven(), has_indexes=self._file.is_current
            )

    def skim(self, runs: Sequence[str]) -> Iterator[Skimmed]:
        """The steps and operations of runs in short, for figures over many of them; nothing is checked or decoded."""
        with self._file.snapshot():
            yield from skim(self._db, runs)

    async def head_later(self, run: str) -> Callable[[], str]:
        known = self._known.get(run)
        head = known.head.hex() if known is not None else await self.head(run)
        return lambda: head

    async def head(self, run: str) -> str:
        with self._file.snapshot():
            known = self._row_if_any(run)
            if known is None:
                return ""

            self._check_last(run, known)
            return known.head.hex()

    def _check_last(self, run: str, known: _Known) -> None:
        query = "select seq, hash from events where run = ? order by seq desc limit 1"
        last = self._db.execute(query, (known.id,)).fetchone()
        if last != (known.seq, known.head):
            there = 0 if last is None else last[0]
            raise JournalDamaged(
                f"run `{run}` in {self.path} has {known.seq} events, but the last that is there is event {there}",
                hint="restore the journal from a copy; the end of this run is lost",
            )

    async def claim(self, run: str, owner: str, until: int) -> Lease | None:
        return self._desk.claim(run, owner, until)

    async def renew(self, leases: Sequence[tuple[str, str]], until: int) -> list[Lease]:
        return self._desk.renew(leases, until)

    async def release(self, run: str, owner: str) -> None:
        self._desk.release(run, owner)

    async def holder(self, run: str) -> Lease | None:
        return self._desk.holder(run)

    async def send(self, run: str, body: Any) -> int:
        return self._desk.send(run, body)

    async def requested(self) -> Collection[str]:
        return self._desk.requested()

    async def requests(self, run: str) -> list[Request]:
        return self._desk.requests(run)

    async def take(self, run: str, request: int) -> bool:
        return self._desk.take(run, request)

    async def deliveries(self, place: str, run: str = "") -> list[Delivered]:
        return deliveries_to(self._file, place, run)

    async def note_delivery(self, delivered: Delivered) -> None:
        noted(self._file, delivered)

    async def prune(self, runs: Sequence[str]) -> Pruned:
        self._known.clear()
        return prune(self._file, self._desk, runs)

    async def close(self) -> None:
        self._file.close()


_FIRST = "select type, at, seq, data from events where run = ? and seq = 1"
_MOVE = "update runs set updated = ?, events = ?, head = ?, seal = ? where id = ? and events = ?"


def _apart(kept: dict[str, bytes], raw: bytes) -> bytes:
    """What stands in an event for a payload, which is put into `kept` where it is to be stored beside."""
    short = stand_in(raw)
    if short is not raw:
        kept[json.loads(short)[MARK]] = raw

    return short
