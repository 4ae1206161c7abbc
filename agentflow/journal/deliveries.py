"""How far the spans of each run were delivered, and where to: so that a collector that was down gets them later.

The table is made where the first delivery is noted. It follows from no event, and no event from it: a journal without it
is as whole, and older versions pass it over.
"""

from __future__ import annotations

import json

from agentflow.journal import Delivered
from agentflow.journal.database import Database

_TABLE = """create table if not exists deliveries (run text not null, place text not null, upto integer not null,
  manner text not null, primary key (run, place)) without rowid"""
# The events of a run only grow, so what was delivered once stays so, whoever notes it later.
_NOTED = """insert into deliveries values (?,?,?,?) on conflict do update set
  upto = max(upto, excluded.upto), manner = excluded.manner"""


def noted(file: Database, delivered: Delivered) -> None:
    """Note a delivery; an earlier one to the same place that went further stays."""
    manner = json.dumps(delivered.manner, sort_keys=True)
    with file.transaction():
        file.connection.execute(_TABLE)
        file.connection.execute(_NOTED, (delivered.run, delivered.place, delivered.upto, manner))


def deliveries_to(file: Database, place: str, run: str) -> list[Delivered]:
    """What was noted of a place: of `run`, else of those that it has not all of, the oldest first."""
    query = """select d.run, d.place, d.upto, d.manner from deliveries d join runs r on r.run = d.run
        where d.place = ? and (d.run = ? or (? = '' and d.upto < r.events)) order by r.started, d.run"""
    with file.snapshot():
        if not _is_there(file):
            return []

        rows = file.connection.execute(query, (place, run, run)).fetchall()

    return [
        Delivered(run=run, place=place, upto=upto, manner=json.loads(manner))
        for run, place, upto, manner in rows
    ]


def forget(file: Database, run: str) -> None:
    """Remove what was noted of a run, within the transaction of the caller."""
    if _is_there(file):
        file.connection.execute("delete from deliveries where run = ?", (run,))


def _is_there(file: Database) -> bool:
    query = "select 1 from sqlite_master where type = 'table' and name = 'deliveries'"
    return file.connection.execute(query).fetchone() is not None
