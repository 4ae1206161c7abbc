"""The worst case, and what is allowed on purpose, stand on the record of each run and on its root span."""

from __future__ import annotations

from typing import Any

from agentflow import Budget, Flow, MemoryJournal, Settings, Workflow, each, run
from agentflow.encoding import decode, encode
from agentflow.events import RunStarted
from agentflow.tracing.spans import spans_of
from tests.definition.sound import spread, total, two

many = each(two, parallel=3, at_most=7)


async def test_the_bound_is_on_the_run_and_its_span() -> None:
    """Amounts and why they are so can be read from the first event, and from the root span in any viewer."""
    flow = Flow("all-three", step="two", because="nothing here is secret")
    workflow = Workflow(
        "w",
        start=spread,
        end=total,
        edges=[spread >> many >> total],
        budget=Budget(minutes=2),
        allow=[flow],
    )
    journal = MemoryJournal()
    await run(workflow, 3, run_id="r", settings=Settings(journal=journal)).result()
    events = [decode(encode(event)) for event in await journal.read("r")]
    started: Any = events[0]
    assert isinstance(started, RunStarted)
    root = next(span for span in spans_of(events) if span.parent_id is None)

    assert started.bound["steps"]["value"] == 10
    assert started.bound["parallel"]["value"] == 3
    assert started.bound["seconds"]["value"] == 120
    assert root.attributes["agentflow.bound.steps"] == 10
    assert root.attributes["agentflow.bound.seconds"] == 120
    assert "budget" in str(root.attributes["agentflow.bound.seconds.why"])
    assert root.attributes["agentflow.workflow.allowed"] == ("all-three two: nothing here is secret",)
    assert {s.name for s in spans_of(events) if s.parent_id is None} == {"invoke_workflow w"}
