"""An open run moved onto another definition: it ends as it would have, or what stands in the way is said."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from agentflow import Workflow, gather, step
from agentflow.engine.graph import Graph, compile_graph
from agentflow.engine.migration import migrated, obstacles
from agentflow.engine.reduce import reduce
from agentflow.engine.state import State, empty
from agentflow.events import Event, Payload, StepFinished, StepStarted
from agentflow.exceptions import ProjectError
from agentflow.path import MapStep, Place, Step
from agentflow.spec import EdgeSpec, MapSpec, WorkflowSpec
from agentflow.validation.order import ended_before
from agentflow.validation.subject import Subject
from tests.definition.sound import (
    SOUND,
    Again,
    add,
    climb,
    deep,
    hold,
    inner,
    last,
    looping,
    one,
    opened,
    three,
    two,
)
from tests.engine.pure import Pure, newest, oldest, story
from tests.engine.random_workflows import workflows
from tests.engine.test_properties import any_order, text_of

QUICK = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much]
)
HERE = Place("another.yaml", 1)
Steps = dict[str, Step[Any, Any]]
Edit = Callable[[WorkflowSpec, Steps], tuple[WorkflowSpec, Steps]]
Cut = tuple[State, list[Event]]


def watched(workflow: Workflow[Any, Any], value: Any, choose: Any = newest) -> tuple[Pure, list[State]]:
    """A whole run, and its state after each event."""
    states: list[State] = []
    run = Pure(workflow, choose=choose)
    run.watch = lambda before, event, after: states.append(after)
    return run.start(value).run(), states


def cut_anywhere(workflow: Workflow[Any, Any], value: Any, data: st.DataObject) -> Cut:
    """A run in any order that was cut off after any event but its last."""
    run, states = watched(workflow, value, any_order(data))
    cut = data.draw(st.integers(1, len(states) - 1))
    return states[cut - 1], run.events[:cut]


def taken_up(workflow: Workflow[Any, Any], state: State, events: Sequence[Event]) -> Pure:
    """The rest of a run."""
    run = Pure(workflow)
    run.state, run.events = state, list(events)
    return run.resume([]).run()


def rebuilt(workflow: Workflow[Any, Any], edit: Edit) -> Workflow[Any, Any]:
    """The workflow made anew, with its sub-workflows; `edit` may change each."""
    steps = {name: _rebuilt_step(step_, edit) for name, step_ in workflow.steps.items()}
    return Workflow.of_steps(*edit(workflow.spec, steps), HERE)


def _rebuilt_step(step_: Step[Any, Any], edit: Edit) -> Step[Any, Any]:
    if isinstance(step_, MapStep):
        return MapStep(_rebuilt_step(step_.body, edit), step_.map, step_.name, step_.place)

    return rebuilt(step_, edit) if isinstance(step_, Workflow) else step_


def as_it_is(spec: WorkflowSpec, steps: Steps) -> tuple[WorkflowSpec, Steps]:
    """No change."""
    return spec, steps


def in_another_order(data: st.DataObject) -> Edit:
    """Steps in any order; edges keep theirs, as that is the order in which branches begin."""

    def edit(spec: WorkflowSpec, steps: Steps) -> tuple[WorkflowSpec, Steps]:
        return spec, dict(data.draw(st.permutations(list(steps.items()))))

    return edit


@step
async def before(number: int) -> int | str:
    """Comes before all else, and changes nothing."""
    return number


@step
async def beforehand(text: str) -> int:
    """Never comes."""
    return int(text)


def with_more(data: st.DataObject) -> Edit:
    """Two steps more and their edges, at any place in the lists; they come before the start."""

    def edit(spec: WorkflowSpec, steps: Steps) -> tuple[WorkflowSpec, Steps]:
        named = list(steps.items())
        edges = list(spec.edges)
        for new in (before, beforehand):
            named.insert(data.draw(st.integers(0, len(named))), (new.name, new))

        for edge in (
            EdgeSpec(source="before", target=spec.start, on="int"),
            EdgeSpec(source="before", target="beforehand", on="str"),
            EdgeSpec(source="beforehand", target=spec.start),
        ):
            edges.insert(data.draw(st.integers(0, len(edges))), edge)

        return replace(spec, start="before", edges=tuple(edges)), dict(named)

    return edit


def graph_of(workflow: Workflow[Any, Any]) -> Graph:
    return compile_graph(workflow.spec)


@QUICK
@given(workflows(), st.integers(0, 96), st.data())
def test_the_same_definition_changes_nothing(
    workflow: Workflow[int, int], value: int, data: st.DataObject
) -> None:
    """Moved onto an equal definition, with its steps in any order, a run goes on as if it had not been moved."""
    state, events = cut_anywhere(workflow, value, data)
    alone = taken_up(workflow, state, events)
    for edit in (as_it_is, in_another_order(data)):
        other = rebuilt(workflow, edit)
        moved = migrated(state, graph_of(workflow), graph_of(other))

        assert other.digest == workflow.digest
        assert obstacles(state, workflow.spec, other.spec) == []
        assert story(taken_up(other, moved, events).events) == story(alone.events)


@QUICK
@given(workflows(), st.integers(0, 96), st.data())
def test_what_is_beside_the_path_changes_nothing(
    workflow: Workflow[int, int], value: int, data: st.DataObject
) -> None:
    """Steps and edges that a run does not come to any more change neither its output nor what is done."""
    state, events = cut_anywhere(workflow, value, data)
    other = rebuilt(workflow, with_more(data))
    moved = migrated(state, graph_of(workflow), graph_of(other))
    alone, run = taken_up(workflow, state, events), taken_up(other, moved, events)

    assert obstacles(state, workflow.spec, other.spec) == []
    assert run.output == alone.output
    assert sorted(id_ for id_ in run.executed if "before#" not in id_) == sorted(alone.executed)


@QUICK
@given(workflows(), st.integers(0, 96), st.data())
def test_there_and_back(workflow: Workflow[int, int], value: int, data: st.DataObject) -> None:
    """Moved onto a definition that has all of its steps and back, a run is in the state that it was in."""
    state, _ = cut_anywhere(workflow, value, data)
    here, shown = graph_of(workflow), text_of(state)
    for edit in (as_it_is, in_another_order(data), with_more(data)):
        there = graph_of(rebuilt(workflow, edit))
        moved = migrated(state, here, there)
        back = migrated(moved, there, here)

        assert text_of(back) == shown == text_of(state)
        assert all(frame.graph is here for frame in back.frames.values() if not frame.id)
        assert {a.id for a in moved.open()} == {a.id for a in state.open()}


def with_reads(spec: WorkflowSpec, reads: Mapping[str, Sequence[str]]) -> WorkflowSpec:
    """The definition with steps that read the outputs of others."""
    steps = tuple(replace(s, reads=tuple(reads.get(s.id, ()))) for s in spec.steps)
    return replace(spec, steps=steps)


@QUICK
@given(workflows(), st.integers(0, 96), st.data())
def test_what_is_sound_to_read_is_no_obstacle(
    workflow: Workflow[int, int], value: int, data: st.DataObject
) -> None:
    """Wherever a run is cut, its own definition stands in no way, also where each step reads all before it."""
    state, _ = cut_anywhere(workflow, value, data)
    known = ended_before(Subject(workflow.spec, workflow.types))
    spec = with_reads(workflow.spec, {name: sorted(known.get(name, ())) for name in workflow.steps})

    assert obstacles(state, spec, spec) == []


@QUICK
@given(workflows(), st.integers(0, 96), st.data())
def test_without_obstacles_what_is_read_is_there(
    workflow: Workflow[int, int], value: int, data: st.DataObject
) -> None:
    """Where a step reads what it did not read before, and no obstacle is found, the output is there when it starts."""
    state, events = cut_anywhere(workflow, value, data)
    names = st.sampled_from(sorted(workflow.steps))
    reader, read = data.draw(names), data.draw(names)
    new = with_reads(workflow.spec, {reader: [read]})
    assume(reader != read)
    assume(obstacles(state, workflow.spec, new) == [])
    missing: list[str] = []
    index = [s.id for s in workflow.spec.steps].index(read)

    def look(earlier: State, event: Event, later: State) -> None:
        if isinstance(event, StepStarted) and event.step.startswith(f"{reader}#"):
            cell = later.frames[""].cells.get(index)
            if cell is None or cell.output is None:
                missing.append(event.step)

    run = Pure(workflow, choose=any_order(data))
    run.state, run.events, run.watch = state, list(events), look
    run.resume([]).run()

    assert run.state.status == "done"
    assert missing == []


def at(workflow: Workflow[Any, Any], value: Any, *open_: str) -> State:
    """The first state of a run in which these activations are open, and have been started."""
    _, states = watched(workflow, value)
    return next(s for s in states if all(id_ in s.active and s.active[id_].attempt for id_ in open_))


def changed(spec: WorkflowSpec, id_: str, **fields: Any) -> WorkflowSpec:
    """The definition with other fields for one step."""
    return replace(spec, steps=tuple(replace(s, **fields) if s.id == id_ else s for s in spec.steps))


def without(spec: WorkflowSpec, id_: str) -> WorkflowSpec:
    """The definition without one step and its edges."""
    edges = tuple(e for e in spec.edges if id_ not in (e.source, e.target))
    return replace(spec, steps=tuple(s for s in spec.steps if s.id != id_), edges=edges)


LINE = SOUND["line"].build()
MEND = "keep it as it was until the run is past it, and give the changed step another id"


@pytest.mark.parametrize(
    ("fields", "what"),
    [
        ({"kind": "planner"}, "is of kind `planner` now, not `function`"),
        ({"map": MapSpec()}, "runs for each item now"),
        ({"takes": "m:Task"}, "takes `Task` now, not `int`"),
        ({"gives": "m:Note"}, "gives `Note` now, not `int`"),
    ],
)
def test_an_open_step_must_stay_what_it_is(fields: Any, what: str) -> None:
    """An open step cannot be another one; one that is past or still to come can."""
    spec = LINE.spec
    state = at(LINE, 1, "two#1")

    assert obstacles(state, spec, changed(spec, "two", **fields)) == [
        f"`two#1` is open, and step `two` {what}; {MEND}"
    ]
    assert obstacles(state, spec, changed(spec, "one", **fields)) == []
    assert obstacles(state, spec, changed(spec, "three", **fields)) == []
    assert obstacles(state, spec, changed(spec, "two", options={"prompt": "x"}, timeout=3, call="m:f")) == []


def test_an_open_step_must_be_there() -> None:
    """An open step that is gone stands in the way, and cannot be moved by force."""
    state, new = at(LINE, 1, "two#1"), without(LINE.spec, "two")

    assert obstacles(state, LINE.spec, new) == [
        "`two#1` is open, and there is no step `two` any more; keep it until the run is past it"
    ]
    assert obstacles(state, LINE.spec, replace(without(LINE.spec, "three"), end="two")) == []
    with pytest.raises(ProjectError, match="`two#1` is open"):
        migrated(state, graph_of(LINE), compile_graph(new))


def test_steps_inside_are_named_with_their_path() -> None:
    """What is open inside of the items of a map is told once, with the way to it."""
    workflow = deep
    spec = workflow.spec
    state = at(workflow, 4, "looping#1[0]/climb#1", "looping#1[1]/climb#1")
    child = spec.step("looping").workflow
    assert child is not None

    assert obstacles(state, spec, changed(spec, "looping", workflow=without(child, "climb"))) == [
        "`looping#1[0]/climb#1` (and 1 more like it) is open, and there is no step `looping/climb` any more; keep it until the run is past it"
    ]
    assert obstacles(state, spec, changed(spec, "looping", map=None)) == [
        f"`looping#1` is open, and step `looping` no longer runs for each item; {MEND}"
    ]
    assert obstacles(state, spec, changed(spec, "looping", kind="function", workflow=None)) == [
        f"`looping#1` is open, and step `looping` is of kind `function` now, not `workflow`; {MEND}"
    ]


def test_a_finished_step_is_forgotten() -> None:
    """What is remembered of a step that is gone is dropped; a step that is there goes on counting its visits."""
    state, new = at(looping, -9, "climb#3"), without(looping.spec, "opened")
    moved = migrated(state, graph_of(looping), compile_graph(new))
    names = [s.id for s in new.steps]

    assert obstacles(state, looping.spec, new) == []
    assert {names[i] for i in moved.frames[""].cells} == {"climb"}
    cell = moved.frames[""].cells.get(names.index("climb"))
    assert cell is not None
    assert cell.visits == 2
    assert "climb#3" in moved.active


def test_a_loop_goes_on_counting() -> None:
    """How often an edge was followed counts on for the same edge, and is dropped with it."""
    state, spec = at(looping, -9, "climb#3"), looping.spec
    graph = graph_of(looping)
    turned = replace(spec, edges=tuple(replace(e, at_most=e.at_most and 3) for e in spec.edges[::-1]))
    gone = replace(spec, edges=tuple(replace(e, on="m:Other") if e.at_most else e for e in spec.edges))
    bound = next(i for i, e in enumerate(turned.edges) if e.at_most)
    moved = migrated(state, graph, compile_graph(turned))

    assert obstacles(state, spec, turned) == []
    assert dict(moved.frames[""].followed.items()) == {bound: 2}
    assert dict(migrated(state, graph, compile_graph(gone)).frames[""].followed.items()) == {}

    edges = [climb.on(Again, at_most=3) >> opened >> climb, climb.on(int) >> last]
    bounded = Workflow("looping", start=climb, end=last, edges=edges)
    run = taken_up(bounded, migrated(state, graph, graph_of(bounded)), [])

    assert run.executed == ["climb#3", "opened#3", "climb#4"]
    assert run.state.error is not None
    assert run.state.error.kind == "LoopBoundReached"


def test_edges_that_are_alike_keep_their_counts() -> None:
    """Of edges that are alike in their ends and case, the first stays the first."""
    twice = replace(looping.spec, edges=(looping.spec.edges[0], *looping.spec.edges))
    state = at(looping, -9, "climb#3")
    there = migrated(state, graph_of(looping), compile_graph(twice))
    back = migrated(there, compile_graph(twice), graph_of(looping))

    assert list(there.frames[""].followed.values()) == [2]
    assert text_of(back) == text_of(state)


JOIN = SOUND["join"].build()
HELD = "`gather(two, three)` holds what arrived of a branch, and"


def held() -> State:
    """A join that the branch of `two` has come to, while `three` is open."""
    run, states = watched(JOIN, 1, oldest)
    ended = next(n for n, e in enumerate(run.events) if isinstance(e, StepFinished) and e.step == "two#1")
    assert {a.id for a in states[ended].open()} == {"three#1"}
    return states[ended]


def test_a_gather_that_holds_something_must_stay() -> None:
    """What arrived at a gather needs the same gather, with the same branches and the type that it has."""
    state, spec = held(), JOIN.spec
    other = replace(
        spec, edges=tuple(replace(e, slot=1 - e.slot) if e.slot is not None else e for e in spec.edges)
    )
    third = EdgeSpec(source="one", target="gather(two, three)", slot=2)
    mend = "keep its branches as they were until the run is past it"

    assert obstacles(state, spec, spec) == []
    assert obstacles(state, spec, without(spec, "gather(two, three)")) == [
        f"{HELD} there is no gather `gather(two, three)` any more; keep it until the run is past it"
    ]
    for new in (other, replace(spec, edges=(*spec.edges, third)), without(spec, "two")):
        assert obstacles(state, spec, new) == [f"{HELD} other branches lead to it now; {mend}"]

    assert obstacles(state, spec, changed(spec, "two", gives="m:Note")) == [
        f"{HELD} `two` gives `Note` now, not `int`; keep the type until the run is past the gather"
    ]
    assert obstacles(state, spec, changed(spec, "one", gives="m:Note")) == []


def test_a_gather_that_holds_nothing_may_go() -> None:
    """Before anything arrived, or after it went on, a gather may be another one."""
    joined = without(JOIN.spec, "gather(two, three)")
    new = replace(joined, edges=(*joined.edges, EdgeSpec(source="two", target="add")))

    assert obstacles(at(JOIN, 1, "one#1"), JOIN.spec, new) == []
    assert obstacles(at(JOIN, 1, "add#1"), JOIN.spec, new) == []
    moved = migrated(at(JOIN, 1, "add#1"), graph_of(JOIN), compile_graph(new))
    assert dict(moved.frames[""].arrived.items()) == {}


def test_what_arrived_moves_with_its_gather() -> None:
    """A join that waits goes on in a definition whose steps stand in another order."""
    steps = dict(list(JOIN.steps.items())[::-1])
    turned = Workflow.of_steps(JOIN.spec, steps, HERE)
    run = taken_up(turned, migrated(held(), graph_of(JOIN), graph_of(turned)), [])

    assert run.executed == ["three#1", "add#1"]
    assert run.output == SOUND["join"].output


def test_what_is_read_must_be_there() -> None:
    """An output that a step to come reads stands in the way where it is gone, never was, or is of another type."""
    spec, state = LINE.spec, at(LINE, 1, "two#1")
    reads_one = changed(spec, "three", reads=("one",))
    new_step = replace(spec.step("one"), id="zero")
    reads_zero = changed(replace(spec, steps=(new_step, *spec.steps)), "two", reads=("zero",))
    start = "is open or may come, and reads"

    assert obstacles(state, spec, reads_one) == []
    assert obstacles(state, reads_one, without(reads_one, "one")) == [
        f"`three` {start} `one`: there is no step `one` any more; keep it, or read another"
    ]
    assert obstacles(state, reads_one, changed(reads_one, "one", gives="m:Note")) == [
        f"`three` {start} `one`: it gives `Note` now, not `int`; keep the type, or add a step of another id"
    ]
    assert obstacles(state, spec, reads_zero) == [
        f"`two` {start} `zero`: it has no output, and the run may not come to it any more; put it on each path that is still to come"
    ]


def test_what_is_past_may_have_read_anything() -> None:
    """A reader that the run is past stands in no way, nor what comes before its reader again on each path."""
    reading = changed(LINE.spec, "two", reads=("one",))
    again = changed(looping.spec, "climb", reads=("opened",))
    state = at(looping, -9, "opened#2")

    assert obstacles(at(LINE, 1, "three#1"), reading, without(reading, "one")) == []
    assert obstacles(state, again, changed(again, "opened", takes="m:Again")) != []
    assert not any("reads" in o for o in obstacles(state, again, changed(again, "opened", gives="m:Note")))
    assert any(
        "reads" in o
        for o in obstacles(at(looping, -9, "climb#2"), again, changed(again, "opened", gives="m:N"))
    )


def test_a_branch_may_bring_what_is_read() -> None:
    """A step after a gather may read any step of its branches, also one that is still to end."""
    spec, state = JOIN.spec, held()
    reading = changed(spec, "add", reads=("two", "three"))

    assert obstacles(state, spec, reading) == []


def test_what_comes_after_a_waiting_gather_may_come() -> None:
    """What a gather holds already counts as arrived: a step after it cannot read what was never there."""
    spec = JOIN.spec
    reading = changed(spec, "add", reads=("zero",))
    new = replace(reading, steps=(*reading.steps, replace(spec.step("one"), id="zero")))

    assert [o.partition(":")[0] for o in obstacles(held(), spec, new)] == [
        "`add` is open or may come, and reads `zero`"
    ]


def test_the_end_must_be_in_reach() -> None:
    """A new branch that begins at a step which the run is past would be waited for in vain."""
    line = Workflow("line", start=one, end=two, edges=[one >> two])
    forked = Workflow("line", start=one, end=add, edges=[one >> gather(two, three) >> add])
    outer = Workflow("outer", start=last, end=opened, edges=[last >> line >> hold >> opened])
    inside = changed(outer.spec, "line", workflow=forked.spec)
    past = "any more: a gather on the way waits for a branch that it is past; begin new branches after what is open"

    assert obstacles(at(line, 1, "one#1"), line.spec, forked.spec) == []
    assert obstacles(at(line, 1, "two#1"), line.spec, forked.spec) == [
        f"`line` cannot come to its end `add` {past}"
    ]
    assert obstacles(at(outer, 1, "line#1/two#1"), outer.spec, inside) == [
        f"`line#1` cannot come to its end `line/add` {past}"
    ]


def test_the_output_of_a_run_keeps_its_type() -> None:
    """Where the end was reached and only its record is missing, what the workflow gives must stay."""
    run, states = watched(LINE, 1)
    state = states[-2]
    assert run.state.status == "done"
    assert state.status == "running"

    assert obstacles(state, LINE.spec, LINE.spec) == []
    assert obstacles(state, LINE.spec, replace(LINE.spec, gives="m:Note")) == [
        "`line` has its output already, and gives `Note` now, not `int`; resume it without moving it"
    ]


def test_a_sub_workflow_moves_with_its_step() -> None:
    """What is open in a sub-workflow goes on in the new one, with what its gather holds."""
    outer = Workflow("outer", start=last, end=one, edges=[last >> inner >> one])
    whole, states = watched(outer, 1, oldest)
    child = outer.spec.step("inner").workflow
    assert child is not None
    new = changed(outer.spec, "inner", workflow=replace(child, steps=child.steps[::-1]))
    for state in states[:-1]:
        moved = migrated(state, graph_of(outer), compile_graph(new))
        back = migrated(moved, compile_graph(new), graph_of(outer))

        assert obstacles(state, outer.spec, new) == []
        assert taken_up(outer, back, []).output == whole.output


def test_a_run_that_has_not_begun() -> None:
    """Before its first event there is nothing to move, and nothing in the way."""
    new = without(LINE.spec, "two")

    assert text_of(migrated(empty(), graph_of(LINE), compile_graph(new))) == text_of(empty())
    assert obstacles(empty(), LINE.spec, new) == []


def test_branches_of_a_sub_workflow_that_does_not_fork_any_more_end_with_it() -> None:
    """Moved onto a definition in which nothing forks, what is open beside the step that is the end goes with the sub-workflow."""
    joining = Workflow("joining", start=one, end=add, edges=[one >> gather(two, three) >> add])
    outer = Workflow("outer", start=joining, end=last, edges=[joining >> last])
    edges = [EdgeSpec(source=source, target="three") for source in ("one", "two")]
    line = replace(joining.spec, end="three", edges=(replace(edges[0], target="two"), edges[1]))
    new = compile_graph(changed(outer.spec, "joining", workflow=line))
    _, states = watched(outer, 1, oldest)
    around, *inside = "joining#1", "joining#1/two#1", "joining#1/three#1"
    state = next(s for s in states if {a.id for a in s.open()} == {around, *inside})

    state = migrated(state, graph_of(outer), new)
    for id_, output in ((inside[1], Payload(1)), (around, None)):
        state, _ = reduce(state, StepFinished(step=id_, output=output, at=1), new)

    assert [a.id for a in state.open()] == ["last#1"]
