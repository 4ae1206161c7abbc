"""A run goes on with the definition that it was started with, or is moved onto another one on purpose."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from agentflow import (
    Approval,
    Decision,
    MemoryJournal,
    Settings,
    SqliteJournal,
    Workflow,
    each,
    resume,
    run,
    step,
)
from agentflow.events import RunMigrated, StepStarted
from agentflow.exceptions import DefinitionChanged
from agentflow.testing import path_of
from tests.definition.sound import one, spread, two

sign = Approval("sign", of=int)
old = Workflow("w", start=one, end=two, edges=[one >> sign >> two])


@step
async def extra(number: int) -> int:
    return number * 10


@step
async def words(number: int) -> str:
    return str(number)


async def test_what_changed_is_said() -> None:
    """Resuming with another definition is refused, with each step and edge that is different."""
    journal = MemoryJournal()
    await run(old, 1, run_id="r", settings=Settings(journal=journal)).result()
    new = Workflow("w", start=one, end=extra, edges=[one >> sign >> extra])
    with pytest.raises(DefinitionChanged) as caught:
        await resume(new, "r", settings=Settings(journal=journal))

    assert "step `extra` is new" in str(caught.value)
    assert "step `two` is gone" in str(caught.value)
    assert "--migrate" in caught.value.hint
    assert await journal.holder("r") is None


async def test_a_run_is_moved_onto_a_new_definition(tmp_path: Path) -> None:
    """With `migrate` an open run goes on with the new definition, also in later processes."""
    journal = SqliteJournal(tmp_path / "j.db")
    settings = Settings(journal=journal)
    await run(old, 1, run_id="r", settings=settings).result()
    late = Approval("late", of=int)
    new = Workflow("w", start=one, end=two, edges=[one >> sign >> extra >> late >> two])
    moved = await resume(new, "r", settings=settings, migrate=True)
    moved.decide(None, Decision(approved=True))
    assert (await moved.result()).status == "waiting"
    (event,) = [e for e in await journal.read("r") if isinstance(e, RunMigrated)]
    assert event.digest == new.digest
    assert any("extra" in change for change in event.changes)

    last = await resume(new, "r", settings=settings)
    last.decide(None, Decision(approved=True))
    assert await last == 22
    assert path_of(await journal.read("r")) == ["one", "sign", "extra", "late", "two"]
    with pytest.raises(Exception, match="is over"):
        await resume(old, "r", settings=settings)


async def test_back_to_the_old_definition() -> None:
    """A run that was moved is bound to the definition it was moved onto; it can be moved back."""
    journal = MemoryJournal()
    settings = Settings(journal=journal)
    await run(old, 1, run_id="r", settings=settings).result()
    new = Workflow("w", start=one, end=two, edges=[one >> sign >> extra >> two])
    moved = await resume(new, "r", settings=settings, migrate=True)
    assert (await moved.result()).status == "waiting"
    with pytest.raises(DefinitionChanged):
        await resume(old, "r", settings=settings)

    back = await resume(old, "r", settings=settings, migrate=True)
    back.decide(None, Decision(approved=True))
    assert await back == 4


async def test_an_open_step_must_still_be_there() -> None:
    """A run is not moved where what it is in the middle of is gone, or takes something else."""
    journal = MemoryJournal()
    settings = Settings(journal=journal)
    await run(old, 1, run_id="r", settings=settings).result()
    gone = Workflow("w", start=one, end=two, edges=[one >> two])
    with pytest.raises(DefinitionChanged, match="there is no step `sign`"):
        await resume(gone, "r", settings=settings, migrate=True)

    other: Any = Approval("sign", of=str)
    changed = Workflow("w", start=one, end=other, edges=[one >> words >> other])
    with pytest.raises(DefinitionChanged, match="cannot go on with this definition"):
        await resume(changed, "r", settings=settings, migrate=True)


async def test_a_map_is_moved_in_the_middle(tmp_path: Path) -> None:
    """Items that are done stay done, those that wait go on, when the definition around them changes."""
    journal = SqliteJournal(tmp_path / "j.db")
    settings = Settings(journal=journal)

    @step
    async def add(numbers: list[int]) -> int:
        return sum(numbers)

    many = each(sign, parallel=3)
    first = Workflow("m", start=spread, end=add, edges=[spread >> many >> add])
    waiting = await run(first, 3, run_id="r", settings=settings).result()
    assert len(waiting.pending) == 3
    part = await resume(first, "r", settings=settings)
    part.decide(waiting.pending[1].name, Decision(approved=True))
    assert (await part.result()).status == "waiting"

    second = Workflow("m", start=spread, end=extra, edges=[spread >> many >> add >> extra])
    moved = await resume(second, "r", settings=settings, migrate=True)
    for pending in (waiting.pending[0], waiting.pending[2]):
        moved.decide(pending.name, Decision(approved=True))

    assert await moved == 30


async def test_what_a_workflow_takes_may_change(tmp_path: Path) -> None:
    """A run whose start is over goes on although the new definition takes something else."""
    journal = SqliteJournal(tmp_path / "j.db")
    settings = Settings(journal=journal)
    await run(old, 1, run_id="r", settings=settings).result()

    @step
    async def parse(text: str) -> int:
        return int(text)

    new = Workflow("w", start=parse, end=two, edges=[parse >> sign >> two])
    moved = await resume(new, "r", settings=settings, migrate=True)
    moved.decide(None, Decision(approved=True))
    assert await moved == 4


async def test_a_step_that_comes_back_counts_on() -> None:
    """A step that one definition drops and a later one has again is visited for the next time, not for the first."""
    journal = MemoryJournal()
    settings = Settings(journal=journal)
    first = Workflow("w", start=extra, end=two, edges=[extra >> one >> sign >> two])
    without = Workflow("w", start=one, end=two, edges=[one >> sign >> two])
    again = Workflow("w", start=one, end=two, edges=[one >> sign >> extra >> two])
    await run(first, 1, run_id="r", settings=settings).result()
    await (await resume(without, "r", settings=settings, migrate=True)).result()
    last = await resume(again, "r", settings=settings, migrate=True)
    last.decide(None, Decision(approved=True))
    await last

    begun = [e.step for e in await journal.read("r") if isinstance(e, StepStarted)]
    assert begun == ["extra#1", "one#1", "sign#1", "extra#2", "two#1"]
