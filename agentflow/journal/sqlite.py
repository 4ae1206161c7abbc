"""A journal in one SQLite file: JSON rows, each chained by hash to the one before."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, cast

from agentflow.events import Event, RunStarted, chained, decode, encode
from agentflow.exceptions import (
    JournalConflict,
    JournalDamaged,
    JournalError,
    JournalUnwritable,
    JournalVersion,
)
from agentflow.journal import MARK, RunRow, stand_in, status_of

SCHEMA = 1
_TABLES = """
create table runs (id integer primary key, run text not null unique, workflow text not null, started integer not null);
create table events (run integer not null, seq integer not null, at integer not null, type text not null,
  data blob not null, hash blob not null, primary key (run, seq)) without rowid;
create table payloads (digest text primary key, data blob not null) without rowid;
"""


class SqliteJournal:
    """Events in SQLite with a write-ahead log.

    `synchronous` NORMAL survives a crash of the process; FULL also a power cut, at the price of an fsync a commit.
    """

    def __init__(self, path: Path | str, *, synchronous: Literal["NORMAL", "FULL"] = "NORMAL") -> None:
        self.path = Path(path)
        self._ids: dict[str, int] = {}
        self._heads: dict[str, tuple[int, bytes]] = {}
        with self._errors():
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._db = sqlite3.connect(self.path, isolation_level=None, check_same_thread=False, timeout=10)
            try:
                self._open(synchronous)
            except BaseException:
                self._db.close()
                raise

    def _open(self, synchronous: str) -> None:
        # Before anything is written: the file may be of a newer format, or not a journal at all.
        self._refuse_others()
        self._db.execute("pragma journal_mode=wal")
        self._db.execute(f"pragma synchronous={synchronous}")
        if self._version() == 0:
            with self._transaction():
                if self._version() == 0:
                    for statement in filter(str.strip, _TABLES.split(";")):
                        self._db.execute(statement)

                    self._db.execute(f"pragma user_version={SCHEMA}")

    def _version(self) -> int:
        return int(self._db.execute("pragma user_version").fetchone()[0])

    def _refuse_others(self) -> None:
        version = self._version()
        if version > SCHEMA:
            raise JournalVersion(
                f"the journal {self.path} has format {version}; this agentflow reads up to {SCHEMA}",
                hint="upgrade agentflow, or use another journal",
            )

        # In one statement with the version, as another process may be making the tables at this moment.
        query = "select count(*) from pragma_user_version, sqlite_master where user_version = 0"
        if self._db.execute(query).fetchone()[0]:
            raise JournalDamaged(
                f"{self.path} is a database, but not a journal of agentflow",
                hint="choose another file with AGENTFLOW_JOURNAL=sqlite:///path",
            )

    @contextmanager
    def _transaction(self) -> Generator[None, None, None]:
        self._db.execute("begin immediate")
        try:
            yield
        except BaseException:
            if self._db.in_transaction:
                self._db.execute("rollback")

            raise
        self._db.execute("commit")

    @contextmanager
    def _errors(self) -> Generator[None, None, None]:
        try:
            yield
        except sqlite3.IntegrityError:
            raise JournalConflict(
                "another process has continued this run; this one stopped before it did anything twice"
            ) from None
        except sqlite3.OperationalError as error:
            raise self._unwritable(error) from None
        except sqlite3.ProgrammingError as error:
            raise JournalError(f"the journal {self.path} cannot be used: {error}") from None
        except sqlite3.DatabaseError as error:
            raise JournalDamaged(
                f"the journal {self.path} is damaged: {error}",
                hint="restore it from a copy, or choose another with AGENTFLOW_JOURNAL=sqlite:///path",
            ) from None
        except OSError as error:
            raise self._unwritable(error) from None

    def _unwritable(self, error: Exception) -> JournalError:
        text = str(error)
        hint = "choose another with AGENTFLOW_JOURNAL=sqlite:///path"
        if "full" in text:
            hint = f"free some space, then resume the run; or {hint}"
        elif "readonly" in text or "unable to open" in text or isinstance(error, OSError):
            hint = f"make {self.path.parent} and the file writable, then resume the run; or {hint}"
        elif "locked" in text:
            hint = "another process holds it; try again"

        return JournalUnwritable(f"the journal {self.path} cannot be written: {text}", hint=hint)

    async def append(self, run: str, events: Sequence[Event]) -> None:
        if not events:
            return

        with self._errors(), self._transaction():
            seq, head = self._known(run, events[0])
            if events[0].seq != seq + 1:
                raise JournalConflict(
                    f"run `{run}` was continued elsewhere: it has {seq} events, and event {events[0].seq} came"
                )

            rows: list[tuple[int, int, int, str, bytes, bytes]] = []
            for event in events:
                raw = encode(event, self._keep)
                head = chained(head, raw)
                rows.append((self._ids[run], event.seq, event.at, event.type, raw, head))

            self._db.executemany("insert into events values (?,?,?,?,?,?)", rows)

        self._heads[run] = (events[-1].seq, head)

    def _known(self, run: str, first: Event) -> tuple[int, bytes]:
        if run in self._heads:
            return self._heads[run]

        known = self._last(run)
        if known[0] == 0:
            workflow = first.workflow if isinstance(first, RunStarted) else ""
            row = self._db.execute(
                "insert into runs (run, workflow, started) values (?,?,?)", (run, workflow, first.at)
            )
            self._ids[run] = cast("int", row.lastrowid)

        return known

    def _last(self, run: str) -> tuple[int, bytes]:
        row = self._db.execute(
            "select id, seq, hash from runs join events on events.run = id where runs.run = ? order by seq desc limit 1",
            (run,),
        ).fetchone()
        if row is None:
            return 0, b""

        self._ids[run] = row[0]
        return row[1], row[2]

    def _keep(self, raw: bytes) -> bytes:
        short = stand_in(raw)
        if short is not raw:
            digest = json.loads(short)[MARK]
            self._db.execute("insert or ignore into payloads values (?,?)", (digest, raw))

        return short

    def _load(self, value: Any) -> bytes | None:
        if not isinstance(value, dict) or MARK not in value:
            return None

        digest = cast("dict[str, Any]", value)[MARK]
        row = self._db.execute("select data from payloads where digest = ?", (digest,)).fetchone()
        if row is None:
            raise JournalDamaged(f"the payload {digest} is missing from the journal {self.path}")

        return cast("bytes", row[0])

    async def read(self, run: str) -> list[Event]:
        with self._errors():
            rows = self._db.execute(
                "select seq, data, hash from events where run = (select id from runs where run = ?) order by seq",
                (run,),
            ).fetchall()
            self._check_chain(run, rows)
            return [self._event(run, seq, data) for seq, data, _ in rows]

    def _check_chain(self, run: str, rows: Sequence[tuple[int, bytes, bytes]]) -> None:
        """Refuse events that are not what was appended: altered, missing or reordered ones break the chain."""
        head = b""
        for number, (seq, data, kept) in enumerate(rows, 1):
            head = chained(head, data)
            if seq != number or head != kept:
                raise JournalDamaged(
                    f"event {number} of run `{run}` in {self.path} is not what was written: the chain of hashes breaks there",
                    hint="restore the journal from a copy; nothing of this run can be trusted from that event on",
                )

    def _event(self, run: str, seq: int, data: bytes) -> Event:
        try:
            return decode(data, self._load)
        except JournalDamaged as error:
            raise JournalDamaged(f"event {seq} of run `{run}` in {self.path}: {error}") from None

    async def runs(self) -> list[RunRow]:
        with self._errors():
            rows = self._db.execute(
                """select runs.run, workflow, started, last.at, last.seq, last.type, last.hash from runs
                join events as last on last.run = runs.id
                where last.seq = (select max(seq) from events where run = runs.id) order by started desc, id desc"""
            ).fetchall()

        return [
            RunRow(
                run=run,
                workflow=workflow,
                status=status_of(kind),
                started=started,
                updated=at,
                events=seq,
                head=head.hex(),
            )
            for run, workflow, started, at, seq, kind, head in rows
        ]

    async def head(self, run: str) -> str:
        with self._errors():
            return self._last(run)[1].hex()

    async def close(self) -> None:
        self._db.close()
