"""What a SQLite journal holds of a run, as it stands there: for who is to say whether it is what was written."""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from agentflow.encoding import opening
from agentflow.journal import MARK, Kept, Trail, digest_of, listing

_STAND_IN = re.compile(rb'"' + re.escape(MARK).encode() + rb'":"(sha256:[0-9a-f]{64})"')


def chain_of_row(data: Any) -> int:
    """How the hashes of a run are chained, as the row of its first event says; a damaged row says 1, and fails to be read."""
    try:
        chain = json.loads(data).get("chain", 1)
    except (ValueError, TypeError, AttributeError):
        return 1

    return chain if isinstance(chain, int) else 1


def shortened(type_: str, at: int, seq: int, raw: bytes) -> bytes:
    """The JSON of an event without what stands in columns beside it."""
    return raw.removeprefix(opening(type_, at, seq))


def whole(type_: Any, at: Any, seq: Any, data: Any) -> Any:
    """The JSON of an event from its row; up to format 3 it was kept whole. What is damaged stays what it is."""
    is_short = isinstance(data, bytes) and data[:1] in (b",", b"}")
    return opening(type_, at, seq) + data if is_short else data


def trail_of(db: sqlite3.Connection, run: str) -> Trail | None:
    """All that is kept of a run, unchecked, within the transaction of the caller; None where it is not there."""
    row = _row_by_index(db, run)
    if row is None and (pruned := _pruned(db, run)) is not None:
        return pruned

    # The sign keeps SQLite from its index: a run that this does not find may be there.
    row = row or db.execute(f"{_ROW} +run = ?", (run,)).fetchone()
    if row is None:
        return None

    rows = [_kept(*found) for found in db.execute(ROWS, (row[-1],))]
    notes = () if listing.is_sound(tuple(row[:-1])) else (f"the row of run `{run}` is not what was written",)
    return Trail(
        run=run,
        workflow=str(row[1]),
        count=row[5] if isinstance(row[5], int) else 0,
        head=_bytes(row[6]),
        rows=rows,
        faults=_faults(db, rows),
        notes=notes,
    )


def _row_by_index(db: sqlite3.Connection, run: str) -> tuple[Any, ...] | None:
    """The row of a run, where an index finds one that is what was written: it may lead to another run's row."""
    row = None
    with suppress(sqlite3.DatabaseError):
        row = db.execute(f"{_ROW} run = ?", (run,)).fetchone()

    return row if row is not None and listing.is_sound(row[:-1]) else None


_ROW = f"select {listing.COLUMNS}, id from runs where"  # noqa: S608 - our own words only
ROWS = "select seq, at, type, data, hash from events where run = ? order by seq"


def _pruned(db: sqlite3.Connection, run: str) -> Trail | None:
    found = db.execute("select workflow, events, head from pruned where run = ?", (run,)).fetchone()
    if found is None:
        return None

    workflow, count, head = found
    return Trail(run=run, workflow=workflow, count=count, head=_bytes(head), rows=(), is_pruned=True)


def _kept(seq: Any, at: Any, type_: Any, data: Any, hash_: Any) -> Kept:
    # A damaged row may hold anything, text or nothing where bytes were: what it says is shown, and never fits.
    data = whole(type_, at, seq, data)
    is_bytes = isinstance(data, bytes)
    return Kept(
        seq=seq if isinstance(seq, int) else 0,
        at=at if isinstance(at, int) else 0,
        type=str(type_),
        data=data if is_bytes else str(data).encode(errors="replace"),
        hash=_bytes(hash_) if is_bytes else b"",
    )


def _bytes(value: Any) -> bytes:
    return value if isinstance(value, bytes) else b""


def _faults(db: sqlite3.Connection, rows: Sequence[Kept]) -> dict[str, str]:
    """The payloads of events that are not there, or not what was written; read one by one, as they may be large."""
    faults: dict[str, str] = {}
    for digest in dict.fromkeys(d.decode() for row in rows for d in _STAND_IN.findall(row.data)):
        found = db.execute("select data from payloads where digest = ?", (digest,)).fetchone()
        if found is None:
            faults[digest] = "missing"
        elif not isinstance(found[0], bytes) or digest_of(found[0]) != digest:
            faults[digest] = "altered"

    return faults
