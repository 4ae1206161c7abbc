"""Taking old runs out of a SQLite journal, and giving the room back."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Sequence
from contextlib import suppress

from agentflow.journal import Pruned
from agentflow.journal.database import Database
from agentflow.journal.deliveries import forget
from agentflow.journal.desk import Desk
from agentflow.journal.listing import COLUMNS
from agentflow.journal.refusals import is_driven


def prune(file: Database, desk: Desk, runs: Sequence[str]) -> Pruned:
    """Take out each run in a transaction of its own, once none of them is driven; then shrink the file."""
    names = list(dict.fromkeys(runs))
    with file.snapshot():
        for run in names:
            _refuse_driven(desk, run)

    counts = [_prune_one(file, desk, run) for run in names]
    if any(runs for runs, _, _ in counts):
        _shrink(file.connection)

    return Pruned(
        runs=sum(runs for runs, _, _ in counts),
        events=sum(events for _, events, _ in counts),
        bytes=sum(size for _, _, size in counts),
    )


def _refuse_driven(desk: Desk, run: str) -> None:
    if (lease := desk.holder_in_transaction(run)) is not None:
        raise is_driven(run, lease.owner)


def _prune_one(file: Database, desk: Desk, run: str) -> tuple[int, int, int]:
    """Gives the number of runs, of events, and of bytes that went."""
    db = file.connection
    with file.transaction():
        _refuse_driven(desk, run)
        row = db.execute("select id from runs where run = ?", (run,)).fetchone()
        if row is None:
            return 0, 0, 0

        events, size = _drop_events(db, row[0])
        size += _drop_payloads(db, row[0])
        desk.forget(run)
        forget(file, run)
        db.execute(
            f"insert into pruned ({COLUMNS}, rested, pruned_at) select {COLUMNS}, rested, ? from runs where id = ?",  # noqa: S608
            (time.time_ns(), row[0]),
        )
        db.execute("delete from runs where id = ?", (row[0],))

    return 1, events, size


def _drop_events(db: sqlite3.Connection, run: int) -> tuple[int, int]:
    query = "select count(*), coalesce(sum(length(data)), 0) from events where run = ?"
    events, size = db.execute(query, (run,)).fetchone()
    db.execute("delete from events where run = ?", (run,))
    return events, size


def _drop_payloads(db: sqlite3.Connection, run: int) -> int:
    """Drop the payloads that this run alone uses."""
    own = """digest in (select digest from uses as mine where run = ?
        and not exists (select 1 from uses as others where others.digest = mine.digest and others.run <> mine.run))"""
    query = f"select coalesce(sum(length(data)), 0) from payloads where {own}"  # noqa: S608
    size = db.execute(query, (run,)).fetchone()[0]
    db.execute(f"delete from payloads where {own}", (run,))  # noqa: S608
    db.execute("delete from uses where run = ?", (run,))
    return int(size)


def _shrink(db: sqlite3.Connection) -> None:
    # The runs are out whatever comes of this: what is not given back now, as others read or the disk is full,
    # is used for new events.
    with suppress(sqlite3.OperationalError):
        if db.execute("pragma auto_vacuum").fetchone()[0] == 0:
            # A file of format 1 is written anew, once; from then on only what was freed is moved, not the whole file.
            db.execute("pragma auto_vacuum=incremental")
            db.execute("vacuum")
        else:
            # `execute` would stop after the first page, as after the first row of an insert.
            db.executescript("pragma incremental_vacuum")

        db.execute("pragma wal_checkpoint(truncate)").fetchall()
