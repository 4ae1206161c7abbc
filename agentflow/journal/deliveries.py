"""How far the spans of each run were delivered, and where to: so that a collector that was down gets them later.

It follows from no event, and no event from it: a journal without it is as whole. A file of an earlier format has the table
once something was delivered.
"""

from __future__ import annotations

import json
import sqlite3

from agentflow.journal import Delivered
from agentflow.journal.database import Database

# The events of a run only grow, so what was delivered once stays so, whoever notes it later.
_NOTED = """insert into deliveries values (?,?,?,?,1) on conflict do update set
  upto = max(upto, excluded.upto), manner = excluded.manner"""
# A run that is at rest is not looked at again until it goes on.
_OWED = """update deliveries set owed = not exists (select 1 from runs
    where runs.run = deliveries.run and events <= upto and rested is not null) where run = ? and place = ?"""
_FOUND = """select known.run, place, upto, manner from deliveries as known join runs on runs.run = known.run
  where place = ? and """


def noted(file: Database, delivered: Delivered) -> None:
    """Note a delivery; an earlier one to the same place that went further stays."""
    manner = json.dumps(delivered.manner, sort_keys=True)
    with file.transaction():
        file.connection.execute(_NOTED, (delivered.run, delivered.place, delivered.upto, manner))
        file.connection.execute(_OWED, (delivered.run, delivered.place))


def goes_on(db: sqlite3.Connection, run: str) -> None:
    """Note that a run has more events than when it was at rest, within the transaction of the caller."""
    db.execute("update deliveries set owed = 1 where run = ?", (run,))


def deliveries_to(file: Database, place: str, run: str) -> list[Delivered]:
    """What was noted of a place: of `run`, else of those that it has not all of, the oldest first."""
    with file.snapshot():
        if not _is_there(file):
            return []

        if run:
            rows = file.connection.execute(_FOUND + "known.run = ?", (place, run)).fetchall()
        else:
            owed = "owed and" if file.is_current else ""
            query = f"{_FOUND} {owed} upto < events order by started, known.run"
            rows = file.connection.execute(query, (place,)).fetchall()

    return [
        Delivered(run=run, place=place, upto=upto, manner=json.loads(manner))
        for run, place, upto, manner in rows
    ]


def forget(file: Database, run: str) -> None:
    """Remove what was noted of a run, within the transaction of the caller."""
    file.connection.execute("delete from deliveries where run = ?", (run,))


def _is_there(file: Database) -> bool:
    query = "select 1 from sqlite_master where type = 'table' and name = 'deliveries'"
    return file.connection.execute(query).fetchone() is not None
