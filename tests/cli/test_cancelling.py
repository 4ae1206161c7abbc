"""`cancel` ends runs for good, whoever drives them, and says what is not confirmed."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest

from agentflow.cli import cancelling
from agentflow.events import RunCancelled, StepFinished
from tests.cli.conftest import Launcher, cut_off, driven, events_in, journal_of


def test_a_run_that_nobody_drives_is_cancelled(deeds: Path, launch: Launcher) -> None:
    """The reason and who asked are in the trail; a second time there is nothing to cancel."""
    cut_off(deeds, "sums", {"numbers": [1]}, "c1", StepFinished)

    called = launch("cancel", "c1", "--reason", "not needed")

    assert called.code == 0
    assert "`c1` is cancelled" in called.out
    last = events_in(deeds, "c1")[-1]
    assert isinstance(last, RunCancelled)
    assert last.reason == "not needed"
    assert last.by
    again = launch("cancel", "c1")
    assert again.code == 2
    assert "is over" in again.err


def test_a_run_that_is_under_way_is_cancelled(deeds: Path, launch: Launcher) -> None:
    """The process that drives it stops, and that is recorded when the command ends."""
    with driven(deeds, "staying", "ann", "c2"):
        called = launch("cancel", "c2", "--json")

    assert called.code == 0
    assert called.json == {"run_id": "c2", "cancelled": True, "status": "cancelled"}
    assert events_in(deeds, "c2")[-1].type == "run.cancelled"


def test_what_is_not_confirmed_is_said(
    deeds: Path, launch: Launcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the process that drives the run does not answer in time, the request stays, and the exit code is 1."""
    monkeypatch.setattr(cancelling, "PATIENCE", 0.2)
    cut_off(deeds, "sums", {"numbers": [1]}, "c3", StepFinished)

    async def claim() -> None:
        journal = journal_of(deeds)
        await journal.claim("c3", "elsewhere", time.time_ns() + 10**11)
        await journal.close()

    async def requests() -> int:
        journal = journal_of(deeds)
        left = await journal.requests("c3")
        await journal.close()
        return len(left)

    asyncio.run(claim())
    called = launch("cancel", "c3")

    assert called.code == 1
    assert "asked to stop, but that is not confirmed" in called.out
    assert asyncio.run(requests()) == 1
