"""The tables of a journal in SQLite, and how those of older versions become them."""

from __future__ import annotations

import json
import re
import sqlite3
import zlib
from collections.abc import Callable

from agentflow.journal import MARK, said

SCHEMA = 5

# `runs` repeats what follows from the events, for two reasons: lists need not read them, and an end that was lost is noticed.
# `rested` is `updated` once more, of a run at rest: it can be in an index, which would otherwise be written with each event.
_TABLES = """
create table runs (id integer primary key, run text not null unique, workflow text not null, status text not null,
  started integer not null, updated integer not null, events integer not null, head blob not null,
  seal integer not null, rested integer);
create table uses (run integer not null, digest text not null, primary key (run, digest)) without rowid;
create index uses_by_digest on uses (digest);
create table leases (run text primary key, owner text not null, until integer not null) without rowid;
create table requests (id integer primary key autoincrement, run text not null, at integer not null,
  body text not null);
create index requests_by_run on requests (run);
create table pruned (id integer primary key, run text not null unique, workflow text not null, status text not null,
  started integer not null, updated integer not null, events integer not null, head blob not null,
  seal integer not null, pruned_at integer not null, rested integer);
"""
# The words of runs whose rows change with each event; all others are at rest.
GOING = ("open", "asked")
# For `runs` and `pruned` alike, so that a list costs what it lists; `listing` says which index is for what.
_INDEXES = "".join(
    f"""
create index if not exists {table}_by_start on {table} (started);
create index if not exists {table}_by_status on {table} (status, started);
create index if not exists {table}_by_workflow on {table} (workflow, status, started);
create index if not exists {table}_by_rest on {table} (status, rested, started) where rested is not null;
create index if not exists {table}_by_workflow_rest on {table} (workflow, status, rested, started) where rested is not null;
create index if not exists {table}_set_back on {table} (started) where rested < started;
"""
    for table in ("runs", "pruned")
)
# `owed` is 0 once a place has all of a run at rest, and 1 again when that run goes on.
_DELIVERIES = """
create table deliveries (run text not null, place text not null, upto integer not null, manner text not null,
  owed integer not null, primary key (run, place)) without rowid;
create index deliveries_owed on deliveries (place) where owed;
"""
_EVENTS = """
create table events (run integer not null, seq integer not null, at integer not null, type text not null,
  data blob not null, hash blob not null, primary key (run, seq)) without rowid;
create table payloads (digest text primary key, data blob not null) without rowid;
"""
# Rows of `runs` as they are now, made from the tables of format 1.
_ROWS_OF_1 = """
select known.id, known.run, known.workflow, said_of(last.type, last.data) as status, known.started,
  last.at as updated, last.seq as events, last.hash as head,
  seal_of(known.run, known.workflow, said_of(last.type, last.data), known.started, last.at, last.seq, last.hash) as seal,
  case when said_of(last.type, last.data) not in ('open', 'asked') then last.at end as rested
from {runs} as known join {events} as last on last.run = known.id
where last.seq = (select max(seq) from {events} where run = known.id)
"""
# Events and the row of their run in one statement, which is a transaction of its own: cheaper than four.
_APPENDED = (
    """create temp view appended as select run, seq, at, type, data, hash, 0 as seal from main.events""",
    """create temp trigger append_one instead of insert on appended begin
      insert into events values (new.run, new.seq, new.at, new.type, new.data, new.hash);
      update runs set updated = new.at, events = new.seq, head = new.hash, seal = new.seal
        where id = new.run and events = new.seq - 1;
      select raise(abort, 'the run is not what it was') where changes() = 0;
    end""",
    # A step that ends and the next one that begins: what most commits of a run are.
    """create temp view appended_pair as select run, seq, at, type, data, hash,
      at as at_2, type as type_2, data as data_2, hash as hash_2, 0 as seal from main.events""",
    """create temp trigger append_pair instead of insert on appended_pair begin
      insert into events values (new.run, new.seq, new.at, new.type, new.data, new.hash),
        (new.run, new.seq + 1, new.at_2, new.type_2, new.data_2, new.hash_2);
      update runs set updated = new.at_2, events = new.seq + 1, head = new.hash_2, seal = new.seal
        where id = new.run and events = new.seq - 1;
      select raise(abort, 'the run is not what it was') where changes() = 0;
    end""",
)
_STAND_IN = re.compile(rb'"' + re.escape(MARK).encode() + rb'":"(sha256:[0-9a-f]{64})"')


def seal(run: str, workflow: str, status: str, started: int, updated: int, events: int, head: bytes) -> int:
    """A checksum of a row of `runs`, by which one that was altered is known."""
    text = f"{run}\0{workflow}\0{status}\0{started}\0{updated}\0{events}\0"
    return zlib.crc32(head, zlib.crc32(text.encode()))


def create(db: sqlite3.Connection) -> None:
    """Make the tables of a new journal."""
    _run(db, _EVENTS + _TABLES + _INDEXES + _DELIVERIES)


def prepare(db: sqlite3.Connection) -> None:
    """Make what a connection needs to append."""
    for statement in _APPENDED:
        db.execute(statement)


def migrate(db: sqlite3.Connection, version: int) -> None:
    """Bring the tables of an older version up, within the transaction of the caller."""
    while version < SCHEMA:
        _MIGRATIONS[version](db)
        version += 1


def show_as_new(db: sqlite3.Connection) -> None:
    """Have a file of format 1 that may only be read answer as one of today, by views beside it."""
    _add_functions(db)
    rows = _ROWS_OF_1.format(runs="main.runs", events="main.events")
    db.execute(f"create temp view runs as {rows}")
    for table in ("leases", "requests", "pruned"):
        statement = next(s for s in _TABLES.split(";") if f"create table {table} " in s)
        db.execute(statement.replace("create table", "create temp table"))


def _from_1(db: sqlite3.Connection) -> None:
    """Runs are summed up in their rows; payloads know who uses them; there are leases, requests and pruned runs."""
    _add_functions(db)
    db.execute("alter table runs rename to runs_of_1")
    _run(db, _TABLES)
    db.execute("insert into runs " + _ROWS_OF_1.format(runs="runs_of_1", events="events"))
    for run, data in db.execute("select run, data from events where instr(data, ?)", (MARK.encode(),)):
        uses = [(run, digest.decode()) for digest in _STAND_IN.findall(data)]
        db.executemany("insert or ignore into uses values (?,?)", uses)

    db.execute("drop table runs_of_1")


def _from_2(db: sqlite3.Connection) -> None:
    """The tables stay; hashes of new runs are chained in another way, which agentflow of format 2 would take for damage."""


def _from_3(db: sqlite3.Connection) -> None:
    """Rows stay as they are; new ones do not repeat in `data` what stands in columns, which agentflow of format 3 could not read."""


def _from_4(db: sqlite3.Connection) -> None:
    """Lists have their indexes, and deliveries say what is owed."""
    for table in ("runs", "pruned"):
        if not _has(db, table, "rested"):
            db.execute(f"alter table {table} add column rested integer")
            db.execute(f"update {table} set rested = updated where status not in ('open', 'asked')")  # noqa: S608

    _run(db, _INDEXES)
    if not _has(db, "deliveries", "run"):
        _run(db, _DELIVERIES)
        return

    db.execute("alter table deliveries rename to deliveries_of_4")
    _run(db, _DELIVERIES)
    db.execute(_DELIVERIES_OF_4)
    db.execute("drop table deliveries_of_4")


def _has(db: sqlite3.Connection, table: str, column: str) -> bool:
    query = "select 1 from pragma_table_info(?) where name = ?"
    return db.execute(query, (table, column)).fetchone() is not None


_DELIVERIES_OF_4 = """
insert into deliveries select run, place, upto, manner, not exists (select 1 from runs
    where runs.run = known.run and events <= upto and rested is not null)
from deliveries_of_4 as known
"""
_MIGRATIONS: dict[int, Callable[[sqlite3.Connection], None]] = {
    1: _from_1,
    2: _from_2,
    3: _from_3,
    4: _from_4,
}


def _run(db: sqlite3.Connection, statements: str) -> None:
    # One by one: `executescript` would commit first.
    for statement in filter(str.strip, statements.split(";")):
        db.execute(statement)


def _add_functions(db: sqlite3.Connection) -> None:
    db.create_function("said_of", 2, _said_of, deterministic=True)
    db.create_function("seal_of", 7, seal, deterministic=True)


def _said_of(kind: str, data: bytes) -> str:
    return said(kind, json.loads(data)["error"]["kind"] if kind == "run.failed" else "")
