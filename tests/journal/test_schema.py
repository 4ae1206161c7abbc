"""Files of older versions: brought up on opening to write, read as they are on opening to read."""

from __future__ import annotations

import asyncio
import hashlib
import shutil
import sqlite3
import tempfile
import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from agentflow import SqliteJournal
from agentflow.audit.rows import verify_rows
from agentflow.encoding import chained, encode, opening
from agentflow.events import (
    CHAIN,
    ApprovalAsked,
    ErrorInfo,
    Event,
    Payload,
    RunFailed,
    RunFinished,
    RunResumed,
)
from agentflow.exceptions import JournalDamaged, JournalError, JournalVersion
from agentflow.journal import Delivered, canonical, schema
from agentflow.journal.skimming import skimmed
from tests.journal.examples import chain, started
from tests.journal.formats import make_older
from tests.journal.processes import begun

LATER = time.time_ns() + 3_600_000_000_000
# As version 0.1.0 made them.
TABLES_OF_1 = """
create table runs (id integer primary key, run text not null unique, workflow text not null, started integer not null);
create table events (run integer not null, seq integer not null, at integer not null, type text not null,
  data blob not null, hash blob not null, primary key (run, seq)) without rowid;
create table payloads (digest text primary key, data blob not null) without rowid;
pragma user_version=1;
"""
RUNS: dict[str, list[Event]] = {
    "long": [*chain("long", 30), RunFinished(seq=31, at=5000, output=Payload(1))],
    "large": chain("large", 4, at=2000, size=20_000),
    "same": chain("same", 3, at=3000, size=20_000),
    "odd": [started("odd", at=4000, input=Payload({"$payload": "sha256:0"}))],
    "rejected": [
        started("rejected", at=5000),
        RunFailed(seq=2, at=5001, step="a", error=ErrorInfo(kind="RunRejected", message="no")),
    ],
    "failed": [
        started("failed", at=6000),
        RunFailed(seq=2, at=6001, step="a", error=ErrorInfo(kind="E", message="")),
    ],
    "asked": [
        started("asked", at=7000),
        ApprovalAsked(seq=2, at=7001, step="a", digest="d", prompt="$payload"),
    ],
}
STATUSES = {
    "asked": "waiting",
    "failed": "failed",
    "rejected": "rejected",
    "odd": "open",
    "same": "open",
    "large": "open",
    "long": "done",
}


def write_1(path: Path) -> None:
    """A journal of format 1 with these runs."""
    db = sqlite3.connect(path)
    db.execute("pragma journal_mode=wal")
    db.executescript(TABLES_OF_1)
    for id_, (run, events) in enumerate(RUNS.items(), 1):
        db.execute("insert into runs values (?,?,?,?)", (id_, run, "w", events[0].at))
        head = b""
        for event in events:
            data = canonical(event)
            head = chained(head, data)
            db.execute(
                "insert into events values (?,?,?,?,?,?)", (id_, event.seq, event.at, event.type, data, head)
            )
            for raw in payloads_of(event):
                digest = "sha256:" + hashlib.sha256(raw).hexdigest()
                db.execute("insert or ignore into payloads values (?,?)", (digest, raw))

    db.commit()
    db.close()


def payloads_of(event: Event) -> list[bytes]:
    """What of an event is kept beside it."""
    found: list[bytes] = []

    def seen(raw: bytes) -> bytes:
        if len(raw) > 8192 or b"$payload" in raw:
            found.append(raw)

        return raw

    encode(event, seen)
    return found


@pytest.fixture
def old(tmp_path: Path) -> Path:
    write_1(tmp_path / "old.db")
    return tmp_path / "old.db"


def content(path: Path) -> bytes:
    return path.read_bytes()


def put(path: Path, content: bytes) -> None:
    path.write_bytes(content)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


async def check(journal: SqliteJournal) -> None:
    """Everything is there as it was."""
    for run, events in RUNS.items():
        assert await journal.read(run) == events

    rows = await journal.runs()
    assert {row.run: row.status for row in rows} == STATUSES
    assert [row.head for row in rows] == [await journal.head(row.run) for row in rows]
    assert [(row.events, row.started, row.updated) for row in rows if row.run == "long"] == [(31, 1000, 5000)]
    assert [row.run for row in await journal.runs(after=5000, status=["done"])] == ["long"]


async def test_an_old_file_is_brought_up(old: Path) -> None:
    """On opening to write: all runs are there, go on, and can be claimed and pruned with their payloads."""
    journal = SqliteJournal(old)
    await check(journal)
    await journal.append("same", chain("same", 5, at=3000, size=20_000)[3:])
    await journal.claim("odd", "me", LATER)
    assert [row.run for row in await journal.runs(status=["running"])] == ["odd"]
    await journal.close()

    again = SqliteJournal(old)
    counts = [(await again.prune([run])).bytes > 20_000 for run in ("large", "same")]
    assert counts == [False, True]
    assert again._db.execute("pragma user_version").fetchone()[0] == schema.SCHEMA
    assert again._db.execute("select count(*) from payloads").fetchone()[0] == 1
    assert again._db.execute("pragma auto_vacuum").fetchone()[0] == 2
    await again.close()


def tables(path: Path) -> list[str]:
    """The tables and indexes of a file once it was opened to write, as text."""
    SqliteJournal(path)._db.close()
    db = sqlite3.connect(path)
    found = sorted(
        " ".join(row[0].split()) for row in db.execute("select sql from sqlite_master where sql > ''")
    )
    db.close()
    return found


def test_an_old_file_has_the_tables_of_a_new_one(old: Path, tmp_path: Path) -> None:
    """What was brought up differs in nothing from what is made today."""
    assert tables(old) == tables(tmp_path / "new.db")


async def test_a_file_of_format_4_has_the_tables_of_a_new_one(tmp_path: Path) -> None:
    """Also where it notes deliveries, in a table that was another."""
    await write_4(tmp_path / "old.db")
    assert tables(tmp_path / "old.db") == tables(tmp_path / "new.db")


async def test_processes_that_bring_up_one_file_together(old: Path) -> None:
    """One of them does it; the others find it done."""

    def opened() -> None:
        SqliteJournal(old)._db.close()

    await asyncio.gather(*(asyncio.to_thread(opened) for _ in range(8)))
    journal = SqliteJournal(old)
    await check(journal)
    await journal.close()


KILLED = """
import os, sys
from agentflow import SqliteJournal
from agentflow.journal import schema
known = schema._MIGRATIONS[1]
def cut(db):
    db.execute("pragma cache_size=1")  # so that pages are written before the end
    known(db)
    os._exit(9)
schema._MIGRATIONS[1] = cut
SqliteJournal(sys.argv[1])
"""


async def test_a_process_that_is_killed_while_it_brings_up(old: Path) -> None:
    """The file is as before, in its old format, and the next one brings it up."""
    process = begun(KILLED, old)
    process.communicate()
    db = sqlite3.connect(old)
    version = db.execute("pragma user_version").fetchone()[0]
    names = {row[0] for row in db.execute("select name from sqlite_master where type = 'table'")}
    db.close()

    assert (process.returncode, version, names) == (9, 1, {"runs", "events", "payloads"})
    journal = SqliteJournal(old)
    await check(journal)
    await journal.close()


async def test_an_old_file_that_is_damaged_is_left_as_it_is(old: Path) -> None:
    """What cannot be brought up is said, and not half changed."""
    db = sqlite3.connect(old)
    db.execute("update events set data = 'x' where type = 'run.failed'")
    db.commit()
    db.close()
    before = content(old)
    with pytest.raises(JournalDamaged, match=r"old\.db is damaged"):
        SqliteJournal(old)

    assert content(old) == before


async def test_an_old_file_is_read_as_it_is(old: Path) -> None:
    """On opening to read it answers as a new one, and is not changed, nor is anything put beside it."""
    before = content(old)
    journal = SqliteJournal(old, read_only=True)
    await check(journal)
    assert await journal.runs(pruned=True) == []
    assert [row.run for row in await journal.runs(status=["done"], limit=5)] == ["long"]
    assert (await journal.holder("long"), await journal.requests("long")) == (None, [])
    with pytest.raises(JournalError, match="readonly"):
        await journal.append("odd", chain("odd", 2)[1:])

    await journal.close()
    assert content(old) == before
    assert names(old.parent) == ["old.db"]


@contextmanager
def unwritable(folder: Path) -> Generator[None, None, None]:
    """For a while nobody may write into the folder."""
    folder.chmod(0o555)
    try:
        yield
    finally:
        folder.chmod(0o755)


@pytest.fixture
def shared() -> Iterator[Path]:
    """A folder that other users may enter."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


READ_BY_OTHER = """
import asyncio, os, sys
from agentflow import SqliteJournal
from agentflow.exceptions import JournalUnwritable
if os.getuid() == 0:
    os.setuid(65534)
async def main():
    try:
        journal = SqliteJournal(sys.argv[1], read_only=True)
        print(len(await journal.read("r")), (await journal.runs())[0].status)
    except JournalUnwritable as error:
        print(error.hint)
asyncio.run(main())
"""


async def test_a_file_to_read_in_a_folder_that_is_not_ours(shared: Path) -> None:
    """A journal in a folder that may only be read is read, and nothing is put beside it."""
    journal = SqliteJournal(shared / "j.db")
    await journal.append("r", chain("r", 3))
    await journal.close()
    with unwritable(shared):
        said = begun(READ_BY_OTHER, shared / "j.db").communicate()[0].split()

    assert said == ["3", "open"]
    assert names(shared) == ["j.db"]


async def test_reading_beside_a_writer(tmp_path: Path) -> None:
    """Who reads sees each event as it is written, and what begins only after it was opened."""
    path = tmp_path / "j.db"
    reader = SqliteJournal(path, read_only=True)
    assert (await reader.runs(), names(tmp_path)) == ([], [])

    writer = SqliteJournal(path)
    for n in range(1, 4):
        await writer.append("r", chain("r", n)[-1:])
        assert len(await reader.read("r")) == n

    await reader.close()
    await writer.close()
    late = SqliteJournal(path, read_only=True)
    assert len(await late.read("r")) == 3
    writer = SqliteJournal(path)
    await writer.append("r", chain("r", 4)[-1:])
    assert [row.events for row in await late.runs()] == [4]
    await writer.send("r", 1)
    assert len(await late.requests("r")) == 1
    await late.close()
    await writer.close()


async def test_a_file_that_is_written_while_it_is_read(tmp_path: Path) -> None:
    """What looks like damage, as a writer came in between, is said to be that; the next look is at the new file."""
    path = tmp_path / "j.db"
    journal = SqliteJournal(path)
    await journal.append("r", chain("r", 30, size=300))
    await journal.close()
    reader = SqliteJournal(path, read_only=True)
    whole = content(path)

    def disturb(statement: str) -> None:
        if statement.startswith("select seq"):
            path.write_bytes(whole[: 4096 * 5] + b"\xff" * (len(whole) - 4096 * 5) + b"\xff" * 4096)

    reader._db.set_trace_callback(disturb)
    with pytest.raises(JournalError, match="was written while it was read") as refused:
        await reader.read("r")

    assert refused.value.hint == "try again"
    put(path, whole)
    assert len(await reader.read("r")) == 30
    await reader.close()


async def test_a_log_that_cannot_be_read_is_not_passed_over(shared: Path, tmp_path: Path) -> None:
    """Where the newest events stand in a log that only a writer can open, that is said, not left out."""
    journal = SqliteJournal(tmp_path / "j.db")
    await journal.append("r", chain("r", 3))
    for name in ("j.db", "j.db-wal"):
        shutil.copy(tmp_path / name, shared / name)

    await journal.close()
    with unwritable(shared):
        said = begun(READ_BY_OTHER, shared / "j.db").communicate()[0]

    assert "j.db-wal can only be read where the folder may be written" in said
    assert names(shared) == ["j.db", "j.db-wal"]


def test_an_empty_file_is_an_empty_journal(tmp_path: Path) -> None:
    """Also to read: what another process was about to make."""
    (tmp_path / "j.db").touch()
    SqliteJournal(tmp_path / "j.db", read_only=True)._db.close()

    assert (tmp_path / "j.db").stat().st_size == 0


@pytest.mark.parametrize("read_only", [False, True], ids=["brought up", "as it is"])
async def test_a_file_of_format_2_keeps_its_chain(tmp_path: Path, read_only: bool) -> None:
    """Its runs go on as they were chained; new ones in the same file are chained as now."""
    path = tmp_path / "j.db"
    journal = SqliteJournal(path)
    await journal.append("old", chain("old", 3))
    make_older(journal._db, 2)
    await journal.close()
    head = b""
    for event in chain("old", 3):
        head = chained(head, canonical(event))

    again = SqliteJournal(path, read_only=read_only)
    assert await again.head("old") == head.hex()
    assert await again.read("old") == chain("old", 3)
    if not read_only:
        await again.append("old", chain("old", 5)[3:])
        await again.append("new", [started("new", chain=CHAIN), *chain("new", 4)[1:]])

    trails = [trail for run in ("old", "new") if (trail := await again.trail(run)) is not None]
    await again.close()
    assert [(verify_rows(t).state, verify_rows(t).chain, t.count) for t in trails] == (
        [("ok", 1, 3)] if read_only else [("ok", 1, 5), ("ok", 2, 4)]
    )


async def test_a_chain_of_a_later_version_is_refused(tmp_path: Path) -> None:
    """Nothing is appended to a run whose hashes could not be checked."""
    journal = SqliteJournal(tmp_path / "j.db")
    with pytest.raises(JournalVersion, match="chained in way 3"):
        await journal.append("r", [started(chain=3)])

    assert await journal.trail("r") is None
    await journal.close()


@pytest.mark.parametrize("read_only", [False, True])
async def test_rows_of_format_3_are_read_as_they_are(tmp_path: Path, read_only: bool) -> None:
    """A file whose rows hold events whole is read, skimmed, proven and gone on with; only new rows leave out what columns say."""
    path = tmp_path / "j.db"
    events = RUNS["long"]
    first = SqliteJournal(path)
    await first.append("r", events[:3])
    rows = list(first._db.execute("select run, seq, at, type, data from events"))
    assert all(not data.startswith(b"{") for *_, data in rows)
    for run, seq, at, type_, data in rows:
        kept = opening(type_, at, seq) + data
        assert kept == canonical(events[seq - 1])
        first._db.execute("update events set data = ? where (run, seq) = (?, ?)", (kept, run, seq))

    make_older(first._db, 3)
    head = await first.head("r")
    await first.close()

    journal = SqliteJournal(path, read_only=read_only)
    assert await journal.read("r") == events[:3]
    assert [(one.type, one.step) for one in journal.skim(["r"])] == [
        (one.type, one.step) for one in skimmed("r", events[:3])
    ]
    assert await journal.head("r") == head
    trail = await journal.trail("r")
    assert trail is not None
    assert verify_rows(trail).state == "ok"
    if not read_only:
        await journal.append("r", events[3:5])
        assert await journal.read("r") == events[:5]
        assert [row[0][:1] for row in journal._db.execute("select data from events order by seq")] == [
            b"{",
            b"{",
            b"{",
            b",",
            b",",
        ]

    await journal.close()


async def write_4(path: Path) -> None:
    """A journal of format 4: one run whose clock was set back, one whose row was altered, and what a collector has of each."""
    journal = SqliteJournal(path)
    for run, events in RUNS.items():
        await journal.append(run, events)
        await journal.note_delivery(Delivered(run=run, place="here", upto=1))

    await journal.append("back", [started("back", at=9000), RunFinished(seq=2, at=8000, output=Payload(1))])
    await journal.note_delivery(Delivered(run="back", place="here", upto=2))
    journal._db.execute("update runs set updated = 1 where run = 'asked'")
    make_older(journal._db, 4)
    await journal.close()


@pytest.mark.parametrize("read_only", [False, True], ids=["brought up", "as it is"])
async def test_a_file_of_format_4_is_listed(tmp_path: Path, read_only: bool) -> None:
    """By status, workflow and time, and by what a collector is owed; a row that was altered stays so."""
    await write_4(tmp_path / "j.db")
    before = content(tmp_path / "j.db")
    journal = SqliteJournal(tmp_path / "j.db", read_only=read_only)

    async def listed(**filters: Any) -> list[str]:
        return [row.run for row in await journal.runs(**filters)]

    assert {row.run: row.status for row in await journal.runs()} == {
        **STATUSES,
        "back": "done",
        "asked": "damaged",
    }
    assert await listed(status=["done", "failed"], after=5000) == ["back", "failed", "long"]
    assert await listed(after=6000, workflow="w") == ["back", "failed"]
    assert await listed(after=8000, before=9000) == ["back"]
    assert await listed(before=5000, workflow="w", status=["open"]) == ["odd", "same", "large"]
    assert await listed(before=7000, limit=2, status=["failed", "rejected"]) == ["failed", "rejected"]
    assert [one.run for one in await journal.deliveries("here")] == [
        "long",
        "large",
        "same",
        "rejected",
        "failed",
        "asked",
    ]
    assert [one.upto for one in await journal.deliveries("here", "back")] == [2]
    if not read_only:
        await journal.append("back", [RunResumed(seq=3, at=9001, model="", version="")])
        assert [one.run for one in await journal.deliveries("here")][-1] == "back"

    await journal.close()
    assert (content(tmp_path / "j.db") == before) is read_only
