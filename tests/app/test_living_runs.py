"""Runs that live in one process and are spoken to from another: leases, answers, cancelling, deadlines."""

from __future__ import annotations

import asyncio
import shutil
import time
from pathlib import Path
from typing import Any

import pytest

from agentflow import (
    Approval,
    Decision,
    MemoryJournal,
    Rejected,
    Settings,
    SqliteJournal,
    Wait,
    Workflow,
    gather,
    resume,
    run,
    step,
    tool,
)
from agentflow.app import cancel, is_due, waiting_in, watch
from agentflow.app.requests import approval, choose, deliver
from agentflow.events import ApprovalGiven, OperationFinished, RunCancelled, RunPaused, TimerFired, TimerSet
from agentflow.exceptions import JournalConflict, JournalDamaged, ProjectError, RunBusy, UnknownName
from agentflow.journal.owner import new_owner
from agentflow.tools import call
from tests.definition.sound import Edges, one, two
from tests.engine.watching import until

log: list[str] = []


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    log.clear()
    monkeypatch.setattr(watch, "POLL", 0.01)
    monkeypatch.setattr("agentflow.app.requests.POLL", 0.01)


@tool(effect="read")
async def linger() -> str:
    """Take long."""
    log.append("begun")
    try:
        await asyncio.sleep(60)
    except asyncio.CancelledError:
        log.append("stopped")
        raise

    return ""


@step
async def lingering(number: int) -> int:
    await call(linger, {})
    return number


slow = Workflow("slow", start=lingering, end=lingering)
signed = Workflow("signed", start=one, end=two, edges=[one >> (sign := Approval("sign", of=int)) >> two])


def settings_of(journal: Any) -> Settings:
    return Settings(journal=journal)


async def begun(word: str = "begun") -> None:
    await until(lambda: word in log)


async def test_a_run_that_is_driven_is_refused_to_others(tmp_path: Path) -> None:
    """While a process drives a run nobody else can take it up; when it lets go, everybody can."""
    first, second = SqliteJournal(tmp_path / "j.db"), SqliteJournal(tmp_path / "j.db")
    started = run(slow, 1, run_id="r", settings=settings_of(first))
    task = started.start()
    await begun()
    with pytest.raises(RunBusy, match="run `r` is driven by process") as caught:
        await resume(slow, "r", settings=settings_of(second))

    assert "agentflow cancel r" in caught.value.hint
    started.interrupt()
    assert (await task).status == "interrupted"
    taken = await resume(slow, "r", settings=settings_of(second))
    await taken.give_back()
    assert await second.holder("r") is None


async def test_cancelling_reaches_a_tool_at_work_in_another_process(tmp_path: Path) -> None:
    """A request in the journal ends the run where it is driven: the tool at work learns it, and who asked is on record."""
    first, second = SqliteJournal(tmp_path / "j.db"), SqliteJournal(tmp_path / "j.db")
    task = run(slow, 1, run_id="r", settings=settings_of(first)).start()
    await begun()
    await cancel(second, "r", reason="enough", by="ann")
    result = await task
    last = (await second.read("r"))[-1]

    assert (result.status, log) == ("cancelled", ["begun", "stopped"])
    assert isinstance(last, RunCancelled)
    assert (last.reason, last.by) == ("enough", "ann")
    assert any(isinstance(e, OperationFinished) for e in await first.read("r"))


async def test_cancelling_a_run_that_nobody_drives() -> None:
    """A run that waits is cancelled in the journal; it cannot be taken up any more, nor cancelled again."""
    journal = MemoryJournal()
    await run(signed, 1, run_id="r", settings=settings_of(journal)).result()
    await cancel(journal, "r", by="ann")

    assert (await journal.runs())[0].status == "cancelled"
    with pytest.raises(ProjectError, match="is over"):
        await resume(signed, "r", settings=settings_of(journal))

    with pytest.raises(ProjectError, match="is over"):
        await cancel(journal, "r")

    with pytest.raises(UnknownName):
        await cancel(journal, "rr")


async def test_an_answer_reaches_the_process_that_waits(tmp_path: Path) -> None:
    """A run that is held by a timer takes an answer that another process leaves for it."""
    first, second = SqliteJournal(tmp_path / "j.db"), SqliteJournal(tmp_path / "j.db")
    nap = Wait("nap", of=int, seconds=60)

    @step
    async def note(number: int) -> int:
        log.append("signed")
        return number

    both = gather(sign >> note, nap)
    workflow = Workflow("w", start=one, end=both, edges=[one >> both])
    started = run(workflow, 1, run_id="r", settings=settings_of(first))
    task = started.start()
    await until(lambda: bool(started.runner.waiting()))

    about = choose("r", await waiting_in(workflow, "r", settings_of(second)), "approval", None)
    assert await deliver(second, "r", approval(about, approved=True, by="ann", comment=""))
    await begun("signed")
    (given,) = [e for e in await second.read("r") if isinstance(e, ApprovalGiven)]
    assert given.by == "ann"
    started.cancel()
    await task
    assert not await deliver(second, "r", approval(about, approved=True, by="ann", comment=""))
    assert await second.requests("r") == []


async def test_a_run_whose_owner_died_is_taken_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """A lease of a process that is gone, or whose time is over, keeps nobody away."""
    journal = MemoryJournal()
    await run(signed, 1, run_id="r", settings=settings_of(journal)).result()
    owner = new_owner()
    await journal.claim("r", owner, time.time_ns() + 10**11)
    with pytest.raises(RunBusy):
        await resume(signed, "r", settings=settings_of(journal))

    await journal.claim("r", owner, time.time_ns() - 1)
    taken = await resume(signed, "r", settings=settings_of(journal))
    taken.decide(None, Decision(approved=True))
    assert await taken == 4


async def test_one_that_lost_its_lease_stops(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that finds another one in its place stops cleanly, and records nothing more."""
    monkeypatch.setattr(watch, "BEAT", 0.02)
    journal = MemoryJournal()
    started = run(slow, 1, run_id="r", settings=settings_of(journal))
    task = started.start()
    await begun()
    held = await journal.holder("r")
    assert held is not None
    await journal.release("r", held.owner)
    await journal.claim("r", new_owner(), time.time_ns() + 10**10)
    before = len(await journal.read("r"))
    with pytest.raises(JournalConflict, match="taken over"):
        await asyncio.wait_for(task, 5)

    assert (len(await journal.read("r")), log) == (before, ["begun", "stopped"])


async def test_a_deadline_is_a_point_in_time() -> None:
    """An approval that nobody gave in time counts as refused when its time has come, whoever drives the run then."""
    due = Approval("sign", of=int, deadline=1.0)

    @step
    async def told(no: Rejected) -> str:
        return f"{no.by}: {no.comment}"

    @step
    async def spend(number: int) -> str:
        return "spent"

    @step
    async def close(text: str) -> str:
        return text

    edges: Edges = [one >> due >> spend >> close, due.on(Rejected) >> told >> close]
    workflow = Workflow("w", start=one, end=close, edges=edges)
    journal = MemoryJournal()
    waiting = await run(workflow, 1, run_id="r", settings=settings_of(journal)).result()
    assert waiting.status == "waiting"
    assert isinstance((await journal.read("r"))[-1], RunPaused)
    assert not await is_due(workflow, "r", settings_of(journal))

    while not await is_due(workflow, "r", settings_of(journal)):  # noqa: ASYNC110 - nothing tells of time
        await asyncio.sleep(0.02)

    assert (
        await (await resume(workflow, "r", settings=settings_of(journal)))
        == "deadline: nobody answered in time"
    )
    events = await journal.read("r")
    (set_,) = [e for e in events if isinstance(e, TimerSet)]
    asked = next(e for e in events if e.type == "approval.asked")
    assert set_.due == asked.at + 10**9


async def test_a_deadline_that_passes_while_somebody_thinks() -> None:
    """The question is withdrawn when its time has come; without a way for refusals the run ends as rejected."""
    due = Approval("sign", of=int, deadline=0.05)
    withdrawn = asyncio.Event()

    async def never(pending: Any) -> Decision | None:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            withdrawn.set()
            raise

        return None

    workflow = Workflow("w", start=one, end=two, edges=[one >> due >> two])
    result = await run(workflow, 1, settings=Settings(approver=never)).result()

    assert (result.status, withdrawn.is_set()) == ("rejected", True)
    assert result.error is not None
    assert "nobody answered in time" in result.error.message


async def test_an_answer_in_time_ends_the_deadline() -> None:
    """Once it is given, an approval has no deadline any more, and nothing of it keeps the process."""
    due = Approval("sign", of=int, deadline=3600)
    second = Approval("second", of=int)
    workflow = Workflow("w", start=due, end=second, edges=[due >> second])
    journal = MemoryJournal()
    asked: list[str] = []

    async def yes_to_the_first(pending: Any) -> Decision | None:
        asked.append(pending.step)
        return Decision(approved=True) if pending.step == "sign#1" else None

    settings = Settings(journal=journal, approver=yes_to_the_first)
    started = run(workflow, 1, run_id="r", settings=settings)
    result = await asyncio.wait_for(started.result(), 5)

    assert (result.status, asked) == ("waiting", ["sign#1", "second#1"])
    assert not started.runner.timers
    assert not any(isinstance(e, TimerFired) for e in await journal.read("r"))


async def test_what_was_left_for_a_run_is_done_first() -> None:
    """An answer that was left while nobody drove the run is taken by the next who does; nonsense is taken away."""
    journal = MemoryJournal()
    settings = settings_of(journal)
    await run(signed, 1, run_id="r", settings=settings).result()
    (about,) = await waiting_in(signed, "r", settings)
    await journal.send("r", {"kind": "approve"})
    await journal.send("r", {"kind": "from the future"})
    await journal.send("r", approval(about, approved=True, by="ann", comment=""))
    assert await is_due(signed, "r", settings)

    assert await (await resume(signed, "r", settings=settings)) == 4
    assert await journal.requests("r") == []


async def test_a_result_that_the_tool_could_not_give_is_refused() -> None:
    """What a person says that a call gave must be of the tool's type; the run can be answered right after."""

    @tool(effect="write", timeout=0.01)
    async def sluggish() -> int:
        """Take too long."""
        await asyncio.sleep(5)
        return 0

    @step
    async def calling(number: int) -> int:
        return number + int(await call(sluggish, {}))

    workflow = Workflow("w", start=calling, end=calling)
    journal = MemoryJournal()
    assert (await run(workflow, 1, run_id="r", settings=settings_of(journal)).result()).status == "waiting"
    again = await resume(workflow, "r", settings=settings_of(journal))
    with pytest.raises(ProjectError, match="this is no result of `sluggish`"):
        again.resolve(None, "done", result="many")

    again.resolve(None, "done", result=41)
    assert await again == 42


async def test_a_journal_that_is_replaced_under_a_run_stops_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where another file is put in the place of the journal, the run stops: two would drive it, each from its own."""
    monkeypatch.setattr(watch, "BEAT", 0.02)
    journal = SqliteJournal(tmp_path / "j.db")
    task = run(slow, 1, run_id="r", settings=settings_of(journal)).start()
    await begun()
    shutil.copy(tmp_path / "j.db", tmp_path / "copy.db")
    (tmp_path / "copy.db").replace(tmp_path / "j.db")
    with pytest.raises(JournalDamaged, match="another file was put in its place"):
        await asyncio.wait_for(task, 5)

    assert log == ["begun", "stopped"]
