"""Journals that releases wrote: each opens, is brought up, and says what it said."""

from __future__ import annotations

import shutil
import sqlite3
from pathlib import Path

import pytest

from agentflow import SqliteJournal
from agentflow.events import RunStarted
from agentflow.tracing.spans import spans_of
from tests.journal.releases.recorded import FOLDER, RUNS, WORKFLOWS, Recorded

# By run: how many events and spans there are, and the last event.
KEPT = {
    "writing-1": (51, 25, "run.finished"),
    "signing-1": (5, 3, "approval.asked"),
    "counting-1": (5, 3, "run.interrupted"),
    "failing-1": (10, 4, "run.failed"),
    "asking-1": (12, 8, "operation.started"),
}


def test_each_recorded_journal_is_known() -> None:
    """No file is left out, and none is named that is not there."""
    assert sorted(str(path.relative_to(FOLDER)) for path in FOLDER.glob("*/*.db")) == sorted(RUNS)
    assert {recorded.workflow for recorded in RUNS.values()} == set(WORKFLOWS)


@pytest.mark.parametrize("read_only", [False, True], ids=["brought up", "as it is"])
@pytest.mark.parametrize(("file", "recorded"), RUNS.items(), ids=RUNS)
async def test_a_recorded_journal_is_read(
    file: str, recorded: Recorded, read_only: bool, tmp_path: Path
) -> None:
    """All events decode, their chain holds, spans follow from them, and the list says the right status."""
    shutil.copy(FOLDER / file, tmp_path / "j.db")
    journal = SqliteJournal(tmp_path / "j.db", read_only=read_only)
    (row,) = await journal.runs()
    events = await journal.read(recorded.run)
    started = events[0]

    assert (row.run, row.workflow, row.status) == recorded
    assert (row.events, row.head) == (len(events), await journal.head(recorded.run))
    assert isinstance(started, RunStarted)
    assert started.version == Path(file).parent.name
    spans = spans_of(events, include_open=True)
    assert (len(events), len(spans), events[-1].type) == KEPT[recorded.run]
    assert spans[-1].name == f"invoke_workflow {recorded.workflow}"
    await journal.close()


@pytest.mark.parametrize(("file", "recorded"), RUNS.items(), ids=RUNS)
async def test_a_recorded_journal_keeps_its_head(file: str, recorded: Recorded, tmp_path: Path) -> None:
    """Bringing a file up changes no event: the hash that stands for the run is the one that the release wrote."""
    shutil.copy(FOLDER / file, tmp_path / "j.db")
    db = sqlite3.connect(tmp_path / "j.db")
    before = db.execute("select hash from events order by seq desc limit 1").fetchone()[0].hex()
    db.close()
    journal = SqliteJournal(tmp_path / "j.db")

    assert await journal.head(recorded.run) == before
    await journal.close()
