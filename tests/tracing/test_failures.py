"""What fails, is tried again, is cut off or goes on later shows in the spans as it happened."""

from __future__ import annotations

import asyncio
from collections import Counter

from agentflow import (
    Approval,
    Context,
    MemoryJournal,
    Rejected,
    Settings,
    Workflow,
    each,
    gather,
    operation,
    resume,
    run,
    step,
)
from agentflow.app import Run
from agentflow.events import RunFinished, StepStarted
from agentflow.tracing.spans import spans_of
from tests.tracing.conftest import Traced, Tracing
from tests.tracing.workflows import begin, split, total, whole


async def test_a_refused_approval_fails_the_run_and_itself(tracing: Tracing) -> None:
    """A refusal that nothing handles is an error of the approval and of the run."""
    tracing.approved = False
    traced = await tracing(whole, "to be")

    assert traced.one("step approve").attributes["error.type"] == "RunRejected"
    assert traced.one("invoke_workflow whole").attributes["agentflow.run.status"] == "rejected"
    assert traced.one("invoke_workflow counting").status == "unset"


async def test_a_refusal_that_is_handled_is_no_error(tracing: Tracing) -> None:
    """Where the workflow goes on with a refusal, the span says so and is not failed."""

    @step
    async def told(no: Rejected) -> int:
        return len(no.by)

    @step
    async def done(number: int) -> int:
        return number

    asked = Approval("asked", of=int)
    handled = Workflow(
        "handled", start=asked, end=done, edges=[asked.on(int) >> done, asked.on(Rejected) >> told >> done]
    )
    tracing.approved = False
    traced = await tracing(handled, 1)

    span = traced.one("step asked", approval_approved=False)
    assert (span.status, span.attributes["agentflow.step.case"]) == (
        "unset",
        "agentflow.steps.approval:Rejected",
    )


async def test_a_retry_is_a_span_of_its_own_that_links_to_the_failed_one(tracing: Tracing) -> None:
    """A failed attempt ends as an error; the next has the next number and points back."""
    traced = await tracing(whole, "flaky")

    first = traced.one("step measure", step_attempt=1)
    second = traced.one("step measure", step_attempt=2)
    assert (first.status, first.error, first.attributes["error.type"]) == (
        "error",
        "it flickered",
        "ValueError",
    )
    assert [event.name for event in first.events] == ["exception"]
    assert "it flickered" in str(first.events[0].attributes["exception.message"])
    assert (second.status, [link.span_id for link in second.links]) == ("unset", [first.span_id])
    assert second.parent_id == first.parent_id
    assert traced.one("invoke_workflow whole").status == "unset"


async def test_a_failure_marks_the_step_and_all_that_is_around_it(tracing: Tracing) -> None:
    """The error shows on the step, its map, its sub-workflow and the run; what ran beside it was interrupted."""

    @step
    async def break_(word: str) -> str:
        raise RuntimeError(f"no {word}\nat all")

    @step
    async def collect(words: list[str]) -> str:
        return " ".join(words)

    inner = Workflow("inner", start=split, end=collect, edges=[split >> each(break_) >> collect])

    @step
    async def last(text: str) -> str:
        return text

    traced = await tracing(Workflow("outer", start=inner, end=last, edges=[inner >> last]), "bread")

    for name in ("step break_", "map break_", "invoke_workflow inner", "invoke_workflow outer"):
        span = traced.one(name)
        assert (span.status, span.error, span.attributes["error.type"]) == (
            "error",
            "no bread",
            "RuntimeError",
        ), name


async def test_what_runs_beside_a_failure_is_closed_as_interrupted(tracing: Tracing) -> None:
    """A step that is stopped because another one failed is an error of the type `interrupted`."""

    @step
    async def fork(text: str) -> str:
        return text

    @step
    async def quick(text: str) -> str:
        raise RuntimeError("quickly")

    asked = Approval("asked", of=str)

    @step
    async def both(pair: tuple[str, str]) -> str:
        return pair[0]

    traced = await tracing(
        Workflow("fork2", start=fork, end=both, edges=[fork >> gather(asked, quick) >> both]), "x"
    )

    assert traced.one("step asked").attributes["error.type"] == "interrupted"
    assert traced.one("step quick").attributes["error.type"] == "RuntimeError"


async def test_a_step_that_was_cut_off_is_interrupted_and_what_is_around_it_goes_on() -> None:
    """After a resume the step has a second span, the map and the run still one each, and the root tells of it."""
    journal = MemoryJournal()
    runs: list[Run[int]] = []

    @step
    async def stops(word: str, ctx: Context) -> int:
        if word == "stop" and ctx.attempt == 1:
            runs[0].interrupt("asked to")
            async with operation("tool", "endless", request={"word": word}):
                await _never()

        return len(word)

    workflow = Workflow("cut", start=split, end=total, edges=[split >> each(stops, parallel=1) >> total])
    runs.append(run(workflow, "go stop on", run_id="cut", settings=Settings(journal=journal)))
    assert (await runs[0].result()).status == "interrupted"
    half = spans_of(await journal.read("cut"))
    result = await (await resume(workflow, "cut", settings=Settings(journal=journal))).result()
    traced = Traced(
        events=await journal.read("cut"), spans=spans_of(await journal.read("cut")), result=result
    )

    assert "invoke_workflow cut" not in [span.name for span in half]
    assert list(traced.spans[: len(half)]) == half
    cut_off = traced.one("step stops", step_item=1, step_attempt=1)
    assert (cut_off.status, cut_off.attributes["error.type"]) == ("error", "interrupted")
    assert traced.one("step stops", step_item=1, step_attempt=2).links[0].span_id == cut_off.span_id
    assert traced.one("map stops").status == "unset"
    root = traced.one("invoke_workflow cut", run_resumes=1)
    assert root.status == "unset"
    assert [event.name for event in root.events] == ["agentflow.run.interrupted", "agentflow.run.resumed"]


async def _never() -> None:
    await asyncio.Event().wait()


async def test_a_process_that_died_leaves_spans_that_end_where_its_journal_ends(tracing: Tracing) -> None:
    """Events that stop in the middle of a step: the resume closes it at the last moment that is known."""
    traced = await tracing(whole, "to be")
    cut = next(
        i
        for i, e in enumerate(traced.events)
        if isinstance(e, StepStarted) and e.step.endswith("measure#1[1]")
    )
    dead = list(traced.events[: cut + 1])
    journal = MemoryJournal()
    await journal.append("whole-1", dead)
    run_ = await resume(whole, "whole-1", settings=Settings(journal=journal))
    await run_.result()

    spans = spans_of(await journal.read("whole-1"))
    killed = next(s for s in spans if s.attributes.get("error.type") == "interrupted")
    assert killed.attributes["agentflow.step.attempt"] == 1
    assert killed.end == dead[-1].at
    assert Counter(span.span_id for span in spans).most_common(1)[0][1] == 1


async def test_a_run_that_goes_on_after_a_failure_is_a_second_span_of_the_same_trace(
    tracing: Tracing,
) -> None:
    """The failed root and map stay as they were sent; what goes on is new, below the root, and linked."""
    broken = [True]

    @step
    async def may_break(word: str) -> int:
        if broken[0] and word == "be":
            raise RuntimeError("not yet")

        return len(word)

    workflow = Workflow(
        "mended", start=split, end=total, edges=[split >> each(may_break, parallel=1) >> total]
    )
    failed = await tracing(workflow, "to be or")
    broken[0] = False
    result = await (await resume(workflow, "mended-1", settings=Settings(journal=tracing.journal))).result()
    traced = await tracing.again(result)

    assert traced.result.status == "done"
    assert list(traced.spans[: len(failed.spans)]) == list(failed.spans)
    root = failed.one("invoke_workflow mended")
    second = traced.one("invoke_workflow mended", run_status="done")
    assert (second.parent_id, second.links[0].span_id) == (root.span_id, root.span_id)
    goes_on = next(s for s in traced.spans if s.name == "map may_break" and s.status == "unset")
    assert (goes_on.parent_id, goes_on.links[0].span_id) == (
        second.span_id,
        failed.one("map may_break").span_id,
    )
    assert traced.one("step may_break", step_item=1, step_attempt=2).parent_id == goes_on.span_id
    assert max(Counter(s.span_id for s in traced.spans).values()) == 1


async def test_a_cancelled_run_says_so(tracing: Tracing) -> None:
    """The root of a cancelled run is an error of the type `cancelled` with the reason."""
    runs: list[Run[str]] = []

    @step
    async def gives_up(text: str) -> str:
        runs[0].cancel("no longer needed")
        await _never()
        return text

    workflow = Workflow("given_up", start=begin, end=gives_up, edges=[begin >> gives_up])
    runs.append(run(workflow, "x", run_id="c", settings=Settings(journal=tracing.journal)))
    traced = await tracing.again(await runs[0].result())

    root = traced.one("invoke_workflow given_up", run_status="cancelled")
    assert (root.attributes["error.type"], root.error) == ("cancelled", "no longer needed")
    assert traced.one("step gives_up").attributes["error.type"] == "interrupted"


async def test_open_spans_are_given_only_when_asked_for(tracing: Tracing) -> None:
    """A run that goes on has its finished spans; with `include_open` also the rest, marked as open."""
    traced = await tracing(whole, "to be")
    events = [e for e in traced.events if not isinstance(e, RunFinished)][:-2]

    finished, all_ = spans_of(events), spans_of(events, include_open=True)
    assert all_[: len(finished)] == finished
    assert [(s.name, s.attributes["agentflow.open"]) for s in all_[len(finished) :]] == [
        ("step approve", True),
        ("invoke_workflow whole", True),
    ]
    assert not any("agentflow.open" in s.attributes for s in finished)
