"""Answers to runs that wait: approvals and effects in doubt, given to whoever drives the run."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

from agentflow.events import ApprovalGiven, OperationResolved, OperationStarted
from tests.cli.conftest import Launcher, cut_off, driven, events_in, journal_of


def test_what_waits_is_shown_with_the_command_that_answers_it(deeds: Path, launch: Launcher) -> None:
    """A call that needs approval is shown with its tool, its exact arguments, its digest, and how to answer."""
    called = launch("run", "pays_once", "ann", "--run-id", "p1")

    assert called.code == 3
    assert 'pay({\n  "to": "ann",\n  "amount": 5\n})' in called.out
    assert "pays#1:pay  sha256:" in called.out
    assert "agentflow approve p1 --yes" in called.out


def test_pending_items_as_data(deeds: Path, launch: Launcher) -> None:
    """With `--json` each item has its tool, subject, digest, since when it waits, and the command."""
    (item,) = launch("run", "pays_once", "ann", "--run-id", "p1", "--json").json["pending"]

    assert (item["tool"], item["subject"]) == ("pay", {"to": "ann", "amount": 5})
    assert item["since"]
    assert item["deadline"] is None
    assert item["answer"].startswith("agentflow approve p1 --yes")


def test_a_tool_or_the_start_of_a_digest_names_an_approval(deeds: Path, launch: Launcher) -> None:
    """Where several wait, one is named by the start of its digest; the last one by its tool."""
    waiting = launch("run", "two", "ann", "--run-id", "p2", "--json").json["pending"]
    first = next(item for item in waiting if item["subject"]["amount"] == 5)
    digest = first["digest"].removeprefix("sha256:")[:10]

    assert launch("approve", "p2", digest, "--yes", "--json").json["status"] == "waiting"
    assert launch("approve", "p2", "pay", "--yes", "--json").json["output"] == "paid 5 to ann paid 7 to ann"


def test_several_that_wait_are_shown_where_none_is_named(deeds: Path, launch: Launcher) -> None:
    """`approve` without a name shows what waits, changes nothing, and ends with 2; also as data."""
    launch("run", "two", "ann", "--run-id", "p3")
    before = len(events_in(deeds, "p3"))

    called = launch("approve", "p3", "--yes")
    as_data = launch("approve", "p3", "--yes", "--json")

    assert (called.code, as_data.code) == (2, 2)
    assert called.out.count("agentflow approve p3 pays_twice#1:pay@") == 2
    assert "name the one that is meant" in called.err
    assert len(as_data.json["pending"]) == 2
    assert len(events_in(deeds, "p3")) == before


def test_an_answer_reaches_the_process_that_drives_the_run(deeds: Path, launch: Launcher) -> None:
    """A run that another process drives takes the answer while its other branch goes on."""
    with driven(deeds, "beside", "ann", "d1"):
        busy = launch("resume", "d1")
        wrong = launch("approve", "d1", "nobody", "--yes")
        called = launch("approve", "d1", "--yes", "--comment", "fine", "--json")

    assert (busy.code, wrong.code) == (1, 2)
    assert "is driven by process" in busy.err
    assert called.code == 0
    assert called.json["delivered"] is True
    assert called.json["answered"] == "pays#1:pay"
    assert called.json["to"].startswith("process ")
    events = events_in(deeds, "d1")
    assert [e.comment for e in events if isinstance(e, ApprovalGiven)] == ["fine"]
    assert events[-1].type == "run.finished"


def test_an_answer_that_is_delivered_is_said_in_words(deeds: Path, launch: Launcher) -> None:
    """A person reads who has the answer now."""
    with driven(deeds, "beside", "ann", "d2"):
        called = launch("approve", "d2", "--no")

    assert called.code == 0
    assert "which drives run `d2`, has the answer to `pays#1:pay`" in called.out


def test_a_run_whose_process_goes_away_is_taken_up_here(deeds: Path, launch: Launcher) -> None:
    """An answer that its process did not take any more is taken back, and given here."""
    launch("run", "pays_once", "ann", "--run-id", "d3")

    async def claim() -> None:
        journal = journal_of(deeds)
        await journal.claim("d3", "elsewhere", time.time_ns() + 300_000_000)
        await journal.close()

    async def requests() -> int:
        journal = journal_of(deeds)
        left = await journal.requests("d3")
        await journal.close()
        return len(left)

    asyncio.run(claim())
    called = launch("approve", "d3", "--yes", "--json")

    assert called.json["output"] == "paid 5 to ann"
    assert asyncio.run(requests()) == 0


def test_an_effect_in_doubt_is_listed_and_resolved_as_done(deeds: Path, launch: Launcher) -> None:
    """A run cut off in a write asks what became of it; `resolve --done` gives its result, as text or JSON."""
    cut_off(deeds, "wiring", "ann", "w1", OperationStarted)

    called = launch("resume", "w1")
    assert called.code == 3
    assert "Was `wire` done?" in called.out
    assert 'wire({\n  "to": "ann"\n})' in called.out
    assert "since " in called.out
    assert "agentflow resolve w1 --done RESULT" in called.out

    resolved = launch("resolve", "w1", "wire", "--done", "wired by hand", "--comment", "seen", "--json")
    assert resolved.json["output"] == "wired by hand"
    assert [e.comment for e in events_in(deeds, "w1") if isinstance(e, OperationResolved)] == ["seen"]


def test_an_effect_is_tried_again_or_counts_as_failed(deeds: Path, launch: Launcher) -> None:
    """`resolve --retry` does it now; `resolve --fail` lets the step hear that it failed."""
    for run in ("w2", "w3"):
        cut_off(deeds, "wiring", "ann", run, OperationStarted)
        launch("resume", run)

    assert launch("resolve", "w2", "--retry", "--json").json["output"] == "wired to ann"
    failed = launch("resolve", "w3", "--fail", "--json")
    assert failed.code == 1
    assert "was not done" in failed.json["error"]["message"]


def test_a_run_without_doubts_has_nothing_to_resolve(deeds: Path, launch: Launcher) -> None:
    """`resolve` of a run that waits for an approval says so, and leaves the run to others."""
    launch("run", "pays_once", "ann", "--run-id", "w4")

    called = launch("resolve", "w4", "--retry")

    assert called.code == 2
    assert "no effect in doubt" in called.err
    assert launch("approve", "w4", "--yes").code == 0


def test_a_deadline_is_said(deeds: Path, launch: Launcher) -> None:
    """Until when an approval may be given stands beside the question, and in the data."""
    text = (deeds / "workflows" / "sums.py").read_text(encoding="utf-8")
    text = text.replace('prompt="Is it right?"', 'prompt="Is it right?", deadline=3600')
    (deeds / "workflows" / "sums.py").write_text(text, encoding="utf-8")

    called = launch("run", "asked", "numbers=[2]")
    data = launch("run", "asked", "numbers=[2]", "--json").json

    assert "  until 20" in called.out
    assert data["pending"][0]["deadline"] > data["pending"][0]["since"]
