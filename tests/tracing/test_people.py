"""Where people are asked and what they say shows in the spans: approvals, refusals, and effects in doubt."""

from __future__ import annotations

import asyncio
from typing import Any

from agentflow import (
    Approval,
    Decision,
    MemoryJournal,
    Rejected,
    Settings,
    ToolError,
    Workflow,
    operation,
    resume,
    run,
    step,
    tool,
)
from agentflow.app import Pending, Run
from agentflow.tools import call
from agentflow.tracing.content import told as told_of
from agentflow.tracing.spans import spans_of
from tests.tracing import ordering
from tests.tracing.conftest import Traced, Tracing, links, names, told, traced
from tests.tracing.ordering import cut, pay, sending


async def after_people(workflow: Workflow[Any, Any], value: Any, *, approved: bool = True) -> Traced:
    """A run that is let go where people are waited for, and taken up by another process with their answers."""
    journal = MemoryJournal()
    result = await run(workflow, value, run_id="r", settings=Settings(journal=journal)).result()
    while result.status == "waiting":
        again = await resume(workflow, "r", settings=Settings(journal=journal))
        again.decide(result.pending[0].name, Decision(approved=approved, by="ann", comment="fine"))
        result = await again.result()

    return traced(await journal.read("r"), result)


@step
async def paying(amount: int) -> str:
    async with operation("agent", "clerk"):
        return str(await call(pay, {"amount": amount}))


async def test_a_step_that_waits_for_a_person_is_let_go_without_an_error() -> None:
    """The attempt that was let go says that it waits, so does the operation around the question; the next one links back."""
    run_ = await after_people(Workflow("w", start=paying, end=paying), 5)

    first, second = (run_.one("step paying", step_attempt=n) for n in (1, 2))
    assert [s.attributes.get("agentflow.status") for s in (first, second)] == ["waiting", None]
    assert links(second) == {"previous attempt": first.span_id}
    clerks = [s for s in run_.spans if s.name == "invoke_agent clerk"]
    assert [s.attributes.get("agentflow.status") for s in clerks] == ["waiting", None]
    assert all(s.status == "unset" for s in run_.spans)
    assert names(run_.one("invoke_workflow w")) == ["run.paused", "run.resumed", "approval.given"]


async def test_the_approval_of_a_call_tells_what_was_asked_and_shows_on_the_call() -> None:
    """The question has the tool, its arguments and the digest; the answer who gave it; the call by whom it was approved."""
    run_ = await after_people(Workflow("w", start=paying, end=paying), 5)

    asked = told(run_.one("step paying", step_attempt=1), "agentflow.approval.asked").attributes
    given = told(run_.one("invoke_workflow w"), "agentflow.approval.given").attributes
    assert (asked["gen_ai.tool.name"], asked["gen_ai.tool.call.arguments"]) == ("pay", '{"amount":5}')
    assert asked["agentflow.approval.prompt"] == "Call `pay`? Pay."
    assert given == {
        "agentflow.step.activation": "paying#1",
        "gen_ai.tool.name": "pay",
        "agentflow.approval.digest": asked["agentflow.approval.digest"],
        "agentflow.approval.approved": True,
        "agentflow.approval.by": "ann",
        "agentflow.approval.comment": "fine",
    }
    call_ = run_.one("execute_tool pay", approval_by="ann", approval_approved=True)
    assert call_.attributes["agentflow.effect.once"] is True


async def test_a_call_that_was_refused_says_so() -> None:
    """A refused call is an error of its own span, with who refused it."""

    @step
    async def tries(amount: int) -> str:
        try:
            return str(await call(pay, {"amount": amount}))
        except ToolError:
            return "no"

    run_ = await after_people(Workflow("w", start=tries, end=tries), 5, approved=False)

    refused = run_.one("execute_tool pay", approval_by="ann", approval_approved=False)
    assert (refused.status, refused.attributes["error.type"]) == ("error", "CallRefused")
    assert run_.result.output == "no"


async def test_an_answer_that_comes_while_the_step_waits_is_told_on_its_span(tracing: Tracing) -> None:
    """Where the process stays, question and answer are both on the step that asked, and calls alike show their answer."""

    @step
    async def twice(amount: int) -> list[str]:
        return [str(await call(pay, {"amount": amount + n})) for n in (0, 1)]

    run_ = await tracing(Workflow("w", start=twice, end=twice), 5)

    span = run_.one("step twice")
    assert names(span) == ["approval.asked", "approval.given"] * 2
    assert "agentflow.approval.by" not in span.attributes
    assert names(run_.one("invoke_workflow w")) == []
    assert [s.attributes["agentflow.approval.by"] for s in run_.spans if s.name == "execute_tool pay"] == [
        "ada"
    ] * 2


async def test_an_operation_that_is_stopped_while_a_person_is_asked_is_an_error_where_the_run_ends() -> None:
    """Only what is let go to wait is no error: a run that is cancelled at that point says what was cut off."""
    journal = MemoryJournal()
    runs: list[Run[str]] = []

    async def cancels(_: Pending) -> Decision | None:
        runs[0].cancel("too dear", by="bob")
        return None

    workflow = Workflow("w", start=paying, end=paying)
    runs.append(run(workflow, 5, run_id="r", settings=Settings(journal=journal, approver=cancels)))
    await runs[0].result()
    spans = spans_of(await journal.read("r"))

    clerk = [s for s in spans if s.name == "invoke_agent clerk"][-1]
    assert (clerk.status, clerk.attributes["error.type"]) == ("error", "CancelledError")
    root = next(s for s in spans if s.parent_id is None)
    assert root.attributes["agentflow.run.cancelled_by"] == "bob"
    assert root.attributes["agentflow.run.reason"] == "too dear"
    assert "agentflow.run.reason" not in told_of(root, content=False).attributes


async def test_a_write_in_doubt_is_told_and_the_next_attempt_points_at_it() -> None:
    """The call that was cut off keeps its span; the doubt and what a person says are events; the attempt after links to it."""
    workflow = Workflow("w", start=sending, end=sending)
    journal = MemoryJournal()
    await run(workflow, "abc", run_id="r", settings=Settings(journal=journal)).result()
    journal = await cut(await journal.read("r"), 3)
    assert (
        await (await resume(workflow, "r", settings=Settings(journal=journal))).result()
    ).status == "waiting"
    result = await ordering.answered(await resume(workflow, "r", settings=Settings(journal=journal)), "done")
    run_ = traced(await journal.read("r"), result)

    sent, first = run_.one("execute_tool send"), run_.one("step sending", step_attempt=1)
    assert (sent.status, sent.attributes["error.type"]) == ("error", "interrupted")
    assert links(run_.one("step sending", step_attempt=2)) == {
        "previous attempt": first.span_id,
        "in doubt": sent.span_id,
    }
    root = run_.one("invoke_workflow w")
    assert names(root) == [
        "run.resumed",
        "effect.doubted",
        "run.paused",
        "run.resumed",
        "effect.resolved",
    ]
    doubted, resolved = (told(root, f"agentflow.effect.{n}").attributes for n in ("doubted", "resolved"))
    assert doubted == {
        "agentflow.step.activation": "sending#1",
        "agentflow.operation": "1.1",
        "agentflow.effect.name": "send",
    }
    assert resolved == {
        "agentflow.step.activation": "sending#1",
        "agentflow.operation": "1.1",
        "agentflow.effect.verdict": "done",
        "agentflow.effect.by": "ann",
        "agentflow.result": "3",
        "agentflow.effect.comment": "looked",
    }


async def test_a_write_that_took_too_long_keeps_its_error_and_its_step_waits() -> None:
    """The doubt is told on the step itself, which is no error of the step."""

    @tool(effect="write", timeout=0.01)
    async def slow() -> str:
        """Take a while."""
        await asyncio.sleep(5)
        return ""

    @step
    async def calling(number: int) -> int:
        await call(slow, {})
        return number

    workflow = Workflow("w", start=calling, end=calling)
    journal = MemoryJournal()
    await run(workflow, 1, run_id="r", settings=Settings(journal=journal)).result()
    run_ = traced(await journal.read("r"))

    span = run_.one("step calling")
    assert (span.status, span.attributes["agentflow.status"], names(span)) == (
        "unset",
        "waiting",
        ["effect.doubted"],
    )
    assert run_.one("execute_tool slow").attributes["error.type"] == "ToolTimeout"


async def test_an_approval_that_nobody_gave_in_time_says_so() -> None:
    """A deadline that passed counts as an answer: a refusal."""
    asked = Approval("asked", of=int, deadline=0.01)

    @step
    async def no(refused: Rejected) -> int:
        return 0

    @step
    async def done(number: int) -> int:
        return number

    async def never(_: Pending) -> Decision | None:
        await asyncio.sleep(5)
        return None

    workflow = Workflow(
        "w", start=asked, end=done, edges=[asked.on(int) >> done, asked.on(Rejected) >> no >> done]
    )
    journal = MemoryJournal()
    await run(workflow, 1, run_id="r", settings=Settings(journal=journal, approver=never)).result()
    run_ = traced(await journal.read("r"))

    span = run_.one("step asked", approval_by="deadline", approval_approved=False)
    assert (span.status, names(span)) == ("unset", ["approval.asked", "approval.given"])
