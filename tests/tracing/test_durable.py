"""What a run goes through between its processes shows in its spans: other definitions, other limits, served calls."""

from __future__ import annotations

from dataclasses import replace

from agentflow import (
    Approval,
    Budget,
    Context,
    MemoryJournal,
    Settings,
    Workflow,
    gather,
    operation,
    resume,
    run,
    step,
)
from agentflow.encoding import decode, encode
from agentflow.events import (
    ErrorInfo,
    OperationStarted,
    Payload,
    RunFailed,
    RunMigrated,
    RunResumed,
    StepStarted,
)
from agentflow.tools import call
from agentflow.tracing import operations
from agentflow.tracing.spans import spans_of
from tests.tracing import ordering
from tests.tracing.conftest import links, names, told, traced
from tests.tracing.ordering import cut, finished, look, sending
from tests.tracing.workflows import begin


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
