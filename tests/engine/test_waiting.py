"""Runs that wait: for a time that was recorded, and for a person who is asked about exactly one value."""

from __future__ import annotations

import asyncio
import hashlib
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
    each,
    gather,
    resume,
    run,
    step,
)
from agentflow.app import compile_workflow
from agentflow.engine.runner import Runner
from agentflow.events import (
    ApprovalAsked,
    ApprovalGiven,
    Event,
    RunInterrupted,
    StepStarted,
    TimerFired,
    TimerSet,
)
from agentflow.exceptions import RunRejected, RunWaiting
from agentflow.testing import run_to_end
from tests.definition.sound import SOUND, Edges, one, spread, total, two
from tests.engine.driving import take_up

sign = Approval("sign", of=int, prompt="Really?")
signed = Workflow("signed", start=one, end=two, edges=[one >> sign >> two])


async def test_a_wait_is_due_at_a_recorded_time() -> None:
    """The time is set once, in nanoseconds since the epoch, and the value goes on when it has come."""
    nap = Wait("nap", of=int, seconds=0.01)
    ended = await run_to_end(Workflow("w", start=one, end=two, edges=[one >> nap >> two]), 1)
    (set_,) = [e for e in ended.events if isinstance(e, TimerSet)]
    (fired,) = [e for e in ended.events if isinstance(e, TimerFired)]

    assert ended.output == 4
    assert set_.due >= set_.at
    assert fired.at >= set_.due - 1_000_000


async def test_a_wait_goes_on_where_it_was() -> None:
    """A run that was stopped while it waited and resumed after the time was due goes on at once, with the same time."""
    nap = Wait("nap", of=int, seconds=3600)
    workflow = Workflow("w", start=one, end=two, edges=[one >> nap >> two])
    journal = MemoryJournal()
    runner = Runner(compile_workflow(workflow), journal, "r", clock=lambda: 0)
    runner.begin(1, "0")
    runner.observers.append(lambda e: runner.stop(RunInterrupted, "") if isinstance(e, TimerSet) else None)
    await runner.drive()
    later = Runner(compile_workflow(workflow), journal, "r", clock=lambda: int(3601e9))
    take_up(later, await journal.read("r"))
    state = await asyncio.wait_for(later.drive(), 5)
    events = await journal.read("r")

    assert state.status == "done"
    assert [e.due for e in events if isinstance(e, TimerSet)] == [int(3600e9)]
    assert [e.step for e in events if isinstance(e, StepStarted)] == ["one#1", "nap#1", "two#1"]


async def test_a_run_waits_for_a_person() -> None:
    """A run with nobody to ask stops, says what it waits for, and holds nothing."""
    result = await run(signed, 1).result()

    assert result.status == "waiting"
    (pending,) = result.pending
    assert (pending.step, pending.prompt, pending.subject) == ("sign#1", "Really?", 2)
    assert pending.digest == "sha256:" + hashlib.sha256(b"2").hexdigest()
    with pytest.raises(RunWaiting, match="sign#1"):
        result.unwrap()


@pytest.mark.parametrize(("approved", "status", "output"), [(True, "done", 4), (False, "rejected", None)])
async def test_a_decision_in_another_process(
    approved: bool, status: str, output: int | None, tmp_path: Path
) -> None:
    """The answer may come days later and elsewhere; it is recorded with who gave it, and bound to what was shown."""
    first = SqliteJournal(tmp_path / "j.db")
    waiting = await run(signed, 1, settings=Settings(journal=first)).result()
    await first.close()
    second = SqliteJournal(tmp_path / "j.db")
    again = await resume(signed, waiting.run_id, settings=Settings(journal=second))
    again.decide("sign", Decision(approved=approved, by="ann", comment="fine"))
    result = await again.result()
    events = await second.read(waiting.run_id)
    await second.close()
    (asked,) = [e for e in events if isinstance(e, ApprovalAsked)]
    (given,) = [e for e in events if isinstance(e, ApprovalGiven)]

    assert (result.status, result.output) == (status, output)
    assert (given.by, given.comment, given.digest) == ("ann", "fine", asked.digest)


async def test_a_refusal_without_a_way_says_who_and_why() -> None:
    """The error of a refused run names the person and the reason."""

    async def no(pending: Any) -> Decision:
        return Decision(approved=False, by="ann", comment="too dear")

    with pytest.raises(RunRejected, match="`sign` was refused by ann: too dear"):
        await run(signed, 1, settings=Settings(approver=no))


async def test_a_refusal_goes_on_as_a_value() -> None:
    """`.on(Rejected)` gets who refused and why, and what follows an approval does not run."""

    @step
    async def told(refusal: Rejected) -> str:
        return f"{refusal.by}: {refusal.comment}"

    @step
    async def spend(number: int) -> str:
        return "spent"

    async def no(pending: Any) -> Decision:
        return Decision(approved=False, by="ann", comment="no")

    @step
    async def close(text: str) -> str:
        return text

    edges: Edges = [one >> sign >> spend >> close, sign.on(Rejected) >> told >> close]
    ended = await run_to_end(Workflow("w", start=one, end=close, edges=edges), 1, settings={"approver": no})

    assert ended.output == "ann: no"
    assert "spend" not in ended.path


async def test_two_answers_to_one_question() -> None:
    """When two people answer, the first one counts, and the run goes on as it would."""
    journal = MemoryJournal()
    waiting = await run(signed, 1, settings=Settings(journal=journal)).result()
    again = await resume(signed, waiting.run_id, settings=Settings(journal=journal))
    (asked,) = again.runner.waiting()
    again.runner.decide(asked.activation.id, asked.digest, approved=True, by="ann")
    again.runner.decide(asked.activation.id, asked.digest, approved=False, by="bob")
    result = await again.result()

    assert (result.status, result.output) == ("done", 4)


async def test_each_item_is_asked_for() -> None:
    """A mapped approval is one question an item; all answers are needed."""
    asked: list[Any] = []

    async def yes(pending: Any) -> Decision:
        asked.append((pending.step, pending.subject))
        return Decision(approved=True, by="ann")

    ended = await run_to_end(SOUND["approval of items"].build(), 3, settings={"approver": yes})

    assert ended.output == 3
    assert asked == [("approve#1[0]", 0), ("approve#1[1]", 1), ("approve#1[2]", 2)]


async def test_a_person_may_answer_while_others_work() -> None:
    """A decision that comes while a lone step is at work is recorded at once, not after it."""
    seen: list[str] = []
    working, decided = asyncio.Event(), asyncio.Event()

    @step
    async def busy(number: int) -> int:
        working.set()
        await asyncio.wait_for(decided.wait(), 5)
        return number

    def watch(event: Any) -> None:
        seen.append(event.type)
        if isinstance(event, ApprovalGiven):
            decided.set()

    join = gather(sign, busy)
    started = run(
        Workflow("w", start=one, end=join, edges=[one >> join]), 1, settings=Settings(observers=[watch])
    )
    task = started.start()
    await working.wait()
    started.decide("sign", Decision(approved=True, by="ann"))
    result = await task

    assert result.output == (2, 2)


async def test_waits_and_questions_in_a_map_in_parallel() -> None:
    """Many waits pass together, not in turn."""
    nap = Wait("nap", of=int, seconds=0.02)
    ended = await asyncio.wait_for(
        run_to_end(
            Workflow("w", start=spread, end=total, edges=[spread >> each(nap, parallel=50) >> total]), 50
        ),
        5,
    )

    assert ended.output == sum(range(50))


async def test_nothing_is_left_while_a_run_waits() -> None:
    """A run that waits for a person has no task, no timer and no event to come."""
    before = asyncio.all_tasks()
    started = run(signed, 1)
    await started.result()

    assert asyncio.all_tasks() == before
    assert not started.runner.timers
    assert [w.name for w in started.runner.waiting()] == ["sign#1"]


async def test_the_line_after_an_approval_sees_what_was_approved() -> None:
    """What goes on is the value that was shown, also where the journal was read in between."""
    journal = MemoryJournal()
    waiting = await run(signed, 5, settings=Settings(journal=journal)).result()
    again = await resume(signed, waiting.run_id, settings=Settings(journal=journal))
    again.decide(None, Decision(approved=True))
    events: list[Event | Any] = [e async for e in again.events()]

    assert events[0].type == "run.resumed"
    assert await again == 8
