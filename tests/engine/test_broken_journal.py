"""A run whose journal fails in the middle stops with that error, and nothing keeps running."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from agentflow import (
    Decision,
    MemoryJournal,
    Settings,
    SqliteJournal,
    Workflow,
    each,
    gather,
    operation,
    resume,
    run,
    step,
)
from agentflow.events import Event, OperationStarted
from agentflow.exceptions import JournalConflict, JournalUnwritable, RunBusy
from tests.definition.sound import SOUND, one, spread, total, two
from tests.engine.watching import until


class Breaking(MemoryJournal):
    """A journal in memory that fails once, at its n-th append, and works again afterwards."""

    def __init__(self, at: int) -> None:
        super().__init__()
        self.left = at

    async def append(self, run: str, events: Sequence[Event], *, durable: bool = False) -> None:
        self.left -= 1
        if self.left == 0:
            raise JournalUnwritable("the disk is full", hint="free some space")

        await super().append(run, events, durable=durable)


def working(log: list[str]) -> Workflow[int, Any]:
    """Steps with operations, side by side and alone."""

    @step
    async def busy(number: int) -> int:
        try:
            async with operation("tool", "t"):
                await asyncio.sleep(0.005 * (number + 1))
        finally:
            log.append(f"ended {number}")

        return number

    @step
    async def deaf(number: int) -> int:
        try:
            async with operation("tool", "u"):
                pass
        except Exception:
            log.append("heard nothing")

        return number

    @step
    async def after(number: int) -> int:
        async with operation("tool", "v"):
            return number

    return Workflow("w", start=spread, end=after, edges=[spread >> each(busy) >> total >> deaf >> after])


@pytest.mark.parametrize("at", range(1, 15))
async def test_a_run_stops_with_the_journals_error(at: int) -> None:
    """Whichever append fails, in the driver or inside of a step, the run raises that error and leaves nothing behind."""
    log: list[str] = []
    before = asyncio.all_tasks()
    journal = Breaking(at)
    started = run(working(log), 3, settings=Settings(journal=journal))
    (ended,) = await asyncio.wait_for(asyncio.gather(started.result(), return_exceptions=True), 5)
    if journal.left > 0:
        assert not isinstance(ended, BaseException)
        assert ended.output == 3
    else:
        assert isinstance(ended, JournalUnwritable)
        assert (str(ended), ended.hint) == ("the disk is full", "free some space")

    assert asyncio.all_tasks() == before
    assert not started.runner.timers


@pytest.mark.parametrize("at", [2, 5, 8])
async def test_nothing_is_written_after_the_failure(at: int) -> None:
    """Events that were lost are not followed by others: what is in the journal is the whole of what is known."""
    journal = Breaking(at)
    started = run(working([]), 3, settings=Settings(journal=journal))
    with pytest.raises(JournalUnwritable):
        await started.result()

    kept = await journal.read(started.id)
    assert [e.seq for e in kept] == list(range(1, len(kept) + 1))
    again = await resume(working([]), started.id, settings=Settings(journal=journal)) if kept else None
    assert again is None or await again == 3


@pytest.mark.parametrize("at", range(1, 6))
@pytest.mark.parametrize("how", ["cancel", "interrupt"])
async def test_a_journal_that_fails_while_a_run_is_stopped(how: str, at: int) -> None:
    """Stopping a run whose journal fails at that moment raises the journal's error, and leaves nothing behind either."""
    before = asyncio.all_tasks()
    journal = Breaking(10_000)
    seen: list[Any] = []
    started = run(working([]), 3, settings=Settings(journal=journal, observers=[seen.append]))
    task = started.start()
    await until(lambda: sum(isinstance(e, OperationStarted) for e in seen) == 3)
    journal.left = at
    {"cancel": started.cancel, "interrupt": started.interrupt}[how]()
    ended = (await asyncio.wait_for(asyncio.gather(task, return_exceptions=True), 5))[0]

    assert isinstance(ended, JournalUnwritable) == (journal.left <= 0)
    assert asyncio.all_tasks() == before


async def test_watchers_see_the_error() -> None:
    """`events()` ends with the journal's error as well."""
    journal = Breaking(3)
    with pytest.raises(JournalUnwritable):
        async for _ in run(working([]), 3, settings=Settings(journal=journal)).events():
            pass


async def test_a_step_that_swallows_errors_does_not_hide_it() -> None:
    """A lone step that goes on after the journal failed is stopped at its next wait."""

    @step
    async def deaf(number: int) -> int:
        try:
            async with operation("tool", "t"):
                pass
        except Exception:
            await asyncio.sleep(3600)

        return number

    with pytest.raises(JournalUnwritable):
        await asyncio.wait_for(run_it(Workflow("w", start=deaf, end=deaf), Breaking(2)), 5)

    join = gather(deaf, two)
    with pytest.raises(JournalUnwritable):
        await asyncio.wait_for(
            run_it(Workflow("w", start=one, end=join, edges=[one >> join]), Breaking(3)), 5
        )


async def run_it(workflow: Workflow[Any, Any], journal: Any) -> Any:
    return await run(workflow, 1, settings=Settings(journal=journal))


async def test_two_processes_that_drive_one_run(tmp_path: Path) -> None:
    """The second of two that resume the same run stops with a conflict; the first ends it."""
    workflow = SOUND["approval"].build()
    first, second = SqliteJournal(tmp_path / "j.db"), SqliteJournal(tmp_path / "j.db")
    waiting = await run(workflow, 1, settings=Settings(journal=first)).result()
    one_ = await resume(workflow, waiting.run_id, settings=Settings(journal=first))
    with pytest.raises(RunBusy, match="is driven by process"):
        await resume(workflow, waiting.run_id, settings=Settings(journal=second))

    # A lease can run out while its holder still works: then only the numbers of the events are between the two.
    holder = await first.holder(waiting.run_id)
    assert holder is not None
    await first.release(waiting.run_id, holder.owner)
    other = await resume(workflow, waiting.run_id, settings=Settings(journal=second))
    one_.decide(None, Decision(approved=True))
    other.decide(None, Decision(approved=False))
    assert await one_ == 4
    with pytest.raises(JournalConflict):
        await other

    assert (await first.read(waiting.run_id))[-1].type == "run.finished"
    await first.close()
    await second.close()


async def test_a_full_disk_in_the_middle_of_a_run(tmp_path: Path) -> None:
    """When SQLite has no room left the run stops with a clear error; with room again it is resumed where it was."""
    journal = SqliteJournal(tmp_path / "j.db")
    pages = journal._db.execute("pragma page_count").fetchone()[0]
    journal._db.execute(f"pragma max_page_count={pages + 2}")

    @step
    async def talks(number: int) -> str:
        return "x" * 3000

    @step
    async def many(texts: list[str]) -> int:
        return len(texts)

    workflow = Workflow("w", start=spread, end=many, edges=[spread >> each(talks, parallel=1) >> many])
    started = run(workflow, 20, settings=Settings(journal=journal))
    with pytest.raises(JournalUnwritable, match="full") as full:
        await started.result()

    assert "free some space, then resume the run" in full.value.hint
    journal._db.execute("pragma max_page_count=100000")
    kept = await journal.read(started.id)
    assert kept
    assert await (await resume(workflow, started.id, settings=Settings(journal=journal))) == 20
    await journal.close()
