"""Runs that are stopped: nothing is left behind, what was finished stays finished, and a resume goes on from there."""

from __future__ import annotations

import asyncio
import gc
from pathlib import Path
from typing import Any

import pytest

from agentflow import (
    Approval,
    Decision,
    MemoryJournal,
    Settings,
    SqliteJournal,
    Wait,
    Workflow,
    each,
    gather,
    operation,
    resume,
    run,
    step,
)
from agentflow.app import compile_workflow
from agentflow.engine.runner import Runner
from agentflow.events import (
    OperationFinished,
    OperationStarted,
    RunCancelled,
    RunInterrupted,
    RunResumed,
    StepStarted,
)
from agentflow.exceptions import RunCancelled as RunCancelledError
from tests.definition.sound import (
    SOUND,
    inner,
    last,
    one,
    spread,
    total,
    two,
)
from tests.engine.watching import until


def forever(log: list[str]) -> Any:
    """A step that never ends, and says when it was stopped."""

    @step
    async def stays(number: int) -> int:
        try:
            async with operation("tool", "t"):
                await asyncio.sleep(3600)
        finally:
            log.append(f"stopped {number}")

        return number

    return stays


def everywhere(log: list[str]) -> Workflow[int, Any]:
    """Work in a map, in a sub-workflow, beside a wait and a person, none of which ends."""
    stays = forever(log)
    nap = Wait("nap", of=int, seconds=3600)
    visit = Workflow("visit", start=one, end=stays, edges=[one >> stays])

    sign = Approval("sign", of=int)
    join = gather(spread >> each(visit, parallel=3), nap, sign)
    return Workflow("w", start=last, end=join, edges=[last >> join])


@pytest.mark.parametrize("how", ["cancel", "interrupt", "task"])
async def test_stopping_leaves_nothing_running(how: str) -> None:
    """Tasks, timers, open operations and steps inside of sub-workflows are all gone when a stopped run returns."""
    log: list[str] = []
    before = asyncio.all_tasks()
    journal = MemoryJournal()
    seen: list[Any] = []
    started = run(everywhere(log), 3, settings=Settings(journal=journal, observers=[seen.append]))
    task = started.start()
    await until(lambda: sum(isinstance(e, OperationStarted) for e in seen) == 3)
    {"cancel": started.cancel, "interrupt": started.interrupt, "task": task.cancel}[how]()
    ended = (await asyncio.gather(task, return_exceptions=True))[0]
    events = await journal.read(started.id)

    assert asyncio.all_tasks() == before
    assert not started.runner.timers
    assert sorted(log) == ["stopped 1", "stopped 2", "stopped 3"]
    assert sum(isinstance(e, OperationFinished) for e in events) == 3
    # Who only stops waiting for a run does not end it for good.
    assert events[-1].type == ("run.cancelled" if how == "cancel" else "run.interrupted")
    assert isinstance(ended, asyncio.CancelledError) == (how == "task")


async def test_a_cancelled_run_says_so() -> None:
    """The result of a cancelled run is cancelled, with the reason in the journal, and cannot be unwrapped."""
    journal = MemoryJournal()
    started = run(everywhere([]), 1, settings=Settings(journal=journal))
    task = started.start()
    await asyncio.sleep(0.01)
    started.cancel("not needed")
    result = await task
    last_event = (await journal.read(started.id))[-1]

    assert result.status == "cancelled"
    assert isinstance(last_event, RunCancelled)
    assert last_event.reason == "not needed"
    with pytest.raises(RunCancelledError):
        result.unwrap()


@pytest.mark.parametrize("lone", [True, False])
@pytest.mark.parametrize("early", ["before it starts", "before it runs"])
async def test_a_run_can_be_cancelled_before_it_begins(early: str, lone: bool) -> None:
    """A run that is cancelled before its first step records that it was there and that it was cancelled, and does nothing."""
    log: list[str] = []

    @step
    async def does(number: int) -> int:
        log.append("done")
        return number

    journal = MemoryJournal()
    join = gather(does, two)
    workflow = (
        Workflow("w", start=does, end=does)
        if lone
        else Workflow("w", start=one, end=join, edges=[one >> join])
    )
    started = run(workflow, 1, settings=Settings(journal=journal))
    if early == "before it runs":
        started.start()

    started.cancel("changed my mind")
    result = await asyncio.wait_for(started.result(), 5)
    events = await journal.read(started.id)

    assert result.status == "cancelled"
    assert [events[0].type, events[-1].type] == ["run.started", "run.cancelled"]
    assert not log


@pytest.mark.parametrize("lone", [True, False])
async def test_a_step_that_ignores_its_cancellation_does_not_save_the_run(lone: bool) -> None:
    """A step that swallows the cancellation and goes on is waited for, and the run ends as it was told to."""
    going = asyncio.Event()

    @step
    async def stubborn(number: int) -> int:
        going.set()
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            await asyncio.sleep(0)

        return number

    join = gather(stubborn, two)
    workflow = (
        Workflow("w", start=stubborn, end=two, edges=[stubborn >> two])
        if lone
        else Workflow("w", start=one, end=join, edges=[one >> join])
    )
    started = run(workflow, 1)
    task = started.start()
    await going.wait()
    started.cancel()
    result = await asyncio.wait_for(task, 5)

    assert result.status == "cancelled"


async def test_a_second_request_to_stop_does_not_cut_off_the_first() -> None:
    """Stopping twice still waits for steps to tidy up, and records the end."""
    log: list[str] = []
    going = asyncio.Event()

    @step
    async def tidies(number: int) -> int:
        try:
            going.set()
            await asyncio.sleep(3600)
        finally:
            await asyncio.sleep(0.01)
            log.append("tidy")

        return number

    join = gather(tidies, two)
    journal = MemoryJournal()
    started = run(
        Workflow("w", start=one, end=join, edges=[one >> join]), 1, settings=Settings(journal=journal)
    )
    task = started.start()
    await going.wait()
    started.interrupt()
    await asyncio.sleep(0)
    started.cancel("really")
    result = await task

    assert log == ["tidy"]
    assert result.status in ("cancelled", "interrupted")
    assert (await journal.read(started.id))[-1].type in ("run.cancelled", "run.interrupted")


async def test_the_callers_task_is_not_left_cancelled() -> None:
    """After a stop that the run was asked for, the task that drove it can wait for other things."""
    runner = Runner(compile_workflow(everywhere([])), MemoryJournal(), "r")
    runner.begin(1, "0")
    asyncio.get_running_loop().call_later(0.01, runner.stop, RunInterrupted, "")
    await runner.drive()
    current = asyncio.current_task()

    assert current is not None
    assert current.cancelling() == 0
    async with asyncio.timeout(5):
        await asyncio.sleep(0)


@pytest.mark.parametrize("waits", [True, False])
@pytest.mark.parametrize("lone", [True, False])
async def test_a_step_may_stop_its_own_run(lone: bool, waits: bool) -> None:
    """A step that interrupts its run is stopped where it next waits, and the caller's task is not."""
    log: list[str] = []
    started: Any = None

    @step
    async def enough(number: int) -> int:
        started.interrupt()
        if waits:
            await asyncio.sleep(3600)

        log.append("went on")
        return number

    join = gather(enough, two)
    workflow = (
        Workflow("w", start=enough, end=two, edges=[enough >> two])
        if lone
        else Workflow("w", start=one, end=join, edges=[one >> join])
    )
    started = run(workflow, 1)
    result = await asyncio.wait_for(started.result(), 5)
    await asyncio.sleep(0)

    assert result.status == "interrupted"
    assert log == ([] if waits else ["went on"])


async def test_what_was_finished_is_not_run_again(tmp_path: Path) -> None:
    """Interrupted in the middle of a map, a run goes on in a fresh process state without repeating what had ended."""
    log: list[int] = []
    hold = asyncio.Event()

    @step
    async def work(number: int) -> int:
        log.append(number)
        if number == 2 and not hold.is_set():
            await asyncio.sleep(3600)

        return number * 10

    workflow = Workflow("w", start=spread, end=total, edges=[spread >> each(work, parallel=1) >> total])
    first = SqliteJournal(tmp_path / "j.db")
    started = run(workflow, 4, settings=Settings(journal=first))
    task = started.start()
    await until(lambda: 2 in log)
    started.interrupt("lunch")
    assert (await task).status == "interrupted"
    await first.close()
    hold.set()
    second = SqliteJournal(tmp_path / "j.db")
    again = await resume(workflow, started.id, settings=Settings(journal=second))
    result = await again.result()
    events = await second.read(started.id)
    await second.close()

    assert result.output == 60
    assert log == [0, 1, 2, 2, 3]
    assert [e.attempt for e in events if isinstance(e, StepStarted) and e.step == "work#1[2]"] == [1, 2]


async def test_what_had_just_ended_is_kept() -> None:
    """A step that ended in the same moment as the run was interrupted is recorded as finished, not done a second time."""
    log: list[str] = []
    journal = MemoryJournal()
    started: Any = None

    @step
    async def pays(number: int) -> int:
        log.append("paid")
        # The outcome is posted right after this, and the stop is seen before that is committed.
        asyncio.get_running_loop().call_soon(started.interrupt)
        return number

    @step
    async def other(number: int) -> int:
        await asyncio.sleep(0)
        return number

    join = gather(pays, other)
    workflow = Workflow("w", start=one, end=join, edges=[one >> join])
    started = run(workflow, 1, settings=Settings(journal=journal))
    result = await started.result()
    events = await journal.read(started.id)
    again = await (await resume(workflow, started.id, settings=Settings(journal=journal))).result()

    assert result.status == "interrupted"
    assert events[-1].type == "run.interrupted"
    assert again.output == (2, 2)
    assert log == ["paid"]


async def test_a_decision_that_had_just_come_is_kept() -> None:
    """A person's answer that came with the interruption is not lost."""

    journal = MemoryJournal()
    workflow = SOUND["approval"].build()
    waiting = await run(workflow, 1, settings=Settings(journal=journal)).result()
    again = await resume(workflow, waiting.run_id, settings=Settings(journal=journal))
    again.decide(None, Decision(approved=True, by="ann"))
    again.interrupt()
    await again.result()
    third = await resume(workflow, waiting.run_id, settings=Settings(journal=journal))

    assert (await third.result()).output == 4


async def test_a_run_that_was_interrupted_twice() -> None:
    """Interruptions may follow each other; each resume is an event of its own."""
    log: list[str] = []
    journal = MemoryJournal()
    workflow = everywhere(log)
    started = run(workflow, 1, settings=Settings(journal=journal))
    for _ in range(3):
        task = started.start()
        await asyncio.sleep(0.01)
        started.interrupt()
        await task
        started = await resume(workflow, started.id, settings=Settings(journal=journal))

    events = await journal.read(started.id)

    assert [e.seq for e in events] == list(range(1, len(events) + 1))
    assert sum(isinstance(e, RunResumed) for e in events) == 2


async def test_runs_in_one_process_do_not_touch_each_other() -> None:
    """Many runs of one workflow at the same time give each its own output; one that is cancelled ends alone."""
    workflow = Workflow("w", start=spread, end=total, edges=[spread >> each(inner) >> total])
    journal = MemoryJournal()
    runs = [run(workflow, n, settings=Settings(journal=journal)) for n in range(8)]
    tasks = [r.start() for r in runs]
    runs[3].cancel()
    results = await asyncio.gather(*tasks)

    assert [r.status for r in results] == ["done"] * 3 + ["cancelled"] + ["done"] * 4
    assert [r.output for r in results if r.status == "done"] == [
        sum(2 * (n + 1) + 5 for n in range(m)) for m in range(8) if m != 3
    ]


async def test_no_task_is_destroyed_while_it_is_pending() -> None:
    """A stopped run leaves no coroutine that the garbage collector would complain of."""
    complaints: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
    started = run(everywhere([]), 3)
    task = started.start()
    await asyncio.sleep(0.01)
    started.cancel()
    await task
    del started, task
    gc.collect()

    assert not complaints
