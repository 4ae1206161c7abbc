"""`stats` counts what the runs of a journal came to, and says the same as reading each run would."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from agentflow.events import OperationStarted, StepFinished
from agentflow.journal import RunRow
from agentflow.journal.skimming import Skimmed, skimmed
from agentflow.reporting.stats import Stats, Tally
from tests.cli.conftest import Launcher, cut_off, events_in, journal_of

MINUTE = 60_000_000_000


def row(run: str, status: str, took: int, workflow: str = "w") -> RunRow:
    return RunRow(run=run, workflow=workflow, status=status, started=0, updated=took, events=9, head="")


def call(run: str, number: str, at: int, took: int, name: str, kind: str, **ended: Any) -> list[Skimmed]:
    begun = Skimmed(run, "operation.started", at, "s#1", number, kind, name)
    return [begun, Skimmed(run, "operation.finished", at + took, "s#1", number, **ended)]


def test_figures_of_known_runs() -> None:
    """Success, nearest-rank percentiles, tokens and money are what they are by hand."""
    rows = [row(f"r{n}", "done", n * MINUTE) for n in range(1, 20)]
    rows += [row("bad", "failed", 100 * MINUTE), row("on", "running", 5), row("no", "cancelled", 1, "v")]
    seen = [
        Skimmed("r1", "step.started", 0, "s#1"),
        Skimmed("r1", "step.failed", 2, "s#1", error="ValueError"),
    ]
    seen += [Skimmed("r1", "step.started", 10, "s#1")]
    used = {"input_tokens": 100, "output_tokens": 20, "usd": 0.25}
    seen += call("r1", "1.1", 11, 5, "gpt", "chat", usage=used)
    seen += call("r1", "1.2", 16, 7, "web", "tool", error="NetworkUnavailable")
    seen += call("r1", "1.3", 16, 9, "web", "tool")
    seen += call("r1", "1.4", 16, 9, "ddgs", "retrieval")
    seen += call("r1", "1.5", 16, 9, "web", "tool", error="CancelledError")
    seen += [Skimmed("r1", "step.finished", 40, "s#1")]
    # Of another run: the numbers of operations begin anew, and nothing that is open goes over.
    seen += [
        Skimmed("r2", "step.started", 0, "in#1[0]/s#2"),
        *call("r2", "1.1", 1, 1, "gpt", "chat", usage=used)[:1],
    ]
    seen += [Skimmed("no", "operation.finished", 9, "in#1[0]/s#2", "1.1", usage=used)]

    stats = Stats.of(rows, seen)

    assert (stats.total.count, stats.total.ok, stats.total.failed) == (22, 19, 2)
    assert stats.statuses["running"] == 1
    works = stats.workflows["w"]
    assert works.success == 0.95
    assert (works.seconds(0.5), works.seconds(0.95)) == (600.0, 1140.0)
    assert (works.model_calls, works.tool_calls, works.tokens, works.usd) == (1, 3, 120, 0.25)
    assert stats.workflows["v"].tokens == 0
    step = stats.steps["w/s"]
    assert (step.count, step.ok, step.failed, step.errors["ValueError"]) == (2, 1, 1, 1)
    assert stats.steps["w/in/s"].seconds(0.5) is None
    tool = stats.tools["web"]
    # What was let go has not failed.
    assert (tool.count, tool.ok, tool.failed) == (3, 1, 1)
    assert stats.models["gpt"].usd == 0.25
    assert "ddgs" not in stats.tools
    assert Tally().success is None


@pytest.fixture
def full(deeds: Path, launch: Launcher) -> Path:
    """A journal with runs that ended in most ways."""
    launch("run", "sums", "numbers=[1,2,3]", "--run-id", "done")
    launch("run", "sums", "numbers=[-1]", "--run-id", "failed")
    launch("run", "pays_once", "ann", "--run-id", "pays")
    launch("approve", "pays", "--yes")
    launch("run", "two", "ann", "--run-id", "asks")
    cut_off(deeds, "wiring", "ann", "doubts", OperationStarted)
    cut_off(deeds, "sums", {"numbers": [1]}, "open", StepFinished)
    return deeds


def test_what_sqlite_reads_is_what_the_events_say(full: Path) -> None:
    """Event by event, and so figure by figure, whatever payloads there are."""
    runs = ["done", "failed", "pays", "asks", "doubts", "open"]
    read = [one for run in runs for one in skimmed(run, events_in(full, run))]

    async def skim() -> list[Skimmed]:
        journal = journal_of(full)
        try:
            return list(journal.skim(runs))
        finally:
            await journal.close()

    quick = asyncio.run(skim())
    assert sorted(map(repr, quick)) == sorted(map(repr, read))
    assert [q for q in quick if q.run == "pays"] == [r for r in read if r.run == "pays"]
    assert len(quick) > 30


def test_stats_for_a_person_and_as_json(full: Path, launch: Launcher) -> None:
    """Runs by status, and a table each for workflows, steps and tools."""
    data = launch("stats", "--json").json

    assert data["runs"] == 6
    assert data["statuses"]["failed"] == 1
    assert data["workflows"]["sums"]["count"] == 3
    assert data["workflows"]["sums"]["success"] == 0.5
    assert data["steps"]["sums/square"]["errors"] == {"ValueError": 1}
    assert data["tools"]["pay"]["ok"] == 1
    assert data["total"]["tool_calls"] == 1
    shown = launch("stats").out
    assert "6 runs" in shown
    assert "sums/square" in shown
    assert "ValueError (1)" in shown


def test_runs_are_chosen_as_in_the_list(full: Path, launch: Launcher) -> None:
    """By workflow, status and time; none is said so."""
    assert launch("stats", "--workflow", "sums", "--json").json["runs"] == 3
    assert launch("stats", "--status", "done", "--json").json["runs"] == 2
    assert launch("stats", "--since", "1h", "--json").json["runs"] == 6
    assert "no such runs" in launch("stats", "--until", "1h").out
    assert set(launch("stats", "--workflow", "sums", "--json").json["steps"]) == {
        "sums/split",
        "sums/square",
        "sums/add",
    }
    assert "more: --most" in launch("stats", "--most", "2").out
    assert launch("stats", "--most", "0").code == 2
    assert launch("stats", "--status", "odd").code == 2


def test_a_missing_journal_has_no_runs(project: Path, launch: Launcher) -> None:
    """Counting makes no journal."""
    assert "no runs yet" in launch("stats").out
    assert launch("stats", "--json").json["runs"] == 0
    assert not (project / "traces").exists()


def test_one_broken_event_hides_nothing_else(full: Path, launch: Launcher) -> None:
    """What is no JSON any more is passed over; `show` says of that run that it is damaged."""
    db = sqlite3.connect(full / "traces" / "journal.db")
    db.execute(
        "update events set data = cast('{' as blob) where type = 'step.finished' and run = (select id from runs where run = 'done') and seq = 3"
    )
    db.commit()
    db.close()

    assert launch("stats", "--json").json["runs"] == 6
    assert launch("show", "done").code == 1
