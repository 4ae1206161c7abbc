"""What is left of a step that has ended, is late, or is stopped twice must neither do twice nor lose anything."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from agentflow import (
    Budget,
    Context,
    Decision,
    MemoryJournal,
    Retry,
    Settings,
    Workflow,
    operation,
    resume,
    run,
    step,
    tool,
)
from agentflow.context import Demand, Operation, effect
from agentflow.events import OperationStarted
from agentflow.exceptions import EffectInDoubt, ProjectError
from agentflow.tools import call

log: list[str] = []


@pytest.fixture(autouse=True)
def _empty_log() -> None:
    log.clear()


@tool(effect="write")
async def send(text: str) -> str:
    """Send."""
    log.append(f"send {text}")
    await asyncio.sleep(0.02)
    return text


@tool(effect="write", needs_approval=True)
async def pay(to: str) -> str:
    """Pay."""
    log.append(f"pay {to}")
    return f"paid {to}"


async def test_equal_writes_of_one_step_are_each_made_and_each_served() -> None:
    """Two parts of a step that send the same thing send it twice, also when the step is begun anew in between."""

    @step
    async def both(number: int) -> int:
        for name in ("a", "b"):
            async with operation("agent", name):
                await call(send, {"text": "x"})

            if name == "a":
                await call(pay, {"to": "ann"})

        return number

    workflow = Workflow("w", start=both, end=both)
    settings = Settings(journal=MemoryJournal())
    assert (await run(workflow, 1, run_id="r", settings=settings).result()).status == "waiting"
    again = await resume(workflow, "r", settings=settings)
    again.decide(None, Decision(approved=True))
    assert await again == 1
    assert log == ["send x", "pay ann", "send x"]


async def test_what_is_left_of_a_failed_step_makes_no_calls() -> None:
    """A branch that nobody waits for any more is not let make calls, and the resumed step makes them once."""
    fails = [True]

    @step
    async def torn(number: int) -> int:
        async def later() -> None:
            await asyncio.sleep(0.05)
            await call(send, {"text": "late"})

        async def trouble() -> None:
            if fails:
                raise ValueError("no")

        await asyncio.gather(later(), trouble())
        return number

    workflow = Workflow("w", start=torn, end=torn)
    settings = Settings(journal=MemoryJournal())
    assert (await run(workflow, 1, run_id="r", settings=settings).result()).status == "failed"
    await asyncio.sleep(0.1)
    assert log == []
    fails.clear()
    assert await (await resume(workflow, "r", settings=settings)) == 1
    assert log == ["send late"]


async def test_an_outcome_that_comes_late_ends_the_doubt() -> None:
    """A write that was still under way when its step failed has an outcome after all: nobody need be asked."""

    @step(retries=Retry(times=1, delay=0))
    async def torn(number: int, ctx: Context) -> int:
        async def trouble() -> None:
            await asyncio.sleep(0.005)
            if ctx.attempt == 1:
                raise ValueError("no")

        await asyncio.gather(call(send, {"text": "x"}), trouble())
        return number

    result = await run(Workflow("w", start=torn, end=torn), 1).result()
    assert (result.status, log) == ("done", ["send x"])


async def test_a_step_that_goes_on_after_a_call_was_cut_off_is_in_doubt() -> None:
    """A step that gives up waiting for a write and ends well does not hide that nobody knows what became of it."""

    @tool(effect="write")
    async def send_slowly(text: str) -> str:
        """Send, and take long."""
        log.append(f"send {text}")
        await asyncio.sleep(60)
        return text

    @step
    async def hasty(number: int) -> int:
        try:
            await asyncio.wait_for(call(send_slowly, {"text": "x"}), 0.1)
        except TimeoutError:
            return number

        return -1

    workflow = Workflow("w", start=hasty, end=hasty)
    settings = Settings(journal=MemoryJournal())
    waiting = await run(workflow, 1, run_id="r", settings=settings).result()
    assert [(p.kind, p.tool) for p in waiting.pending] == [("effect", "send_slowly")]
    again = await resume(workflow, "r", settings=settings)
    again.resolve(None, "done", result="x")
    assert (await again.result()).status == "done"
    assert log == ["send x"]


async def test_a_tool_may_say_that_it_does_not_know() -> None:
    """A tool that cannot tell whether it did its work raises `EffectInDoubt`: a person is asked, nothing is repeated."""

    @tool(effect="write")
    async def blind() -> str:
        """Try."""
        log.append("tried")
        raise EffectInDoubt("the line broke")

    @step(retries=Retry(times=3, delay=0))
    async def trying(number: int) -> int:
        await call(blind, {})
        return number

    waiting = await run(Workflow("w", start=trying, end=trying), 1).result()
    assert (waiting.status, [p.kind for p in waiting.pending], log) == ("waiting", ["effect"], ["tried"])


async def test_who_stops_waiting_does_not_end_the_run() -> None:
    """A run whose task is cancelled, as by a time limit of its caller, can be resumed."""
    hold = asyncio.Event()

    @step
    async def waits(number: int) -> int:
        if not hold.is_set():
            await asyncio.sleep(60)

        return number

    workflow = Workflow("w", start=waits, end=waits)
    settings = Settings(journal=MemoryJournal())
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(run(workflow, 1, run_id="r", settings=settings).result(), 0.05)

    hold.set()
    assert await (await resume(workflow, "r", settings=settings)) == 1


async def test_a_step_that_ends_its_process_is_a_failure() -> None:
    """`sys.exit` in a step fails that step; the run says so."""

    @step
    async def leaves(number: int) -> int:
        raise SystemExit(4)

    result = await run(Workflow("w", start=leaves, end=leaves), 1).result()
    assert result.error is not None
    assert (result.status, result.error.kind) == ("failed", "SystemExit")


async def test_an_approver_that_is_cancelled_leaves_the_question() -> None:
    """A question that is taken away in this process still waits for its answer."""

    async def away(pending: Any) -> Decision | None:
        raise asyncio.CancelledError

    @step
    async def paying(number: int) -> str:
        return str(await call(pay, {"to": "ann"}))

    workflow = Workflow("w", start=paying, end=paying)
    result = await run(workflow, 1, settings=Settings(approver=away)).result()
    assert (result.status, len(result.pending)) == ("waiting", 1)


async def test_a_verdict_that_is_none_is_refused() -> None:
    """Only the three verdicts there are can be given; anything else changes nothing."""

    @tool(effect="write", timeout=0.01)
    async def slow() -> str:
        """Take too long."""
        log.append("slow")
        await asyncio.sleep(5)
        return ""

    @step
    async def calling(number: int) -> int:
        await call(slow, {})
        return number

    workflow = Workflow("w", start=calling, end=calling)
    journal = MemoryJournal()
    settings = Settings(journal=journal)
    await run(workflow, 1, run_id="r", settings=settings).result()
    body = {"kind": "resolve", "step": "calling#1", "operation": "1.1", "verdict": "skip"}
    await journal.send("r", {**body, "by": "x", "result": None, "comment": ""})
    again = await resume(workflow, "r", settings=settings)
    with pytest.raises(ProjectError, match="is no verdict"):
        again.resolve(None, "Done", result="x")  # type: ignore[arg-type]

    assert (await again.result()).status == "waiting"
    assert log == ["slow"]


async def test_yes_and_no_to_equal_calls_are_not_mixed_up() -> None:
    """Of two equal calls the one that was refused is not made, and the one that was approved is."""
    asked: list[str] = []

    @step
    async def twice(number: int) -> list[str]:
        given = await asyncio.gather(
            call(pay, {"to": "bob"}), call(pay, {"to": "bob"}), return_exceptions=True
        )
        return [str(item) for item in given]

    async def no_to_the_second(pending: Any) -> Decision | None:
        asked.append(pending.name)
        return Decision(approved=False) if len(asked) == 2 else None

    workflow = Workflow("w", start=twice, end=twice)
    journal = MemoryJournal()
    await run(workflow, 1, run_id="r", settings=Settings(journal=journal, approver=no_to_the_second)).result()
    again = await resume(workflow, "r", settings=Settings(journal=journal))
    again.decide(None, Decision(approved=True))
    output = await again
    assert sorted(item.split()[0] for item in output) == ["a", "paid"]
    assert log == ["pay bob"]


async def test_a_cancelled_run_is_not_merely_interrupted() -> None:
    """A run that was cancelled stays so, whatever stops it while it tidies up."""

    @step
    async def tidy(number: int) -> int:
        try:
            await asyncio.sleep(60)
        finally:
            await asyncio.sleep(0.02)

        return number

    started = run(Workflow("w", start=tidy, end=tidy), 1)
    task = started.start()
    await asyncio.sleep(0.01)
    started.cancel("enough")
    started.interrupt("SIGINT")
    assert (await task).status == "cancelled"


async def test_a_model_that_asks_a_model_does_not_wait_for_itself() -> None:
    """A call inside of a call that does not fit beside it is refused, instead of waiting for what is around it."""

    def price(asked: int, written: int) -> float:
        return 0.0

    @step
    async def nested(number: int) -> int:
        async def inner(record: Operation) -> int:
            return 1

        async def outer(record: Operation) -> int:
            small = Demand(input_tokens=200, output_tokens=200, is_fixed=True, price=price)
            return await effect("chat", "inner", inner, lambda o: 1, request=2, demand=small)

        large = Demand(input_tokens=500, output_tokens=200, is_fixed=True, price=price)
        return await effect("chat", "outer", outer, lambda o: 1, request=1, demand=large)

    workflow = Workflow("w", start=nested, end=nested, budget=Budget(tokens=1_000))
    result = await asyncio.wait_for(run(workflow, 1).result(), 5)
    assert result.error is not None
    assert (result.error.kind, "has 300 left" in result.error.message) == ("BudgetExhausted", True)


async def test_a_step_whose_code_shows_that_it_asks_is_begun_once() -> None:
    """Steps that ask in the middle of other calls are not begun anew for it, and their calls are made once."""

    @step
    async def mixed(number: int, ctx: Context) -> int:
        await asyncio.gather(call(send, {"text": "x"}), ctx.ask("ship", {"n": number}))
        return number

    async def yes(pending: Any) -> Decision:
        return Decision(approved=True)

    journal = MemoryJournal()
    workflow = Workflow("w", start=mixed, end=mixed)
    assert await run(workflow, 1, run_id="r", settings=Settings(journal=journal, approver=yes)) == 1
    assert log == ["send x"]
    assert sum(isinstance(e, OperationStarted) for e in await journal.read("r")) == 1


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
async def test_a_limit_is_a_finite_number(value: float) -> None:
    """What is no number, or no limit, cannot bound anything."""
    with pytest.raises(TypeError, match="is no limit"):
        Budget(usd=value)
