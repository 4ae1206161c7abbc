"""Runs whose processes are killed: each comes to the same end, and nothing that must happen once happens twice."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from agentflow import MemoryJournal, Settings, run
from agentflow.testing import CrashingJournal
from tests.durability.fence import contested
from tests.durability.reports import report_of

# Killing and taking up hundreds of runs takes long where others use the machine.
pytestmark = pytest.mark.timeout(600)
# Seconds of the soak; read here, as the tests themselves see no settings from outside.
SOAK = float(os.environ.get("AGENTFLOW_SOAK_SECONDS", "600"))


def test_a_process_may_die_at_any_event(tmp_path: Path) -> None:
    """Killed once after each of its events in turn, a run is finished by another process as if nothing had happened."""
    report = report_of("matrix", "after", tmp_path)

    assert report["broken"] == {}, report["said"]
    assert report["counts"]["killed"] > 120
    assert report["counts"]["in doubt"] > 0


def test_a_process_may_die_before_it_says_what_it_did(tmp_path: Path) -> None:
    """Killed after something was done and before that is on disk, it is not done again without being asked about."""
    report = report_of("matrix", "before", tmp_path)

    assert report["broken"] == {}, report["said"]
    assert report["counts"]["killed"] > 50
    assert report["counts"]["in doubt, and done"] > 0


def test_a_process_may_die_in_a_resume(tmp_path: Path) -> None:
    """The same where the process that takes the run up is killed as well."""
    report = report_of("matrix", "twice", tmp_path)

    assert report["broken"] == {}, report["said"]
    assert report["counts"]["killed"] > report["points"] > 50


@pytest.mark.parametrize(
    "how", ["some", pytest.param("all", marks=[pytest.mark.slow, pytest.mark.timeout(0)])]
)
def test_the_workflows_of_this_project_may_die(tmp_path: Path, how: str) -> None:
    """With the embedded model, a real browser and approvals: the same output, each letter and form sent once."""
    report = report_of("samples", how, tmp_path, seconds=580 if how == "some" else 3600)

    assert report["broken"] == {}, report["said"]
    assert report["counts"]["killed"] == report["points"]


@pytest.mark.slow
@pytest.mark.timeout(0)
def test_runs_that_are_killed_at_any_moment(tmp_path: Path) -> None:
    """Eight runs at a time in one journal, killed also between their events, for minutes."""
    report = report_of("soak", SOAK, tmp_path, seconds=SOAK + 120)
    print(report["counts"])

    assert report["broken"] == {}, (report["seed"], report["said"])
    assert report["counts"]["killed"] > 0


@pytest.mark.parametrize(
    ("how", "loser"), [("leased", "RunBusy"), ("unleased", "JournalConflict")], ids=["leased", "unleased"]
)
def test_two_processes_take_up_one_run(tmp_path: Path, how: str, loser: str) -> None:
    """Of two processes that resume at the same moment one goes on; the other stops before it does anything twice.

    With leases it is refused at once; without, the journal takes only one event of each number.
    """
    report = report_of("fence", how, 200, tmp_path)

    assert report["broken"] == {}, report["said"]
    ends = {end for pair in report["outcomes"] for end in pair.split(" + ")}
    assert ends <= {"done", "waiting", "over", loser, "ProjectError"}, report["outcomes"]
    assert loser in ends, report["outcomes"]


async def test_a_crashing_journal_commits_event_by_event() -> None:
    """It crashes right after the event that was asked for, and the rest of the batch is lost."""
    inner = MemoryJournal()

    def crash() -> None:
        raise RuntimeError("crash")

    journal = CrashingJournal(inner, after=2, crash=crash)
    with pytest.raises(RuntimeError, match="crash"):
        await run(contested, 1, run_id="r", settings=Settings(journal=journal)).result()

    assert len(await inner.read("r")) == 2


async def test_a_crashing_journal_loses_what_comes_after() -> None:
    """With `before`, the event that was asked for is not on disk."""
    inner = MemoryJournal()

    def crash() -> None:
        raise RuntimeError("crash")

    journal = CrashingJournal(inner, before=2, crash=crash)
    with pytest.raises(RuntimeError, match="crash"):
        await run(contested, 1, run_id="r", settings=Settings(journal=journal)).result()

    assert len(await inner.read("r")) == 1


@pytest.mark.parametrize(
    ("point", "said"), [({}, "either"), ({"after": 1, "before": 1}, "either"), ({"after": 0}, "no event 0")]
)
def test_a_crashing_journal_wants_one_point(point: Any, said: str) -> None:
    """It is told one event to crash at, and there is nothing on disk before the first."""
    with pytest.raises(ValueError, match=said):
        CrashingJournal(MemoryJournal(), **point)
