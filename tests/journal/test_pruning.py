"""Taking runs out: what goes, what stays, and what is refused."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from agentflow import SqliteJournal
from agentflow.events import Event, Payload, RunFinished, StepFinished
from agentflow.exceptions import JournalConflict
from agentflow.journal import Journal, Pruned, RunRow
from tests.journal.examples import chain, started

LATER = time.time_ns() + 3_600_000_000_000


def finished(run: str, *, at: int = 1000, size: int = 0, letter: str = "x") -> list[Event]:
    """A whole run of three events."""
    return [
        started(run, at=at),
        StepFinished(seq=2, at=at + 1, step="a", output=Payload(letter * size)),
        RunFinished(seq=3, at=at + 2, output=Payload(1)),
    ]


async def test_what_is_pruned_is_gone_but_for_its_row(journal: Journal) -> None:
    """Events, lease and requests go; the row stays as it was, in a list of its own; other runs stay as they are."""
    for n, run in enumerate(("old", "new")):
        await journal.append(run, finished(run, at=1000 + n))
        await journal.send(run, 1)

    await journal.claim("old", "me", time.time_ns() - 1)
    before = await journal.runs()
    counts = await journal.prune(["old"])

    assert (counts.runs, counts.events) == (1, 3)
    assert counts.bytes > 100
    assert await journal.read("old") == []
    assert await journal.head("old") == ""
    assert await journal.requests("old") == []
    assert await journal.runs(pruned=True) == [row for row in before if row.run == "old"]
    assert await journal.runs() == [row for row in before if row.run == "new"]
    assert await journal.read("new") == finished("new", at=1001)
    assert len(await journal.requests("new")) == 1


async def test_a_name_is_not_used_again(journal: Journal) -> None:
    """A run that was pruned can neither go on nor begin again, nor be claimed or asked anything."""
    await journal.append("r", finished("r")[:2])
    await journal.prune(["r"])
    for events in ([started("r")], finished("r")[2:]):
        with pytest.raises(JournalConflict, match="run `r` was pruned") as refused:
            await journal.append("r", events)

        assert refused.value.hint == "begin a run with another id"

    with pytest.raises(JournalConflict, match="was pruned"):
        await journal.claim("r", "me", LATER)

    with pytest.raises(JournalConflict, match="was pruned"):
        await journal.send("r", 1)

    assert await journal.runs() == []


async def test_a_run_that_is_driven_is_not_pruned(journal: Journal) -> None:
    """A live lease refuses the whole list, by name, before anything is taken out."""
    for run in ("a", "b"):
        await journal.append(run, finished(run))

    await journal.claim("b", "host/x/y/77/1/r", LATER)
    with pytest.raises(JournalConflict, match="run `b` cannot be pruned: process 77 on host drives it"):
        await journal.prune(["a", "b"])

    assert len(await journal.runs()) == 2
    await journal.release("b", "host/x/y/77/1/r")
    assert (await journal.prune(["a", "b", "a"])).runs == 2


async def test_what_is_not_there_is_passed_over(journal: Journal) -> None:
    """Runs that never were, or were pruned before, count nothing."""
    await journal.append("r", finished("r"))
    await journal.prune(["r"])

    assert await journal.prune(["r", "never"]) == Pruned(runs=0, events=0, bytes=0)
    assert await journal.prune([]) == Pruned(runs=0, events=0, bytes=0)


async def test_lists_of_pruned_runs(journal: Journal) -> None:
    """They are filtered like the others, newest first."""
    for n in range(6):
        await journal.append(f"r{n}", finished(f"r{n}", at=n * 100)[: 2 + n % 2])

    await journal.prune([f"r{n}" for n in (4, 0, 1, 2, 5)])

    async def names(rows: list[RunRow]) -> str:
        return " ".join(row.run for row in rows)

    assert await names(await journal.runs(pruned=True)) == "r5 r4 r2 r1 r0"
    assert await names(await journal.runs(pruned=True, status=["done"], limit=1)) == "r5"
    assert await names(await journal.runs(pruned=True, before=300, after=100, workflow="w")) == "r2 r1"
    assert await names(await journal.runs()) == "r3"


@pytest.fixture
async def file(tmp_path: Path) -> SqliteJournal:
    return SqliteJournal(tmp_path / "j.db")


async def test_a_payload_goes_with_its_last_run(file: SqliteJournal) -> None:
    """A large value that another run uses stays until that one goes too."""
    for run in ("a", "b"):
        await file.append(run, finished(run, size=20_000))

    await file.append("c", finished("c", size=20_000, letter="y"))
    first, second = await file.prune(["a"]), await file.prune(["c"])

    assert await file.read("b") == finished("b", size=20_000)
    assert second.bytes - first.bytes == 20_002
    await file.prune(["b"])
    assert [
        file._db.execute(f"select count(*) from {table}").fetchone()[0]
        for table in ("runs", "events", "payloads", "uses", "leases", "requests", "pruned")
    ] == [0, 0, 0, 0, 0, 0, 3]
    await file.close()


async def test_the_room_is_given_back(file: SqliteJournal) -> None:
    """The file is smaller afterwards, also while another process has it open."""
    other = SqliteJournal(file.path)
    for n in range(20):
        await file.append(f"r{n}", chain(f"r{n}", 50, size=1000))

    file._db.execute("pragma wal_checkpoint(truncate)")
    before = file.path.stat().st_size
    await file.prune([f"r{n}" for n in range(18)])

    assert file.path.stat().st_size < before / 4
    assert await other.read("r19") == chain("r19", 50, size=1000)
    await file.close()
    await other.close()


async def test_pruning_while_the_file_is_held_by_a_reader(file: SqliteJournal) -> None:
    """The runs are taken out; the room is given back another time."""
    await file.append("r", chain("r", 50, size=1000))
    other = SqliteJournal(file.path)
    other._db.execute("begin")
    other._db.execute("select count(*) from events").fetchone()
    file._db.execute("pragma busy_timeout=10")

    assert (await file.prune(["r"])).events == 50
    other._db.execute("rollback")
    assert await other.read("r") == []
    await file.close()
    await other.close()


async def test_a_run_that_is_pruned_under_its_driver(file: SqliteJournal) -> None:
    """A process that took no lease, and whose run another one pruned, stops with a conflict that says so."""
    await file.append("r", chain("r", 2))
    other = SqliteJournal(file.path)
    await other.prune(["r"])
    with pytest.raises(JournalConflict, match="run `r` was pruned"):
        await file.append("r", chain("r", 3)[2:])

    assert await file.runs() == []
    assert file._db.execute("select count(*) from events").fetchone()[0] == 0
    await file.close()
    await other.close()
