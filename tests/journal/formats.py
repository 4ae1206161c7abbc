"""Files as earlier versions made them, from those of today."""

from __future__ import annotations

import sqlite3

from agentflow.journal import schema

DELIVERIES_OF_4 = """create table deliveries (run text not null, place text not null, upto integer not null,
  manner text not null, primary key (run, place)) without rowid"""


def make_older(db: sqlite3.Connection, version: int) -> None:
    """Give a file of today the tables and indexes of format 2, 3 or 4; its rows stay as they are."""
    known = db.execute("select run, place, upto, manner from deliveries").fetchall()
    db.execute("drop table deliveries")
    if known:
        db.execute(DELIVERIES_OF_4)
        db.executemany("insert into deliveries values (?,?,?,?)", known)

    for statement in filter(None, (text.strip() for text in schema._INDEXES.split(";"))):
        name = statement.split()[5]
        if name not in ("runs_by_start", "runs_by_status", "pruned_by_start"):
            db.execute(f"drop index {name}")

    for table in ("runs", "pruned"):
        db.execute(f"alter table {table} drop column rested")

    db.execute(f"pragma user_version={version}")
