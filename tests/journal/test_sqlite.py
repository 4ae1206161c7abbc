"""The SQLite journal: stored once, fenced, and clear about what is wrong with a file."""

from __future__ import annotations

import asyncio
import hashlib
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from agentflow import SqliteJournal
from agentflow.events import Payload, StepFinished
from agentflow.exceptions import (
    JournalConflict,
    JournalDamaged,
    JournalError,
    JournalUnwritable,
    JournalVersion,
)
from tests.journal.examples import chain, started
from tests.journal.processes import together


@pytest.fixture
async def journal(tmp_path: Path) -> AsyncIterator[SqliteJournal]:
    kept = SqliteJournal(tmp_path / "j.db")
    yield kept
    await kept.close()


def count(path: Path, table: str) -> int:
    db = sqlite3.connect(path)
    try:
        return int(db.execute(f"select count(*) from {table}").fetchone()[0])
    finally:
        db.close()


async def test_a_large_payload_is_stored_once(journal: SqliteJournal) -> None:
    """The same large value in many events, steps and runs is one row; small ones stay in their events."""
    for run in ("a", "b"):
        await journal.append(run, [started(run), *chain(run, 6, size=20_000)[1:]])

    assert count(journal.path, "payloads") == 1
    assert count(journal.path, "events") == 12
    assert journal._db.execute("select max(length(data)) from events").fetchone()[0] < 1000


async def test_rows_cost_the_same_however_long_the_run_is(journal: SqliteJournal) -> None:
    """The bytes of a row do not grow with the run."""
    await journal.append("r", chain("r", 1000))
    sizes = [len(row[0]) for row in journal._db.execute("select data from events where seq > 1 order by seq")]

    assert max(sizes) - min(sizes) <= 15


async def test_another_process_reads_what_was_appended(journal: SqliteJournal) -> None:
    """What `append` returned from is there for everyone, while the writer still holds the file open."""
    await journal.append("r", chain("r", 3))
    other = SqliteJournal(journal.path)

    assert await other.read("r") == chain("r", 3)
    assert await other.head("r") == await journal.head("r")
    await other.close()


async def test_two_writers_conflict(journal: SqliteJournal) -> None:
    """Of two that continue one run the second is stopped, and the first goes on."""
    events = chain("r", 5)
    await journal.append("r", events[:2])
    other = SqliteJournal(journal.path)
    await other.read("r")
    await other.append("r", events[2:3])
    with pytest.raises(
        JournalConflict, match="continued this run; this one stopped before it did anything twice"
    ):
        await journal.append("r", events[2:4])

    await other.append("r", events[3:])

    assert await other.read("r") == events
    await other.close()


async def test_writers_of_other_runs_do_not_conflict(journal: SqliteJournal) -> None:
    """Two processes may each write their own run into one file."""
    other = SqliteJournal(journal.path)
    for n in range(1, 30):
        await journal.append("a", chain("a", n)[-1:])
        await other.append("b", chain("b", n)[-1:])

    assert (await other.read("a"), await journal.read("b")) == (chain("a", 29), chain("b", 29))
    await other.close()


async def test_many_may_open_a_new_file_together(tmp_path: Path) -> None:
    """Processes that make the same new journal at the same moment all get it."""
    paths = [str(tmp_path / "new" / "j.db")] * 12

    def opened(path: str) -> None:
        made = SqliteJournal(path)
        made._db.close()

    await asyncio.gather(*(asyncio.to_thread(opened, path) for path in paths))

    assert count(Path(paths[0]), "runs") == 0


def ran(code: str) -> subprocess.CompletedProcess[bytes]:
    """Python code in a process of its own."""
    return subprocess.run([sys.executable, "-c", code], check=False, cwd=Path(__file__).parents[2])


async def test_a_killed_writer_leaves_whole_batches(tmp_path: Path) -> None:
    """A process that dies in the middle of its work leaves every batch whole, and a chain that fits."""
    code = f"""
import asyncio, os
from agentflow import SqliteJournal
from tests.journal.examples import chain
async def main():
    journal = SqliteJournal({str(tmp_path / "j.db")!r})
    events = chain("r", 200)
    await journal.append("r", events[:1])
    for n in range(1, 100, 3):
        if n == 61:
            os._exit(9)
        await journal.append("r", events[n : n + 3])
asyncio.run(main())
"""
    done = ran(code)
    journal = SqliteJournal(tmp_path / "j.db")
    events = await journal.read("r")

    assert (done.returncode, len(events)) == (9, 61)
    await journal.append("r", chain("r", 70)[61:])
    assert await journal.read("r") == chain("r", 70)
    await journal.close()


APPEND = """
import asyncio, sys
from agentflow import SqliteJournal
from agentflow.exceptions import JournalConflict
from tests.journal.examples import chain
async def main():
    journal = SqliteJournal(sys.argv[2])
    events = {n: chain(f"r{n}", 3, at=int(sys.argv[1]) + 1000) for n in range(200)}
    print("ready", flush=True)
    input()
    for n, run in events.items():
        try:
            for k in range(3):
                await journal.append(f"r{n}", run[k : k + 1])
        except JournalConflict:
            continue
        print(n)
asyncio.run(main())
"""


async def test_two_processes_that_append_to_the_same_runs(tmp_path: Path) -> None:
    """Of two that begin each of 200 runs at the same time one writes all of it, and the other none; both notice."""
    SqliteJournal(tmp_path / "j.db")._db.close()
    whole = [[int(line) for line in printed] for printed in together(APPEND, tmp_path / "j.db")]
    journal = SqliteJournal(tmp_path / "j.db")

    assert sorted(whole[0] + whole[1]) == list(range(200))
    for writer, numbers in enumerate(whole):
        for n in numbers:
            assert await journal.read(f"r{n}") == chain(f"r{n}", 3, at=writer + 1000)

    await journal.close()


async def test_a_journal_goes_on_after_a_conflict(journal: SqliteJournal) -> None:
    """Who was stopped because another went on may read what that one wrote, and continue it."""
    events = chain("r", 6)
    await journal.append("r", events[:1])
    other = SqliteJournal(journal.path)
    await other.append("r", events[1:3])
    with pytest.raises(JournalConflict):
        await journal.append("r", events[1:2])

    assert await journal.read("r") == events[:3]
    await journal.append("r", events[3:])
    with pytest.raises(JournalConflict):
        await other.append("r", events[3:4])

    assert await other.read("r") == events
    await other.close()


async def test_what_cannot_be_encoded_is_not_begun(journal: SqliteJournal) -> None:
    """An output that has no JSON raises before anything is written, and the run goes on with another."""
    await journal.append("r", chain("r", 1))
    with pytest.raises(ValueError, match="serialize"):
        await journal.append("r", [StepFinished(seq=2, at=1, step="a", output=Payload(object()))])

    assert not journal._db.in_transaction
    await journal.append("r", chain("r", 2)[1:])


async def test_a_file_that_cannot_be_written_says_what_to_do(journal: SqliteJournal) -> None:
    """A journal that may only be read refuses to append with a hint, and still reads."""
    await journal.append("r", chain("r", 2))
    journal._db.execute("pragma query_only=1")
    with pytest.raises(JournalUnwritable, match="readonly") as refused:
        await journal.append("r", chain("r", 3)[2:])

    assert f"make {journal.path.parent} and the file writable, then resume the run" in refused.value.hint
    assert await journal.read("r") == chain("r", 2)


async def test_a_full_disk_says_what_to_do(journal: SqliteJournal) -> None:
    """When there is no room the batch is refused whole, and with room again it goes in."""
    await journal.append("r", chain("r", 2))
    pages = journal._db.execute("pragma page_count").fetchone()[0]
    journal._db.execute(f"pragma max_page_count={pages}")
    large = [
        StepFinished(seq=3, at=1, step="a#1", output=Payload("x" * 100_000)),
        StepFinished(seq=4, at=1, step="b#1"),
    ]
    with pytest.raises(JournalUnwritable, match="full") as refused:
        await journal.append("r", large)

    assert "free some space, then resume the run" in refused.value.hint
    assert len(await journal.read("r")) == 2
    journal._db.execute("pragma max_page_count=1000000")
    await journal.append("r", large)
    assert len(await journal.read("r")) == 4


async def test_a_first_append_that_failed_can_be_made_again(journal: SqliteJournal) -> None:
    """A run whose very beginning could not be written begins like a new one later."""
    pages = journal._db.execute("pragma page_count").fetchone()[0]
    journal._db.execute(f"pragma max_page_count={pages}")
    with pytest.raises(JournalUnwritable):
        await journal.append("r", [started(input=Payload("x" * 100_000))])

    journal._db.execute("pragma max_page_count=1000000")
    await journal.append("r", chain("r", 3))
    assert await journal.read("r") == chain("r", 3)


async def test_a_file_that_is_held_says_so(journal: SqliteJournal) -> None:
    """A journal that another program has locked says so."""
    other = sqlite3.connect(journal.path, isolation_level=None)
    other.execute("begin immediate")
    journal._db.execute("pragma busy_timeout=10")
    with pytest.raises(JournalUnwritable, match="locked") as refused:
        await journal.append("r", chain("r", 2))

    assert "another process holds it" in refused.value.hint
    other.execute("rollback")
    other.close()


def test_a_place_that_is_no_file_is_refused(tmp_path: Path) -> None:
    """A folder, or a path below a file, cannot be a journal."""
    (tmp_path / "file").write_text("x")
    with pytest.raises(JournalUnwritable, match="unable to open"):
        SqliteJournal(tmp_path)

    with pytest.raises(JournalUnwritable, match="file"):
        SqliteJournal(tmp_path / "file" / "j.db")


@pytest.mark.parametrize(
    "content",
    [
        b"this is no database at all, but some text that is long enough",
        b"SQLite format 3\x00" + b"\x07" * 4000,
    ],
)
def test_a_file_that_is_no_database_is_damaged(content: bytes, tmp_path: Path) -> None:
    """Other files are refused as damaged, with what to do, and left as they are."""
    (tmp_path / "j.db").write_bytes(content)
    with pytest.raises(JournalDamaged, match=r"j\.db is damaged") as refused:
        SqliteJournal(tmp_path / "j.db")

    assert "restore it from a copy" in refused.value.hint
    assert (tmp_path / "j.db").read_bytes() == content


async def test_a_damaged_page_is_found(journal: SqliteJournal, tmp_path: Path) -> None:
    """A file whose pages were overwritten is damaged when it is read, not wrong."""
    await journal.append("r", chain("r", 400, size=200))
    journal._db.execute("pragma wal_checkpoint(truncate)")
    shutil.copy(journal.path, tmp_path / "copy.db")
    with (tmp_path / "copy.db").open("r+b") as file:
        file.seek(4096 * 3)
        file.write(b"\xff" * 4096 * 12)

    copy = SqliteJournal(tmp_path / "copy.db")
    with pytest.raises(JournalDamaged, match="damaged"):
        await copy.read("r")

    await copy.close()


async def test_a_damaged_event_is_named(journal: SqliteJournal) -> None:
    """An event that was altered into none is named by run, number and file."""
    await journal.append("r", chain("r", 4))
    journal._db.execute("update events set data = substr(data, 1, 20) where seq = 3")
    with pytest.raises(JournalDamaged, match=r"event 3 of run `r` in .*j\.db"):
        await journal.read("r")


async def test_a_payload_that_is_missing_is_named(journal: SqliteJournal) -> None:
    """A large value that is no longer there is damage that names the event and the digest."""
    await journal.append("r", chain("r", 3, size=20_000))
    digest = hashlib.sha256(b'"' + b"x" * 20_000 + b'"').hexdigest()
    journal._db.execute("delete from payloads")
    with pytest.raises(JournalDamaged, match=f"event 2 of run `r`.*sha256:{digest} is missing"):
        await journal.read("r")


def test_a_newer_format_is_refused_and_left_alone(tmp_path: Path) -> None:
    """A journal of a later version is not opened, not changed, and the error says to upgrade."""
    path = tmp_path / "j.db"
    db = sqlite3.connect(path)
    db.execute("create table events (x)")
    db.execute("pragma user_version=9")
    db.commit()
    db.close()
    content = path.read_bytes()
    with pytest.raises(JournalVersion, match="format 9; this agentflow reads up to 5") as refused:
        SqliteJournal(path)

    assert "upgrade agentflow" in refused.value.hint
    assert path.read_bytes() == content
    assert [p.name for p in tmp_path.iterdir()] == ["j.db"]


def test_another_programs_database_is_refused_and_left_alone(tmp_path: Path) -> None:
    """A database that is no journal is not taken for a new one."""
    path = tmp_path / "other.db"
    db = sqlite3.connect(path)
    db.execute("create table customers (name)")
    db.commit()
    db.close()
    content = path.read_bytes()
    with pytest.raises(JournalError, match="not a journal of agentflow"):
        SqliteJournal(path)

    assert path.read_bytes() == content


async def test_an_old_journal_is_read(journal: SqliteJournal) -> None:
    """What was written before is read by a journal that opens the file later, with all runs listed."""
    await journal.append("r", chain("r", 3))
    await journal.close()
    again = SqliteJournal(journal.path)

    assert [row.run for row in await again.runs()] == ["r"]
    await again.close()
