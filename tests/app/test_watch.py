"""What looks after the runs of a loop: one look and one beat for all of them."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Collection, Sequence
from contextvars import ContextVar
from typing import Any

import pytest

from agentflow import MemoryJournal, Settings, Wait, Workflow, run
from agentflow.app import watch
from agentflow.app.requests import cancellation, deliver
from agentflow.events import RunCancelled
from agentflow.exceptions import JournalConflict, JournalDamaged
from agentflow.journal import Lease, Request
from agentflow.journal.owner import new_owner
from tests.definition.sound import one, two
from tests.engine.watching import until

napping = Workflow("napping", start=one, end=two, edges=[one >> Wait("nap", of=int, seconds=60) >> two])
RUNS = 20
told: ContextVar[str] = ContextVar("told", default="nobody")


class Counting(MemoryJournal):
    """Counts how often it is asked, and what for."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: Counter[str] = Counter()
        self.renewed: list[int] = []
        self.broken: Exception | None = None

    async def requested(self) -> Collection[str]:
        self.calls["requested"] += 1
        if self.broken is not None:
            raise self.broken

        return await super().requested()

    async def requests(self, run: str) -> list[Request]:
        self.calls["requests"] += 1
        return await super().requests(run)

    async def claim(self, run: str, owner: str, until: int) -> Lease | None:
        self.calls["claim"] += 1
        return await super().claim(run, owner, until)

    async def renew(self, leases: Sequence[tuple[str, str]], until: int) -> list[Lease]:
        self.renewed.append(len(leases))
        return await super().renew(leases, until)


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "POLL", 0.01)
    monkeypatch.setattr(watch, "BEAT", 0.02)
    monkeypatch.setattr("agentflow.app.requests.POLL", 0.01)


async def held(journal: MemoryJournal, number: int = RUNS, **settings: Any) -> list[Any]:
    """So many runs that wait for their timers."""
    given = Settings(journal=journal, **settings)
    runs = [run(napping, 1, run_id=f"r{n}", settings=given) for n in range(number)]
    for begun in runs:
        begun.start()

    await until(lambda: all(begun.runner.timers for begun in runs))
    return runs


async def ended(runs: Sequence[Any]) -> None:
    for begun in runs:
        begun.interrupt()

    assert {(await begun.result()).status for begun in runs} == {"interrupted"}


async def test_all_runs_are_looked_after_at_once() -> None:
    """However many runs wait, a journal is asked one question a look and renews all leases in one go."""
    journal = Counting()
    runs = await held(journal)
    before = journal.calls.copy()
    await until(lambda: journal.calls["requested"] >= before["requested"] + 5 and len(journal.renewed) >= 2)

    assert (journal.calls["requests"], journal.calls["claim"]) == (0, before["claim"])
    assert set(journal.renewed) == {RUNS}
    await ended(runs)


async def test_what_is_asked_of_one_run_is_done_for_that_one() -> None:
    """A request reaches its run among many, in the context that the run was begun in; the others go on."""
    seen: list[str] = []

    def observe(event: Any) -> None:
        if isinstance(event, RunCancelled):
            seen.append(told.get())

    journal = Counting()
    told.set("ann")
    runs = await held(journal, observers=[observe])
    told.set("bob")
    assert await deliver(journal, "r7", cancellation("enough", "ann"))

    assert (await runs[7].result()).status == "cancelled"
    assert seen == ["ann"]
    await ended(runs[:7] + runs[8:])


async def test_only_the_run_that_was_taken_over_stops() -> None:
    """Of many runs, the one whose lease another process has stops with a conflict; the others are renewed further."""
    journal = Counting()
    runs = await held(journal)
    await journal.release("r3", runs[3]._lease.owner)
    await journal.claim("r3", new_owner(), time.time_ns() + 10**10)
    with pytest.raises(JournalConflict, match="run `r3` was taken over"):
        await runs[3].result()

    journal.renewed.clear()
    await until(lambda: bool(journal.renewed))
    assert journal.renewed[0] == RUNS - 1
    await ended(runs[:3] + runs[4:])


async def test_a_lease_whose_time_was_over_is_taken_again() -> None:
    """A process that slept through its leases takes up again those that nobody took meanwhile."""
    journal = Counting()
    runs = await held(journal, 2)
    await journal.release("r0", runs[0]._lease.owner)
    await until(lambda: "r0" in journal._leases)

    assert journal._leases["r0"].owner == runs[0]._lease.owner
    await ended(runs)


async def test_a_damaged_journal_stops_all_its_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the journal is no longer what it was, no run that is kept there goes on."""
    journal = Counting()
    runs = await held(journal, 3)

    async def damaged(*_: Any) -> list[Lease]:
        raise JournalDamaged("another file was put in its place")

    monkeypatch.setattr(journal, "renew", damaged)
    for begun in runs:
        with pytest.raises(JournalDamaged, match="another file"):
            await begun.result()


async def test_a_journal_that_fails_is_asked_again() -> None:
    """A look that fails is told to the loop; the next one is made, and what was asked meanwhile is done."""
    journal, heard = Counting(), list[Any]()
    asyncio.get_running_loop().set_exception_handler(lambda _, context: heard.append(context))
    runs = await held(journal, 2)
    journal.broken = OSError("the line is dead")
    await until(lambda: len(heard) >= 2)
    journal.broken = None
    assert await deliver(journal, "r1", cancellation("enough", "ann"))

    assert heard[0]["exception"].args == ("the line is dead",)
    assert (await runs[1].result()).status == "cancelled"
    await ended(runs[:1])


async def test_nothing_is_left_when_no_run_is_driven() -> None:
    """With its last run a watch is gone: no timer, no task, and the next run gets a new one."""
    journal = Counting()
    runs = await held(journal, 3)
    known = watch.watching(journal)
    assert known._timer is not None or known._look is not None
    await ended(runs)

    assert (known._timer, known._look, watch._watches) == (None, None, {})
    assert asyncio.all_tasks() == {asyncio.current_task()}
