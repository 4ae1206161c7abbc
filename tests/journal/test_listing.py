"""What is said of runs in lists: their status, and which are asked for; the same over memory and SQLite."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from agentflow import SqliteJournal
from agentflow.events import (
    ApprovalAsked,
    ErrorInfo,
    Event,
    Payload,
    RunCancelled,
    RunFailed,
    RunFinished,
    RunInterrupted,
    RunPaused,
    RunResumed,
    StepStarted,
    TimerSet,
)
from agentflow.exceptions import JournalDamaged
from agentflow.journal import DAMAGED, Journal
from tests.journal.examples import chain, started

LATER = time.time_ns() + 3_600_000_000_000
LAST: dict[str, tuple[Event, str]] = {
    "done": (RunFinished(seq=2, at=2, output=Payload(1)), "done"),
    "failed": (RunFailed(seq=2, at=2, step="a", error=ErrorInfo(kind="E", message="")), "failed"),
    "rejected": (
        RunFailed(seq=2, at=2, step="a", error=ErrorInfo(kind="RunRejected", message="")),
        "rejected",
    ),
    "cancelled": (RunCancelled(seq=2, at=2, reason=""), "cancelled"),
    "interrupted": (RunInterrupted(seq=2, at=2, reason=""), "interrupted"),
    "paused": (RunPaused(seq=2, at=2), "waiting"),
    "asked": (ApprovalAsked(seq=2, at=2, step="a", digest="", prompt=""), "waiting"),
    "asleep": (TimerSet(seq=2, at=2, step="a", due=1), "open"),
    "cut": (StepStarted(seq=2, at=2, step="a"), "open"),
}


async def statuses(journal: Journal, **filters: Any) -> dict[str, str]:
    return {row.run: row.status for row in await journal.runs(**filters)}


async def fill(journal: Journal) -> None:
    for name, (last, _) in LAST.items():
        await journal.append(name, [started(name)])
        await journal.append(name, [last])


async def test_a_status_is_what_the_last_event_says(journal: Journal) -> None:
    """Runs that nobody drives: over, waiting for people, stopped, or cut off."""
    await fill(journal)

    assert await statuses(journal) == {name: status for name, (_, status) in LAST.items()}


async def test_a_run_that_is_driven_is_running(journal: Journal) -> None:
    """A live lease makes running of what else is open; what is over, or paused, stays that."""
    await fill(journal)
    for name in LAST:
        await journal.claim(name, "me", LATER)

    running = {"asked": "running", "asleep": "running", "cut": "running"}
    assert await statuses(journal) == {name: running.get(name, status) for name, (_, status) in LAST.items()}
    await journal.claim("cut", "me", time.time_ns() - 1)
    await journal.release("asked", "me")
    assert await statuses(journal, status=["open", "waiting"]) == {
        "cut": "open",
        "asked": "waiting",
        "paused": "waiting",
    }
    assert await statuses(journal, status={"running"}) == {"asleep": "running"}


async def test_a_run_goes_on(journal: Journal) -> None:
    """A status changes with each event that says something else."""
    seen: list[str] = []
    for event in [
        started(),
        RunPaused(seq=2, at=2),
        RunResumed(seq=3, at=3, model="", version=""),
        LAST["done"][0],
    ]:
        n = len(seen) + 1
        await journal.append("r", [replace(event, seq=n)])
        seen += (await statuses(journal)).values()

    assert seen == ["open", "waiting", "open", "done"]


async def test_filters(journal: Journal) -> None:
    """Runs of a workflow, of some states, in a time, and only so many, the newest first."""
    for n in range(10):
        events: list[Event] = [started(f"r{n}", at=n * 100, workflow="even" if n % 2 == 0 else "odd")]
        if n > 5:
            events.append(RunFinished(seq=2, at=n * 100 + 7, output=Payload(1)))

        await journal.append(f"r{n}", events)

    async def names(**filters: Any) -> str:
        return " ".join(row.run for row in await journal.runs(**filters))

    assert await names(limit=3) == "r9 r8 r7"
    assert await names(limit=0) == ""
    assert await names(workflow="odd") == "r9 r7 r5 r3 r1"
    assert await names(workflow="other") == ""
    assert await names(status=["done"]) == "r9 r8 r7 r6"
    assert await names(status=["open"], workflow="odd", limit=2) == "r5 r3"
    assert await names(status=["no such status"]) == ""
    assert await names(before=300) == "r2 r1 r0"
    assert await names(after=707) == "r9 r8 r7"
    assert await names(after=300, before=707) == "r6 r5 r4 r3"
    assert await names(pruned=True) == ""


async def test_lists_of_a_status_use_an_index(tmp_path: Path) -> None:
    """However many runs there are, those of a status are found without reading the others, and none are sorted."""
    journal = SqliteJournal(tmp_path / "j.db")
    for n in range(3):
        await journal.append(f"r{n}", chain(f"r{n}", 2))

    asked: list[str] = []
    journal._db.set_trace_callback(asked.append)
    await journal.runs(limit=20)
    await journal.runs(status=["done"], limit=20)
    journal._db.set_trace_callback(None)
    plans = [
        " ".join(row[3] for row in journal._db.execute(f"explain query plan {query}"))
        for query in asked
        if query.startswith("select run, workflow")
    ]

    assert ["runs_by_start" in plans[0], "runs_by_status" in plans[1]] == [True, True]
    assert "TEMP B-TREE" not in plans[0]
    await journal.close()


@pytest.mark.parametrize("column", ["workflow", "status", "run"])
async def test_a_row_that_was_altered_is_said(tmp_path: Path, column: str) -> None:
    """A row of the list that is not what was written is said to be damaged, and does not hide the others."""
    journal = SqliteJournal(tmp_path / "j.db")
    await journal.append("r", chain("r", 2))
    await journal.append("other", chain("other", 2))
    journal._db.execute(f"update runs set {column} = 'x' where run = 'r'")
    rows = {row.run: row.status for row in await journal.runs()}

    assert rows == {"x" if column == "run" else "r": DAMAGED, "other": "open"}
    with pytest.raises(JournalDamaged, match=r"j\.db is damaged"):
        await journal.read("r")

    await journal.close()
