"""What a run goes through between its processes shows in its spans: people, doubt, other definitions and limits."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from agentflow import (
    Approval,
    Budget,
    Context,
    Decision,
    MemoryJournal,
    Rejected,
    Settings,
    ToolError,
    Workflow,
    gather,
    operation,
    resume,
    run,
    step,
    tool,
)
from agentflow.app import Pending, Run
from agentflow.events import (
    ErrorInfo,
    Event,
    OperationStarted,
    Payload,
    RunFailed,
    RunMigrated,
    RunResumed,
    StepStarted,
    decode,
    encode,
)
from agentflow.tools import call
from agentflow.tracing import operations
from agentflow.tracing.export import _without_content
from agentflow.tracing.span import SpanData, SpanEvent
from agentflow.tracing.spans import spans_of
from tests.tracing import ordering
from tests.tracing.conftest import Traced, Tracing
from tests.tracing.ordering import cut, finished, look, pay, send
from tests.tracing.workflows import begin


async def after_people(workflow: Workflow[Any, Any], value: Any, *, approved: bool = True) -> Traced:
    """A run that is let go where people are waited for, and taken up by another process with their answers."""
    journal = MemoryJournal()
    result = await run(workflow, value, run_id="r", settings=Settings(journal=journal)).result()
    while result.status == "waiting":
        again = await resume(workflow, "r", settings=Settings(journal=journal))
        again.decide(result.pending[0].name, Decision(approved=approved, by="ann", comment="fine"))
        result = await again.result()

    return traced(await journal.read("r"), result)


def traced(events: Sequence[Event], result: Any = None) -> Traced:
    return Traced(events=events, spans=spans_of(events), result=result)


def told(span: SpanData, name: str) -> SpanEvent:
    return next(event for event in span.events if event.name == name)


def names(span: SpanData) -> list[str]:
    return [event.name.removeprefix("agentflow.") for event in span.events]


def links(span: SpanData) -> dict[str, int]:
    return {str(link.attributes["agentflow.link"]): link.span_id for link in span.links}


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


async def settle(amount: int) -> str:
    return str(await call(pay, {"amount": amount}))


async def test_a_step_that_has_to_begin_anew_so_that_it_can_ask_keeps_its_first_span(
    tracing: Tracing,
) -> None:
    """What is let go before the question is even asked is given once, and is no error."""

    @step
    async def unexpected(amount: int) -> str:
        async with operation("agent", "clerk"):
            return await settle(amount)

    run_ = await tracing(Workflow("w", start=unexpected, end=unexpected), 5)

    first, second = (run_.one("step unexpected", step_attempt=n) for n in (1, 2))
    assert [s.attributes.get("agentflow.status") for s in (first, second)] == ["waiting", None]
    assert links(second) == {"previous attempt": first.span_id}
    assert all(s.status == "unset" for s in run_.spans)
    assert [s.parent_id for s in run_.spans if s.name == "invoke_agent clerk"] == [
        first.span_id,
        second.span_id,
    ]


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
    assert (refused.status, refused.attributes["error.type"]) == ("error", "ToolError")
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
    assert "agentflow.run.reason" not in _without_content(root).attributes


@step
async def sending(text: str) -> int:
    return int(await call(send, {"text": text}))


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


@step
async def end(text: str) -> str:
    return text


@step
async def added(text: str) -> str:
    return text + "!"


confirm = Approval("confirm", of=str)
before = Workflow("moving", start=begin, end=end, edges=[begin >> confirm >> end])
after = Workflow("moving", start=begin, end=end, edges=[begin >> confirm >> added >> end])


async def test_a_run_that_is_moved_onto_another_definition_shows_its_steps() -> None:
    """The root tells of the change, and steps that only the new definition has show their kind and input."""
    journal = MemoryJournal()
    await run(before, "x", run_id="r", settings=Settings(journal=journal)).result()
    moved = await resume(after, "r", settings=Settings(journal=journal), migrate=True)
    await ordering.answered(moved)
    run_ = traced(await journal.read("r"))

    event = told(run_.one("invoke_workflow moving", run_status="done"), "agentflow.run.migrated")
    assert event.attributes["agentflow.workflow.digest"] == after.digest
    assert "added" in str(event.attributes["agentflow.run.changes"])
    span = run_.one("step added", step_kind="function")
    assert span.attributes["agentflow.step.input"] == '"x"'
    assert run_.one("step confirm").status == "unset"


async def test_a_failed_run_that_is_moved_tells_it_on_the_span_that_goes_on() -> None:
    """The span of the run that failed stays as it was sent."""
    journal = MemoryJournal()
    await run(before, "x", run_id="r", settings=Settings(journal=journal)).result()
    events = (await journal.read("r"))[:5]
    at = events[-1].at
    error = ErrorInfo(kind="BudgetExhausted", message="no more")
    failed = [*events, RunFailed(at=at + 1, step="", error=error)]
    later = [
        RunMigrated(at=at + 10, digest=after.digest, spec=None, changes=["a step more"]),
        RunResumed(at=at + 11, model="embedded", version="0"),
        RunFailed(at=at + 12, step="", error=error),
    ]
    spans = spans_of([*failed, *later])

    assert spans[: len(spans_of(failed))] == spans_of(failed)
    roots = [s for s in spans if s.name == "invoke_workflow moving"]
    assert [names(s) for s in roots] == [["exception"], ["run.migrated", "run.resumed", "exception"]]
    assert all(s.start <= e.at <= s.end for s in roots for e in s.events)


async def test_what_a_moved_run_waits_for_is_kept_as_far_as_the_new_definition_has_it() -> None:
    """A branch that arrived at its gather before the move is joined after it, as the engine does."""
    both = Approval("both", of=str)

    @step
    async def pair(two: tuple[str, str]) -> str:
        return two[0]

    old = Workflow("w", start=begin, end=pair, edges=[begin >> gather(end, both) >> pair])
    new = Workflow("w", start=begin, end=added, edges=[begin >> gather(end, both) >> pair >> added])
    journal = MemoryJournal()
    await run(old, "x", run_id="r", settings=Settings(journal=journal)).result()
    journal = await cut(await journal.read("r"), 7)
    moved = await resume(new, "r", settings=Settings(journal=journal), migrate=True)
    result = await ordering.answered(moved)
    run_ = traced(await journal.read("r"), result)

    assert run_.result.output == "x!"
    assert run_.one("step pair").attributes["agentflow.step.input"] == '["x","x"]'
    assert run_.one("step added").attributes["agentflow.step.input"] == '"x"'


async def test_new_limits_are_told_where_the_run_is_taken_up() -> None:
    """Each limit that was given with a resume is an attribute of its event: of the run, and of a step."""
    limited = Workflow("w", start=sending, end=sending, budget=Budget(tokens=10))
    journal = MemoryJournal()
    await run(limited, "abc", run_id="r", settings=Settings(journal=journal)).result()
    journal = await cut(await journal.read("r"), 2)
    await (
        await resume(limited, "r", settings=Settings(journal=journal), budget={"tokens": 20, "tool_calls": 3})
    ).result()
    root = traced(await journal.read("r")).one("invoke_workflow w")
    of_step = RunResumed(at=1, model="m", version="0", budget={"in/draft": {"tokens": 5}})
    bare = spans_of([*(await journal.read("r"))[:2], of_step], include_open=True)[-1]

    attributes = told(root, "agentflow.run.resumed").attributes
    assert attributes["agentflow.run.budget.tokens"] == 20
    assert attributes["agentflow.run.budget.tool_calls"] == 3
    assert told(bare, "agentflow.run.resumed").attributes["agentflow.run.budget.in/draft.tokens"] == 5


def test_an_operation_says_what_the_engine_holds_to() -> None:
    """Whether it is made once only, for which time it is asked for, what it may use, and that a model is asked anew."""
    begun = OperationStarted(
        at=1,
        step="s#1",
        operation="2.1",
        kind="chat",
        name="m",
        request=Payload({"messages": []}),
        attributes={"diverged": True},
        nth=2,
        once=True,
        reserved={"input_tokens": 10, "output_tokens": 20, "usd": 0.5},
    )
    attributes = operations.begun(begun, "r")

    assert attributes["agentflow.effect.once"] is True
    assert attributes["agentflow.operation.nth"] == 2
    assert attributes["agentflow.diverged"] is True
    assert attributes["agentflow.reserved.input_tokens"] == 10
    assert attributes["agentflow.reserved.output_tokens"] == 20
    assert attributes["agentflow.reserved.usd"] == 0.5
    plain = operations.begun(replace(begun, nth=1, once=False, reserved=None, attributes=None), "r")
    assert not [name for name in plain if "effect" in name or "nth" in name or "reserved" in name]


async def test_what_is_done_inside_of_what_an_earlier_attempt_finished_is_shown_under_the_later_one() -> None:
    """A plan that is served has no second span: a call that it did not make before stands under the attempt, and links to it."""

    @step
    async def planned(number: int, ctx: Context) -> int:
        async with operation("plan", "p", request={"n": number}):
            if ctx.attempt > 1:
                await call(look, {"what": "b"})

        await call(look, {"what": "c"})
        return number

    workflow = Workflow("w", start=planned, end=planned)
    journal = MemoryJournal()
    await run(workflow, 1, run_id="r", settings=Settings(journal=journal)).result()
    journal = await cut(await journal.read("r"), 4)
    await (await resume(workflow, "r", settings=Settings(journal=journal))).result()
    run_ = traced(await journal.read("r"))

    assert run_.tree() == [
        "invoke_workflow w",
        "  step planned",
        "    plan p",
        "  step planned",
        "    execute_tool look",
        "    execute_tool look",
    ]
    inside, beside = sorted((s for s in run_.spans if s.name == "execute_tool look"), key=lambda s: s.start)
    assert links(inside) == {"inside of": run_.one("plan p").span_id}
    assert links(beside) == {}


async def test_what_a_sub_workflow_leaves_behind_ends_with_it() -> None:
    """The first to reach the end of a sub-workflow ends it: what goes on in it is closed as interrupted, then and there."""
    asked = Approval("asked", of=str)

    @step
    async def quick(text: str) -> int | str:
        return text

    @step
    async def pair(both: tuple[int, str]) -> str:
        return both[1]

    joined = begin >> gather(quick.on(int), asked) >> pair >> end
    inner = Workflow("inner", start=begin, end=end, edges=[joined, quick.on(str) >> end])
    outer = Workflow("outer", start=inner, end=added, edges=[inner >> added])
    journal = MemoryJournal()
    result = await run(outer, "x", run_id="r", settings=Settings(journal=journal)).result()
    run_ = traced(await journal.read("r"), result)

    assert result.output == "x!"
    left, around = run_.one("step asked"), run_.one("invoke_workflow inner")
    assert (left.status, left.attributes["error.type"]) == ("error", "interrupted")
    assert left.end == around.end


async def test_attempts_of_a_whole_run_are_counted_without_gaps() -> None:
    """In a run with a planner, an agent and approvals, each attempt has its span and each link leads to one."""
    journal = MemoryJournal()
    await run(ordering.ordering, "go", run_id="r", settings=ordering.settings(journal)).result()
    result = await finished(journal)
    events = [decode(encode(event)) for event in await journal.read("r")]
    run_ = traced(events, result)

    assert (result.status, result.output) == ("done", "written")
    ids = {s.span_id for s in run_.spans}
    assert all(link.span_id in ids for s in run_.spans for link in s.links)
    started = [e for e in events if isinstance(e, StepStarted)]
    assert len(started) == sum("agentflow.step.attempt" in s.attributes for s in run_.spans)
    assert not [s.name for s in run_.spans if s.status == "error"]
