"""What is said of runs in lists: their status, and which are asked for; the same over memory and SQLite."""

from __future__ import annotations

import random
import time
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from agentflow import MemoryJournal, SqliteJournal
from agentflow.app import load
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
from agentflow.exceptions import JournalDamaged, ProjectError, UnknownName
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


def drawn(chance: random.Random, number: int) -> list[Event]:
    """A run with up to three further events; at few times, so that some are alike, and the clock goes back in some."""
    first = started(f"r{number}", at=chance.randint(1, 5), workflow=f"w{number % 2}")
    names = [*LAST, *["done"] * len(LAST)]
    kinds = [LAST[chance.choice(names)][0] for _ in range(chance.randrange(4))]
    return [first, *(replace(kind, seq=n, at=chance.randint(1, 5)) for n, kind in enumerate(kinds, 2))]


async def test_a_list_is_what_looking_at_each_run_gives(tmp_path: Path) -> None:
    """Whatever the indexes are used for: in a file the runs that fit, and their order, are those of a journal in memory."""
    chance = random.Random(11)
    memory, file = MemoryJournal(), SqliteJournal(tmp_path / "j.db")
    runs = [drawn(chance, number) for number in range(80)]
    for journal in (memory, file):
        for number, events in enumerate(runs):
            for event in events:
                await journal.append(f"r{number}", [event])

            if number % 3 == 1:
                await journal.claim(f"r{number}", "me", LATER)

        await journal.prune([f"r{number}" for number in range(0, 80, 3)])

    statuses = [(), ("open", "done"), ("lost",), *((status,) for _, status in LAST.values()), ("running",)]
    times = (None, 2, 3, 5)
    for status, workflow, after, before, limit, pruned in product(
        statuses, ("", "w0", "w2"), times, times, (None, 3), (False, True)
    ):
        choice: dict[str, Any] = {"status": status, "workflow": workflow, "limit": limit, "pruned": pruned}
        found = [await journal.runs(**choice, after=after, before=before) for journal in (file, memory)]
        assert found[0] == found[1], (choice, after, before)

    await file.close()


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


async def test_a_misspelt_run_is_looked_for_among_the_newest(journal: Journal) -> None:
    """However many runs there are, the error names those near to it, and costs no more than among a thousand."""
    for number in range(1010):
        await journal.append(f"run-{number}", [started(f"run-{number}", at=number)])

    with pytest.raises(UnknownName, match="there is no run `run-1009x`") as refused:
        await load(journal, "run-1009x")

    assert (len(refused.value.known), refused.value.nearest[0]) == (1000, "run-1009")
    await journal.prune(["run-7"])
    head = (await journal.runs(pruned=True))[0].head
    with pytest.raises(ProjectError, match="run `run-7` was pruned") as pruned:
        await load(journal, "run-7")

    assert pruned.value.hint == f"it is {head}"
