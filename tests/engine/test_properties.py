"""What holds for any workflow and any order in which its steps end."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agentflow import MemoryJournal, Workflow
from agentflow.app import compile_workflow
from agentflow.encoding import decode, encode
from agentflow.engine.reduce import reduce
from agentflow.engine.runner import Runner
from agentflow.engine.state import State, empty
from agentflow.events import Event, Payload, StepFinished
from agentflow.spec import from_data, to_data
from agentflow.testing import run_to_end
from tests.engine.driving import approve_all, take_up
from tests.engine.pure import Pure
from tests.engine.random_workflows import workflows

QUICK = settings(
    max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much]
)
FEW = settings(QUICK, max_examples=20)


def any_order(data: st.DataObject) -> Any:
    """Choose at random what happens next."""

    def choose(count: int) -> int:
        return data.draw(st.integers(0, count - 1)) if count > 1 else 0

    return choose


def text_of(value: Any) -> str:
    """All of a state as text: equal texts are equal states."""
    if isinstance(value, Payload):
        return value.json.decode()

    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return f"({', '.join(text_of(v) for v in value)})"

    if isinstance(value, tuple):
        return f"[{', '.join(map(text_of, value))}]"

    if hasattr(value, "items"):
        return f"{{{', '.join(sorted(f'{k}: {text_of(v)}' for k, v in value.items()))}}}"

    names = [
        n for n in getattr(type(value), "__slots__", ()) if n not in ("graph", "child", "always", "by_case")
    ]
    return f"<{', '.join(f'{n}={text_of(getattr(value, n))}' for n in names)}>" if names else repr(value)


def folded(events: Sequence[Event], graph: Any, state: State | None = None) -> State:
    state = state or empty()
    for event in events:
        state, _ = reduce(state, event, graph)

    return state


@QUICK
@given(workflows(), st.integers(0, 96), st.data())
def test_the_output_does_not_depend_on_the_order(
    workflow: Workflow[int, int], value: int, data: st.DataObject
) -> None:
    """Whatever ends first, a workflow of deterministic steps gives the same output."""
    usual = Pure(workflow).start(value).run()
    other = Pure(workflow, choose=any_order(data)).start(value).run()

    assert usual.state.status == "done", usual.state.error
    assert other.output == usual.output
    assert sorted(other.executed) == sorted(usual.executed)


@QUICK
@given(workflows(), st.integers(0, 96), st.data())
def test_a_fold_can_be_taken_up_anywhere(
    workflow: Workflow[int, int], value: int, data: st.DataObject
) -> None:
    """Folding a part of the events and then the rest, read from text, is folding them all."""
    run = Pure(workflow, choose=any_order(data)).start(value).run()
    graph = run.program.graph
    cut = data.draw(st.integers(0, len(run.events)))
    read = [decode(encode(e)) for e in run.events]
    whole = folded(run.events, graph)

    assert text_of(folded(read[cut:], graph, folded(read[:cut], graph))) == text_of(whole)


@QUICK
@given(workflows(), st.integers(0, 96), st.data())
def test_reducing_changes_nothing_that_is_there(
    workflow: Workflow[int, int], value: int, data: st.DataObject
) -> None:
    """The state before an event, and the event, are after it what they were."""

    def unchanged(before: State, event: Event, after: State) -> None:
        shown, raw = text_of(before), encode(event)
        assert text_of(reduce(before, event, run.program.graph)[0]) == text_of(after)
        assert (text_of(before), encode(event)) == (shown, raw)

    run = Pure(workflow, choose=any_order(data))
    run.watch = unchanged
    run.start(value).run()


@QUICK
@given(workflows(), st.integers(0, 96), st.data())
def test_a_run_that_is_cut_anywhere_recovers(
    workflow: Workflow[int, int], value: int, data: st.DataObject
) -> None:
    """Cut after any event and taken up in any order, also twice, a run comes to the same output and repeats nothing."""
    whole = Pure(workflow, choose=any_order(data)).start(value).run()
    events: Sequence[Event] = whole.events
    for _ in range(2):
        events = events[: data.draw(st.integers(1, max(1, len(events) - 1)))]
        done = {e.step for e in events if isinstance(e, StepFinished)}
        again = Pure(workflow, choose=any_order(data)).resume(events).run()

        assert again.output == whole.output
        assert not done & set(again.executed)
        events = again.events


@FEW
@given(workflows(), st.integers(0, 96), st.data())
def test_the_runner_and_the_reducer_agree(
    workflow: Workflow[int, int], value: int, data: st.DataObject
) -> None:
    """In the event loop a workflow gives what the rules alone give, also after a cut."""

    async def both() -> tuple[Any, Any]:
        ended = await run_to_end(workflow, value)
        events = list(ended.events)
        cut = data.draw(st.integers(1, len(events) - 1))
        journal = MemoryJournal()
        await journal.append("r", [decode(encode(e)) for e in events[:cut]])
        runner = Runner(compile_workflow(workflow), journal, "r")
        take_up(runner, await journal.read("r"))
        state = await runner.drive()
        while runner.waiting():
            approve_all(runner)
            state = await runner.drive()

        return ended.output, state.output.data if state.output is not None else state.error

    assert set(asyncio.run(both())) == {Pure(workflow).start(value).run().output}


@FEW
@given(workflows())
def test_a_spec_is_its_text(workflow: Workflow[int, int]) -> None:
    """Any workflow's spec comes back from plain data, with its digest."""
    again = from_data(to_data(workflow.spec))

    assert again == workflow.spec
    assert again.digest == workflow.digest
