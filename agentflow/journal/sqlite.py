"""A journal in one SQLite file: JSON rows, each chained by hash to the one before."""

from __future__ import annotations

import hashlib
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
from agentflow.journal import RunRow, status_of

SCHEMA = 1
# Larger payloads are stored once under their digest; below it, a second row costs more than the bytes it saves.
INLINE = 8192
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
            self._db.execute("pragma journal_mode=wal")
            self._db.execute(f"pragma synchronous={synchronous}")
            self._migrate()

    def _migrate(self) -> None:
        version = self._db.execute("pragma user_version").fetchone()[0]
        if version > SCHEMA:
            raise JournalVersion(
                f"the journal {self.path} has format {version}; this agentflow reads up to {SCHEMA}",
                hint="upgrade agentflow, or use another journal",
            )

        if version == 0:
            with self._transaction():
                if self._db.execute("pragma user_version").fetchone()[0] == 0:
                    for statement in filter(str.strip, _TABLES.split(";")):
                        self._db.execute(statement)

                    self._db.execute(f"pragma user_version={SCHEMA}")

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
        with self._errors(), self._transaction():
            seq, head = self._known(run, events[0])
            if events[0].seq != seq + 1:
                raise JournalConflict(
                    f"run `{run}` was continued elsewhere: event {events[0].seq} is there already"
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

        if isinstance(first, RunStarted):
            row = self._db.execute(
                "insert into runs (run, workflow, started) values (?,?,?)", (run, first.workflow, first.at)
            )
            self._ids[run] = cast("int", row.lastrowid)
            return 0, b""

        return self._last(run)

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
        if len(raw) <= INLINE:
            return raw

        digest = "sha256:" + hashlib.sha256(raw).hexdigest()
        self._db.execute("insert or ignore into payloads values (?,?)", (digest, raw))
        return json.dumps({"$payload": digest, "size": len(raw)}, separators=(",", ":")).encode()

    def _load(self, value: Any) -> bytes | None:
        if not isinstance(value, dict) or "$payload" not in value:
            return None

        digest = cast("dict[str, Any]", value)["$payload"]
        row = self._db.execute("select data from payloads where digest = ?", (digest,)).fetchone()
        if row is None:
            raise JournalDamaged(f"the payload {digest} is missing from the journal {self.path}")

        return cast("bytes", row[0])

    async def read(self, run: str) -> list[Event]:
        with self._errors():
            rows = self._db.execute(
                "select data from events where run = (select id from runs where run = ?) order by seq", (run,)
            ).fetchall()
            return [decode(row[0], self._load) for row in rows]

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
