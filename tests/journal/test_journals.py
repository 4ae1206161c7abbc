"""What every journal does: the same suite over memory and SQLite."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from agentflow import MemoryJournal, SqliteJournal
from agentflow.events import (
    ApprovalAsked,
    Event,
    Payload,
    RunCancelled,
    RunFinished,
    RunStarted,
    StepFinished,
    StepStarted,
    TimerSet,
)
from agentflow.exceptions import JournalConflict, JournalDamaged, JournalError
from agentflow.journal import Journal, RunRow
from tests.journal.examples import EXAMPLES, chain, started


def numbered(events: list[Any]) -> list[Any]:
    """The events as those of one run."""
    from dataclasses import replace

    return [replace(event, seq=n) for n, event in enumerate(events, 1)]


async def test_what_was_appended_is_read(journal: Journal) -> None:
    """All types of events come back equal and in order."""
    events = numbered(EXAMPLES)
    await journal.append("r", events)

    assert await journal.read("r") == events


async def test_appends_follow_each_other(journal: Journal) -> None:
    """A run grows by batches, beside other runs."""
    events, others = chain("r", 9), chain("s", 4)
    await journal.append("r", events[:3])
    await journal.append("s", others)
    await journal.append("r", events[3:4])
    await journal.append("r", events[4:])

    assert await journal.read("r") == events
    assert await journal.read("s") == others


async def test_nothing_is_there_before_it_is_appended(journal: Journal) -> None:
    """A run that is not there has no events and no head; appending nothing makes none."""
    await journal.append("r", [])

    assert await journal.read("r") == []
    assert await journal.head("r") == ""
    assert await journal.runs() == []


@pytest.mark.parametrize("seq", [2, 3, 5, 7])
async def test_events_that_do_not_follow_are_a_conflict(journal: Journal, seq: int) -> None:
    """An event that is there already, or that leaves a gap, is refused, and nothing of the batch is kept."""
    events = chain("r", 8)
    await journal.append("r", events[:3])
    if seq != 4:
        with pytest.raises(JournalConflict, match="`r` was continued elsewhere"):
            await journal.append("r", events[seq - 1 :])

    assert await journal.read("r") == events[:3]


async def test_a_run_begins_once(journal: Journal) -> None:
    """A second beginning of a run is a conflict; so is a run without one."""
    await journal.append("r", [started()])
    with pytest.raises(JournalConflict, match="`r`"):
        await journal.append("r", [started()])

    with pytest.raises(JournalConflict, match="`s`"):
        await journal.append("s", [StepStarted(seq=2, at=1, step="a#1")])

    assert len(await journal.read("r")) == 1


async def test_a_refused_append_leaves_the_journal_usable(journal: Journal) -> None:
    """After a conflict the right events are still taken."""
    events = chain("r", 3)
    with pytest.raises(JournalConflict):
        await journal.append("r", events[1:])

    await journal.append("r", events)

    assert await journal.read("r") == events


async def test_runs_are_listed_newest_first(journal: Journal) -> None:
    """Each run is one row, with its state as its last event says; the one that started last comes first."""
    runs: list[tuple[str, int, list[Event]]] = [
        ("old", 100, []),
        ("done", 300, [RunFinished(seq=2, at=301, output=Payload(1))]),
        ("stopped", 200, [RunCancelled(seq=2, at=205, reason="")]),
        ("asked", 400, [ApprovalAsked(seq=2, at=401, step="a#1", digest="d", prompt="")]),
        ("asleep", 500, [TimerSet(seq=2, at=501, step="a#1", due=1)]),
    ]
    for name, at, more in runs:
        first: list[Event] = [started(name, at=at)]
        await journal.append(name, first + more)

    rows = await journal.runs()

    assert [(r.run, r.status, r.events, r.started, r.updated) for r in rows] == [
        ("asleep", "open", 2, 500, 501),
        ("asked", "waiting", 2, 400, 401),
        ("done", "done", 2, 300, 301),
        ("stopped", "cancelled", 2, 200, 205),
        ("old", "open", 1, 100, 100),
    ]
    assert {r.workflow for r in rows} == {"w"}
    assert [r.head for r in rows] == [await journal.head(r.run) for r in rows]


async def test_a_large_payload_comes_back(journal: Journal) -> None:
    """Values of any size are kept whole."""
    big = "é" * 300_000
    events = [
        started(input=Payload({"big": big})),
        StepFinished(seq=2, at=1, step="a#1", output=Payload([big])),
    ]
    await journal.append("r", events)

    assert await journal.read("r") == events


@pytest.mark.parametrize(
    "value",
    [
        {"$payload": "sha256:0"},
        {"$payload": "sha256:0", "size": 3},
        {"a": 1, "$payload": ["x"]},
        [{"$payload": "sha256:0"}],
        "$payload",
    ],
    ids=str,
)
async def test_a_value_that_looks_like_a_stand_in_is_kept(journal: Journal, value: Any) -> None:
    """A value of the user's cannot be taken for the place of another payload."""
    events = [started(input=Payload(value))]
    await journal.append("r", events)
    (event,) = await journal.read("r")

    assert event == events[0]
    assert isinstance(event, RunStarted)
    assert event.input.data == value


async def test_heads_are_equal_in_all_journals(tmp_path: Path) -> None:
    """Equal events have an equal head, wherever they are kept, also after they were read and kept again."""
    events = numbered(
        [
            *EXAMPLES,
            *[
                StepFinished(seq=1, at=1, step="a", output=Payload("x" * size))
                for size in (8190, 8191, 100_000)
            ],
        ]
    )
    memory, file, copy = MemoryJournal(), SqliteJournal(tmp_path / "a.db"), SqliteJournal(tmp_path / "b.db")
    await memory.append("r", events)
    await file.append("r", events)
    await copy.append("r", await file.read("r"))
    heads = {await memory.head("r"), await file.head("r"), await copy.head("r")}
    await file.close()
    await copy.close()

    assert len(heads) == 1
    assert len(heads.pop()) == 64


async def test_the_head_moves_with_each_event(journal: Journal) -> None:
    """Every event changes the head; reading does not."""
    heads = set[str]()
    for event in chain("r", 5):
        await journal.append("r", [event])
        heads |= {await journal.head("r"), await journal.head("r")}

    assert len(heads) == 5


async def test_a_closed_journal_says_so(tmp_path: Path) -> None:
    """A file journal that was closed is a clear error, not damage."""
    closed = SqliteJournal(tmp_path / "j.db")
    await closed.close()
    with pytest.raises(JournalError, match=r"cannot be used.*closed") as refused:
        await closed.read("r")

    assert not isinstance(refused.value, JournalDamaged)


def test_a_row_is_plain() -> None:
    """What is listed of a run is plain data."""
    row = RunRow(run="r", workflow="w", status="done", started=1, updated=2, events=3, head="00")

    assert (row.run, row.status) == ("r", "done")
