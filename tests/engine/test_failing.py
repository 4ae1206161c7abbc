"""Steps that fail: retries, time limits, and errors that keep what they were."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from agentflow import Retry, RunError, ToolError, Workflow, each, gather, run, step
from agentflow.events import RunFailed, StepFailed, StepStarted, TimerSet, retry_wait
from agentflow.exceptions import BudgetExhausted, LoopBoundReached, MapBoundReached, RunStalled
from agentflow.exceptions import StepFailed as StepFailedError
from agentflow.testing import run_to_end
from tests.definition.sound import Again, climb, last, one, opened, spread, total, two
from tests.engine.test_reduce import waits_for_ever

QUICK = Retry(times=2, delay=0.001, factor=2, jitter=0.5)


class OwnError(Exception):
    """An error of the user's."""


@step
async def fails(number: int) -> int:
    raise OwnError("it broke") from KeyError("the reason")


async def test_a_failure_keeps_the_steps_own_error() -> None:
    """The error of a run names the step, the type and the message, and has the step's own error as its cause."""
    workflow = Workflow("w", start=one, end=fails, edges=[one >> fails])
    with pytest.raises(StepFailedError, match="step `fails#1` failed: OwnError: it broke") as raised:
        await run(workflow, 1)

    assert isinstance(raised.value.__cause__, OwnError)
    assert isinstance(raised.value.__cause__.__cause__, KeyError)
    assert (raised.value.step, raised.value.kind) == ("fails#1", "OwnError")


async def test_a_failure_is_recorded_with_its_place() -> None:
    """The event has type, message and the last frames; an error of agentflow has its hint and no frames."""
    ended = await run_to_end(Workflow("w", start=fails, end=fails), 1)
    (failed,) = [e for e in ended.events if isinstance(e, StepFailed)]

    assert (failed.error.kind, failed.error.message) == ("OwnError", "it broke")
    assert "test_failing.py" in failed.error.traceback

    @step
    async def hints(number: int) -> int:
        raise ToolError("no", hint="do this")

    ended = await run_to_end(Workflow("w", start=hints, end=hints), 1)

    assert ended.result.error is not None
    assert (ended.result.error.hint, ended.result.error.traceback) == ("do this", "")


@pytest.mark.parametrize(
    ("build", "value", "kind"),
    [
        (
            lambda: Workflow("w", start=spread, end=total, edges=[spread >> each(two, at_most=1) >> total]),
            2,
            MapBoundReached,
        ),
        (
            lambda: Workflow(
                "w",
                start=climb,
                end=last,
                edges=[climb.on(Again, at_most=1) >> opened >> climb, climb.on(int) >> last],
            ),
            0,
            LoopBoundReached,
        ),
        (waits_for_ever, 1, RunStalled),
    ],
)
async def test_the_engines_own_failures_have_types_of_their_own(
    build: Any, value: int, kind: type[RunError]
) -> None:
    """Bounds that are reached and joins that wait in vain can be told apart by their type."""
    with pytest.raises(kind):
        await run(build(), value)


async def test_a_step_is_tried_again_until_it_works() -> None:
    """Each attempt is recorded; what comes of the last one goes on."""
    attempts: list[int] = []

    @step(retries=QUICK)
    async def flaky(number: int) -> int:
        attempts.append(number)
        if len(attempts) < 3:
            raise OwnError("not yet")

        return number

    ended = await run_to_end(Workflow("w", start=flaky, end=flaky), 7)

    assert (ended.output, len(attempts)) == (7, 3)
    assert [e.attempt for e in ended.events if isinstance(e, StepStarted)] == [1, 2, 3]


async def test_the_wait_before_a_retry_is_made_of_the_recorded_chance() -> None:
    """The point in time that is set lies exactly as far ahead as the policy and the event's own number say."""

    @step(retries=Retry(times=3, delay=0.002, factor=3, jitter=1))
    async def flaky(number: int) -> int:
        raise OwnError("never")

    now = 1_000_000_000
    from agentflow.app import compile_workflow
    from agentflow.engine.runner import Runner
    from agentflow.journal.memory import MemoryJournal

    journal = MemoryJournal()
    workflow = Workflow("w", start=flaky, end=flaky)
    runner = Runner(compile_workflow(workflow), journal, "r", clock=lambda: now)
    runner.begin(1, "0")
    await runner.drive()
    events = await journal.read("r")
    failures = [e for e in events if isinstance(e, StepFailed)]
    set_ = [e for e in events if isinstance(e, TimerSet)]

    assert len({e.chance for e in failures}) > 1
    assert all(0 <= e.chance < 1 for e in failures)
    assert flaky.retry is not None
    assert [t.due - now for t in set_] == [
        retry_wait(flaky.retry, n, e.chance) for n, e in enumerate(failures[:3], 1)
    ]


async def test_a_step_that_takes_too_long_fails() -> None:
    """A time limit cancels the attempt; the error says how long it was."""
    stopped: list[str] = []

    @step(timeout=0.01)
    async def slow(number: int) -> int:
        try:
            await asyncio.sleep(60)
        finally:
            stopped.append("yes")

        return number

    ended = await run_to_end(Workflow("w", start=slow, end=slow), 1)

    assert ended.result.error is not None
    assert (ended.result.error.kind, ended.result.error.message) == (
        "StepTimeout",
        "it took longer than its 0.01 s",
    )
    assert stopped == ["yes"]


async def test_a_time_limit_is_for_one_attempt() -> None:
    """A step that was too slow once is tried again with its whole time."""
    attempts: list[int] = []

    @step(timeout=0.2, retries=Retry(times=1, delay=0))
    async def slow(number: int) -> int:
        attempts.append(number)
        if len(attempts) == 1:
            await asyncio.sleep(60)

        return number

    assert (await run_to_end(Workflow("w", start=slow, end=slow), 1)).output == 1


async def test_a_steps_own_timeout_is_its_own_error() -> None:
    """A `TimeoutError` from inside of a step is not taken for the step's time limit."""

    @step(timeout=5)
    async def impatient(number: int) -> int:
        async with asyncio.timeout(0):
            await asyncio.sleep(60)

        return number

    ended = await run_to_end(Workflow("w", start=impatient, end=impatient), 1)

    assert ended.result.error is not None
    assert ended.result.error.kind == "TimeoutError"


@pytest.mark.parametrize("parallel", [False, True])
async def test_a_cancellation_inside_of_a_step_is_its_failure(parallel: bool) -> None:
    """A step that lets a cancelled future through has failed; nobody cancelled the run."""

    @step
    async def careless(number: int) -> int:
        inner = asyncio.get_running_loop().create_future()
        inner.cancel()
        await inner
        return number

    join = gather(careless, two)
    workflow = (
        Workflow("w", start=one, end=join, edges=[one >> join])
        if parallel
        else Workflow("w", start=careless, end=careless)
    )
    ended = await asyncio.wait_for(run_to_end(workflow, 1), 5)

    assert (ended.result.status, ended.result.step) == ("failed", "careless#1")
    assert ended.result.error is not None
    assert ended.result.error.kind == "CancelledError"


async def test_the_first_failure_is_the_runs_failure() -> None:
    """Of two branches that fail together the first one ends the run, and its error is the cause."""

    @step
    async def left(number: int) -> int:
        raise OwnError("left")

    @step
    async def right(number: int) -> int:
        raise ValueError("right")

    join = gather(left, right)
    ended = await run_to_end(Workflow("w", start=one, end=join, edges=[one >> join]), 1)
    (failed,) = [e for e in ended.events if isinstance(e, RunFailed)]

    assert (failed.step, failed.error.kind) == ("left#1", "OwnError")
    assert (ended.result.step, type(ended.result.cause)) == ("left#1", OwnError)


async def test_what_cannot_be_mended_is_not_tried_again() -> None:
    """A used-up budget ends a step at once, whatever its retries are."""

    @step(retries=QUICK)
    async def spends(number: int) -> int:
        raise BudgetExhausted("gone")

    ended = await run_to_end(Workflow("w", start=spends, end=spends), 1)

    assert [e.final for e in ended.events if isinstance(e, StepFailed)] == [True]


async def test_an_error_with_half_a_character_can_be_recorded() -> None:
    """A message with a name that is not UTF-8 is kept as it is, and read back."""

    @step
    async def odd(number: int) -> int:
        raise OwnError("no file \udcff")

    ended = await run_to_end(Workflow("w", start=odd, end=odd), 1)

    assert ended.result.error is not None
    assert ended.result.error.message == "no file \udcff"
