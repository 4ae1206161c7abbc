"""Budgets: a limit is a limit, also across parallel branches, sub-workflows, resumes and time."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from agentflow import (
    Approval,
    Budget,
    Decision,
    MemoryJournal,
    Settings,
    Workflow,
    each,
    operation,
    resume,
    run,
    step,
    tool,
)
from agentflow.app import compile_workflow
from agentflow.engine.budget import Account
from agentflow.engine.runner import Runner
from agentflow.events import Event, OperationStarted, StepStarted
from agentflow.exceptions import BudgetExhausted
from agentflow.testing import run_to_end
from agentflow.tools import call
from tests.definition.sound import Edges, last, one, spread, total, two
from tests.engine.driving import approve_all, seconds_left, take_up

COUNT = {"chat": "model_calls", "tool": "tool_calls"}


def calling(kind: Any, made: list[int], **usage: float) -> Any:
    """A step that makes one call of a kind."""

    @step
    async def calls(number: int) -> int:
        async with operation(kind, "c") as record:
            made.append(number)
            await asyncio.sleep(0)
            record.usage = usage or None

        return number

    return calls


@pytest.mark.parametrize("kind", ["chat", "tool"])
async def test_no_call_is_made_beyond_the_budget(kind: str) -> None:
    """Fifty branches that all want a call at once make exactly as many as the budget allows."""
    made: list[int] = []
    calls = calling(kind, made)
    workflow = Workflow(
        "w",
        start=spread,
        end=total,
        edges=[spread >> each(calls, parallel=50) >> total],
        budget=Budget(**{COUNT[kind]: 20}),
    )
    ended = await run_to_end(workflow, 50)

    assert (ended.result.status, len(made)) == ("failed", 20)
    assert sum(isinstance(e, OperationStarted) for e in ended.events) == 20
    assert ended.result.usage[COUNT[kind]] == 20
    with pytest.raises(
        BudgetExhausted, match=f"`c` was not called: the budget of 20 {COUNT[kind]} is used up"
    ):
        _ = ended.output


async def test_a_budget_that_suffices_is_used_to_the_end() -> None:
    """As many calls as the budget says may be made."""
    made: list[int] = []
    edges: Edges = [spread >> each(calling("tool", made), parallel=50) >> total]
    ended = await run_to_end(
        Workflow("w", start=spread, end=total, edges=edges, budget=Budget(tool_calls=50)), 50
    )

    assert (ended.output, len(made)) == (sum(range(50)), 50)


async def test_a_budget_of_nothing_allows_nothing() -> None:
    """A budget of 0 refuses the first call."""
    made: list[int] = []
    calls = calling("chat", made)
    ended = await run_to_end(Workflow("w", start=calls, end=calls, budget=Budget(model_calls=0)), 1)

    assert (ended.result.status, made) == ("failed", [])


@pytest.mark.parametrize(
    ("budget", "usage", "expected"),
    [
        (Budget(tokens=100), {"input_tokens": 30, "output_tokens": 10}, 3),
        (Budget(usd=0.10), {"usd": 0.04}, 3),
        (Budget(usd=0.08), {"usd": 0.04}, 2),
    ],
)
async def test_no_call_is_made_once_tokens_or_money_are_used_up(
    budget: Budget, usage: dict[str, float], expected: int
) -> None:
    """Tokens and money are known after a call: the next one is refused when they are gone."""
    made: list[int] = []
    calls = calling("chat", made, **usage)
    edges: Edges = [spread >> each(calls, parallel=1) >> total]
    ended = await run_to_end(Workflow("w", start=spread, end=total, edges=edges, budget=budget), 10)

    assert (ended.result.status, len(made)) == ("failed", expected)


async def test_what_was_used_before_counts_after_a_resume() -> None:
    """Calls of an earlier process are counted from its events, so a budget holds for the run, not for the process."""
    made: list[int] = []
    calls = calling("tool", made, input_tokens=5)
    hold, reached = asyncio.Event(), asyncio.Event()

    @step
    async def pauses(number: int) -> int:
        reached.set()
        if not hold.is_set():
            await asyncio.sleep(3600)

        return number

    edges: Edges = [spread >> each(calls, parallel=1) >> total >> pauses >> again(made)]
    workflow = Workflow("w", start=spread, end=AGAIN[-1], edges=edges, budget=Budget(tool_calls=3))
    journal = MemoryJournal()
    started = run(workflow, 3, settings=Settings(journal=journal))
    task = started.start()
    await reached.wait()
    started.interrupt()
    await task
    hold.set()
    result = await (await resume(workflow, started.id, settings=Settings(journal=journal))).result()

    assert result.error is not None
    assert (result.error.kind, len(made)) == ("BudgetExhausted", 3)
    assert (result.usage["tool_calls"], result.usage["input_tokens"]) == (3, 15)


AGAIN: list[Any] = []


def again(made: list[int]) -> Any:
    """One more step that makes a call."""

    @step
    async def once_more(number: int) -> int:
        async with operation("tool", "c"):
            made.append(number)

        return number

    AGAIN.append(once_more)
    return once_more


async def test_a_sub_workflow_keeps_its_own_budget() -> None:
    """Each visit of a sub-workflow with a budget has that budget, inside of the run's."""
    made: list[int] = []
    calls, more = calling("tool", made), again(made)
    visit = Workflow("visit", start=calls, end=more, edges=[calls >> more], budget=Budget(tool_calls=1))
    roomy = Workflow("roomy", start=calls, end=more, edges=[calls >> more], budget=Budget(tool_calls=2))
    tight = Workflow("w", start=spread, end=total, edges=[spread >> each(visit) >> total])
    enough = Workflow("w", start=spread, end=total, edges=[spread >> each(roomy) >> total])
    whole = Workflow(
        "w", start=spread, end=total, edges=[spread >> each(roomy) >> total], budget=Budget(tool_calls=5)
    )

    assert (await run_to_end(tight, 1)).result.status == "failed"
    assert (await run_to_end(enough, 3)).output == 3
    made.clear()
    assert (await run_to_end(whole, 3)).result.status == "failed"
    assert len(made) == 5


async def test_a_refused_call_is_charged_to_nobody() -> None:
    """Where an inner budget refuses a call, the run's count does not move."""
    made: list[int] = []
    calls, more = calling("tool", made), again(made)
    visit = Workflow("visit", start=calls, end=more, edges=[calls >> more], budget=Budget(tool_calls=1))
    ended = await run_to_end(Workflow("w", start=last, end=visit, edges=[last >> visit]), 1)

    assert ended.result.usage["tool_calls"] == 1


async def test_other_operations_cost_nothing() -> None:
    """Only model calls and tool calls are counted."""
    made: list[int] = []
    calls = calling("retrieval", made)
    ended = await run_to_end(
        Workflow("w", start=calls, end=calls, budget=Budget(tool_calls=0, model_calls=0)), 1
    )

    assert ended.output == 1


async def test_tools_are_charged() -> None:
    """A call of a tool is one tool call, with what it was asked and what came."""

    @tool(effect="none")
    async def add(a: int, b: int) -> int:
        """Add."""
        return a + b

    @step
    async def uses(number: int) -> int:
        result: int = await call(add, {"a": number, "b": 1})
        return result

    ended = await run_to_end(Workflow("w", start=uses, end=uses, budget=Budget(tool_calls=1)), 1)
    (started,) = [e for e in ended.events if isinstance(e, OperationStarted)]

    assert (ended.output, started.name, started.attributes) == (
        2,
        "add",
        {"effect": "none", "returns": "untrusted"},
    )


@step
async def sleeps(number: int) -> int:
    await asyncio.sleep(3600)
    return number


async def test_a_run_that_takes_too_long_is_ended() -> None:
    """When the minutes are used up the run fails by name, and what was running is stopped."""
    workflow = Workflow("w", start=one, end=sleeps, edges=[one >> sleeps], budget=Budget(minutes=0.0005))
    before = asyncio.all_tasks()
    with pytest.raises(BudgetExhausted, match=r"the budget of 0\.0005 minutes is used up"):
        await asyncio.wait_for(run_output(workflow), 5)

    assert len(asyncio.all_tasks()) == len(before)


async def run_output(workflow: Workflow[int, int]) -> int:
    return await run(workflow, 1)


async def test_time_at_work_adds_up_over_processes() -> None:
    """The time of earlier processes counts, the time between them does not."""
    now = 0
    workflow = Workflow("w", start=one, end=sleeps, edges=[one >> sleeps], budget=Budget(minutes=1))

    def event(kind: type[Event], at: int, seq: int, **fields: Any) -> Event:
        return kind(at=at, seq=seq, **fields)

    from agentflow.events import Payload, RunInterrupted, RunResumed, RunStarted

    hour = int(3600e9)
    events = [
        event(
            RunStarted,
            0,
            1,
            run="r",
            workflow="w",
            digest="",
            spec=None,
            input=Payload(1),
            model="",
            version="",
        ),
        event(StepStarted, int(50e9), 2, step="one#1"),
        event(RunInterrupted, int(50e9), 3, reason=""),
        event(RunResumed, hour, 4, model="", version=""),
        event(StepStarted, hour + int(20e9), 5, step="one#1"),
        event(RunInterrupted, hour + int(20e9), 6, reason=""),
    ]
    runner = Runner(compile_workflow(workflow), MemoryJournal(), "r", clock=lambda: now)
    take_up(runner, events[:3])
    later = Runner(compile_workflow(workflow), MemoryJournal(), "r", clock=lambda: now)
    take_up(later, events)

    assert seconds_left(runner) == 10
    assert seconds_left(later) == -10


async def test_nothing_is_begun_once_the_time_is_used_up() -> None:
    """A run that is resumed when its minutes are gone fails before any step is begun."""
    made: list[int] = []
    calls = calling("tool", made)
    workflow = Workflow("w", start=calls, end=calls, budget=Budget(minutes=0))
    ended = await run_to_end(workflow, 1)

    assert (ended.result.status, made) == ("failed", [])
    assert [e.type for e in ended.events] == ["run.started", "run.failed"]


async def test_waiting_for_a_person_is_not_time_at_work() -> None:
    """A budget of minutes is not used up while somebody thinks about an approval, here or in another process."""
    clock = [0]
    sign = Approval("sign", of=int)
    workflow = Workflow("w", start=one, end=two, edges=[one >> sign >> two], budget=Budget(minutes=1))
    journal = MemoryJournal()
    runner = Runner(compile_workflow(workflow), journal, "r", clock=lambda: clock[0])
    runner.begin(1, "0")
    await runner.drive()
    clock[0] = int(3600e9)
    approve_all(runner)
    state = await runner.drive()

    assert state.status == "done"
    again = Runner(compile_workflow(workflow), journal, "r", clock=lambda: clock[0])
    take_up(again, (await journal.read("r"))[:-4])
    assert seconds_left(again) == 60


async def test_an_approver_that_thinks_does_not_use_the_budget() -> None:
    """A decision that takes its time within one process leaves the minutes as they are."""
    sign = Approval("sign", of=int)

    async def slow(pending: Any) -> Decision:
        await asyncio.sleep(0.7)
        return Decision(approved=True)

    workflow = Workflow("w", start=one, end=two, edges=[one >> sign >> two], budget=Budget(minutes=0.01))

    assert await run(workflow, 1, settings=Settings(approver=slow)) == 4


async def test_a_budget_of_money_needs_a_price() -> None:
    """Once a call was made whose price is not known, no other is made on a budget in dollars."""
    account = Account("r", Budget(usd=1.0), lambda: 0)
    hold, _ = await account.reserve([account.run], "chat", "m", None)
    account.settle([account.run], hold, {"input_tokens": 5, "output_tokens": 1})

    with pytest.raises(BudgetExhausted, match="price is not known"):
        await account.reserve([account.run], "chat", "m", None)
