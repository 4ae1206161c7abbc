"""What changed between two definitions: nothing is passed over, and each line reads well."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agentflow import Workflow
from agentflow.changes import Change, changes
from agentflow.spec import Budget, EdgeSpec, Flow, MapSpec, Retry, StepSpec, WorkflowSpec
from tests.definition.sound import SOUND, one
from tests.engine.random_workflows import workflows

QUICK = settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow])

PROMPT = "Write a brief from {notes}.\nCite each source by its number.\nStay short."
WRITE = StepSpec(
    id="write",
    kind="agent",
    takes="flow.models:Notes",
    gives="flow.models:Draft",
    options={"prompt": PROMPT, "tools": ["flow:search"], "max_turns": 6},
)
CHECK = StepSpec(
    id="check", kind="function", takes="flow.models:Draft", gives="flow.models:Draft", call="flow:check"
)
BRIEF = WorkflowSpec(
    name="brief",
    start="write",
    end="check",
    takes="flow.models:Notes",
    gives="flow.models:Draft",
    steps=(WRITE, CHECK),
    edges=(
        EdgeSpec(source="write", target="check"),
        EdgeSpec(source="check", target="write", on="flow.models:Revision", at_most=3),
    ),
    budget=Budget(model_calls=60, usd=0.5),
)


def said(old: WorkflowSpec, new: WorkflowSpec) -> list[str]:
    """The changes as a person reads them."""
    return [str(change) for change in changes(old, new)]


def with_step(step: StepSpec, spec: WorkflowSpec = BRIEF) -> WorkflowSpec:
    """The workflow with another step for that of the same id."""
    return replace(spec, steps=tuple(step if s.id == step.id else s for s in spec.steps))


def with_prompt(prompt: str) -> WorkflowSpec:
    return with_step(replace(WRITE, options={**WRITE.options, "prompt": prompt}))


@pytest.mark.parametrize("name", SOUND)
def test_nothing_changed(name: str) -> None:
    """A definition that is made again has no changes, in whatever order its steps stand."""
    spec = SOUND[name].build().spec
    turned = replace(spec, steps=spec.steps[::-1])

    assert said(spec, SOUND[name].build().spec) == []
    assert said(spec, turned) == []
    assert turned.digest == spec.digest


STEP_CHANGES: dict[str, tuple[Any, str]] = {
    "number": ({"options": {**WRITE.options, "max_turns": 8}}, "`max_turns` 6 -> 8"),
    "new option": ({"options": {**WRITE.options, "model": "tiny"}}, "`model` is now `tiny`"),
    "option gone": (
        {"options": {"prompt": PROMPT, "tools": ["flow:search"]}},
        "`max_turns` is gone, it was 6",
    ),
    "tools": (
        {"options": {**WRITE.options, "tools": ["flow:fetch"]}},
        "`tools` with `flow:fetch`; `tools` without `flow:search`",
    ),
    "agent inside": (
        {"options": {**WRITE.options, "handoffs": [{"name": "helper", "max_turns": 2}]}},
        '`handoffs` is now {"max_turns": 2, "name": "helper"}',
    ),
    "types": (
        {"takes": "flow.models:Task", "gives": "other:Draft"},
        "`takes` `Notes` -> `Task`; `gives` `flow.models:Draft` -> `other:Draft`",
    ),
    "kind": ({"kind": "planner"}, "`kind` `agent` -> `planner`"),
    "timeout": ({"timeout": 30}, "`timeout` is now 30"),
    "map": ({"map": MapSpec(parallel=2)}, "it runs for each item now (`parallel` 2)"),
    "map as it is usual": ({"map": MapSpec()}, "it runs for each item now"),
    "retry": ({"retry": Retry(times=2)}, "it is tried again now (`times` 2)"),
    "budget": ({"budget": Budget(usd=1)}, "it has a budget now (`usd` 1)"),
    "reads": ({"reads": ("plan",)}, "`reads` with `plan`"),
    "workflow": ({"workflow": BRIEF}, "it runs the workflow `brief`"),
}


@pytest.mark.parametrize("name", STEP_CHANGES)
def test_a_step_changed(name: str) -> None:
    """What is different in a step stands on one line, each thing with what it was and what it is."""
    fields, what = STEP_CHANGES[name]

    assert said(BRIEF, with_step(replace(WRITE, **fields))) == [f"step `write` changed: {what}"]


@pytest.mark.parametrize(
    ("old", "new", "what"),
    [
        (
            {"retry": Retry(times=2)},
            {"retry": Retry(times=3, delay=1)},
            "retry `delay` 0.5 -> 1; retry `times` 2 -> 3",
        ),
        ({"map": MapSpec(parallel=2)}, {"map": MapSpec()}, "each `parallel` 2 -> 8"),
        ({"budget": Budget(usd=1)}, {}, "it has no budget any more (`usd` 1)"),
        ({"reads": ("a", "b")}, {"reads": ("b", "a")}, "`reads` in another order"),
        ({"workflow": BRIEF}, {}, "it no longer runs the workflow `brief`"),
        ({"options": {"prompt": "Good?"}}, {"options": {"prompt": "Fine?"}}, "`prompt` `Good?` -> `Fine?`"),
        (
            {"options": {"handoffs": [{"name": "helper", "max_turns": 2}]}},
            {"options": {"handoffs": [{"name": "helper", "max_turns": 3}]}},
            "`handoffs.helper.max_turns` 2 -> 3",
        ),
        ({"options": {"limit": 1}}, {"options": {"limit": 1.0}}, "`limit` 1 -> 1.0"),
        ({"options": {"limit": None}}, {"options": {"limit": False}}, "`limit` null -> false"),
    ],
)
def test_a_part_of_a_step_changed(old: Any, new: Any, what: str) -> None:
    """Parts that are there before and after are compared from inside."""
    before, after = replace(CHECK, **old), replace(CHECK, **new)

    assert said(with_step(before), with_step(after)) == [f"step `check` changed: {what}"]


@pytest.mark.parametrize(
    ("prompt", "what"),
    [
        (
            PROMPT.replace("number", "name"),
            "line 2: `Cite each source by its number.` -> `Cite each source by its name.`",
        ),
        (PROMPT + "\nNever guess.", "gains 1 of 4 lines, from `Never guess.`"),
        (PROMPT[: PROMPT.rindex("\n")], "loses 1 of 3 lines, from `Stay short.`"),
        (PROMPT + "\n", f"only in line ends, {len(PROMPT)} -> {len(PROMPT) + 1} characters"),
        ("Write.", "line 1: `Write a brief from {notes}.` -> `Write.`"),
    ],
)
def test_a_long_text_is_not_printed_whole(prompt: str, what: str) -> None:
    """Of a prompt only the first line that differs is shown, cut so that the difference is in it."""
    assert said(BRIEF, with_prompt(prompt)) == [f"step `write` changed: its prompt ({what})"]


def test_a_long_line_is_cut() -> None:
    """Of a line that is long itself only the surroundings of the first difference are shown."""
    old, new = (f"{'Be brief. ' * 9}{last}{' Be polite.' * 9}" for last in ("Cite all.", "Cite none."))

    assert said(with_prompt(old), with_prompt(new)) == [
        "step `write` changed: its prompt (`…brief. Cite all. Be polite. Be polite. B…` -> `…brief. Cite none. Be polite. Be polite. …`)"
    ]


def test_steps_come_and_go() -> None:
    """Steps that are new stand where they are in the new definition, those that are gone after them."""
    review, read = replace(CHECK, id="review", timeout=5), replace(CHECK, id="read")
    new = replace(BRIEF, steps=(review, replace(WRITE, timeout=9)), end="write", edges=())
    old = replace(BRIEF, steps=(WRITE, CHECK, read), edges=(), end="write")

    assert said(old, new) == [
        "step `review` is new",
        "step `write` changed: `timeout` is now 9",
        "step `check` is gone",
        "step `read` is gone",
    ]
    assert [change.kind for change in changes(old, new)] == ["added", "changed", "removed", "removed"]


def test_edges_change() -> None:
    """Edges are told apart by their ends and case; what may change in them is their bound and slot."""
    first, back = BRIEF.edges
    longer = replace(BRIEF, edges=(first, replace(back, at_most=5)))
    endless = replace(BRIEF, edges=(first, replace(back, at_most=None)))
    other = replace(BRIEF, edges=(first, replace(back, on="other:Revision")))
    slotted = replace(BRIEF, edges=(replace(first, slot=1), back))
    twice = replace(BRIEF, edges=(first, first, back))

    assert said(BRIEF, longer) == ["edge `check` -> `write` on `Revision` changed: `at_most` 3 -> 5"]
    assert said(BRIEF, endless) == ["edge `check` -> `write` on `Revision` changed: `at_most` 3 -> none"]
    assert said(BRIEF, slotted) == ["edge `write` -> `check` changed: `slot` none -> 1"]
    assert said(BRIEF, twice) == ["edge `write` -> `check` is new"]
    assert said(twice, BRIEF) == ["edge `write` -> `check` is gone"]
    assert said(BRIEF, replace(BRIEF, edges=(back, first))) == ["workflow has its edges in another order"]
    assert said(BRIEF, other) == [
        "edge `check` -> `write` on `other:Revision` is new",
        "edge `check` -> `write` on `flow.models:Revision` is gone",
    ]


def test_the_workflow_itself_changes() -> None:
    """Its name, ends, types, description and budget have a line each."""
    new = replace(
        BRIEF,
        name="report",
        start="check",
        takes="flow.models:Task",
        description="Short.",
        budget=Budget(model_calls=60, usd=2),
    )

    assert sorted(said(BRIEF, new)) == [
        "budget: `usd` 0.5 -> 2",
        "workflow `brief` is now called `report`",
        "workflow is described in other words (`` -> `Short.`)",
        "workflow starts with `write` -> `check`",
        "workflow takes `Notes` -> `Task`",
    ]
    assert said(BRIEF, replace(BRIEF, budget=None)) == ["budget: `model_calls` 60 -> none; `usd` 0.5 -> none"]
    assert said(replace(BRIEF, budget=None), replace(BRIEF, budget=Budget())) == [
        "budget: one without limits is new"
    ]


def test_what_changed_inside_of_a_sub_workflow() -> None:
    """A change inside of a sub-workflow is told once, with the path to it."""
    new = replace(
        with_prompt(PROMPT + "\nNever guess."),
        budget=Budget(usd=1),
        edges=(BRIEF.edges[0], replace(BRIEF.edges[1], at_most=4)),
    )
    outer = WorkflowSpec(
        name="outer",
        start="handle",
        end="handle",
        steps=(StepSpec(id="handle", kind="workflow", workflow=BRIEF),),
    )
    changed = replace(outer, steps=(replace(outer.steps[0], workflow=new),))

    assert said(outer, changed) == [
        "budget of `handle`: `usd` 0.5 -> 1; `model_calls` 60 -> none",
        "step `handle/write` changed: its prompt (gains 1 of 4 lines, from `Never guess.`)",
        "edge `handle/check` -> `handle/write` on `Revision` changed: `at_most` 3 -> 4",
    ]


def test_a_step_is_renamed() -> None:
    """A step that has only another id is renamed: its edges, and what reads it, are not told as changes."""
    reader = replace(CHECK, reads=("write",))
    old = replace(BRIEF, steps=(WRITE, reader))
    new = replace(
        BRIEF,
        start="draft",
        steps=(replace(WRITE, id="draft"), replace(CHECK, reads=("draft",))),
        edges=(
            EdgeSpec(source="draft", target="check"),
            EdgeSpec(source="check", target="draft", on="flow.models:Revision", at_most=3),
        ),
    )

    assert changes(old, new) == [Change(kind="changed", what="is now called `draft`", where="step `write`")]
    assert str(changes(old, new)[0]) == "step `write` is now called `draft`"


def test_odd_characters_do_not_break_the_line() -> None:
    """A change stays on one line, whatever stands in names and texts."""
    new = with_step(replace(WRITE, options={"a\nb": "x\r\ny\x1b[31m", "prompt": PROMPT}))
    (line,) = said(BRIEF, new)

    assert line.isprintable()
    assert "a\\nb" in line


Text = st.text(max_size=60)
Json = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 2) | st.sampled_from([0.0, 1.0, -0.0]) | Text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(Text, inner, max_size=3),
    max_leaves=6,
)
Limit = st.none() | st.integers(0, 2) | st.sampled_from([0.0, 1.0, 2.0])
Budgets = st.none() | st.builds(Budget, usd=Limit, minutes=Limit)
Types = st.sampled_from(["Any", "int", "a:Note", "b:Note", "list[a:Note]", "list[b:Note]"])
Maps = st.none() | st.builds(MapSpec, parallel=st.sampled_from([1, 8, 8.0]))
Retries = st.none() | st.builds(Retry, times=st.integers(0, 2), delay=st.sampled_from([0.5, 1, 1.0]))
Names = st.sampled_from(["a", "b", "c"])
Options = st.dictionaries(st.sampled_from(["prompt", "tools", "handoffs"]), Json, max_size=2)
STEP_FIELDS: dict[str, st.SearchStrategy[Any]] = {
    "id": Names,
    "kind": st.sampled_from(["function", "agent"]),
    "takes": Types,
    "gives": Types,
    "call": Text,
    "timeout": Limit,
    "retry": Retries,
    "map": Maps,
    "budget": Budgets,
    "reads": st.lists(Names, max_size=3).map(tuple),
    "options": Options,
}
EDGE_FIELDS: dict[str, st.SearchStrategy[Any]] = {
    "source": Names,
    "target": Names,
    "on": st.none() | Types,
    "at_most": st.none() | st.integers(1, 2),
    "slot": st.none() | st.integers(0, 1),
}
FLOW_FIELDS: dict[str, st.SearchStrategy[Any]] = {
    "name": Names,
    "start": Names,
    "end": Names,
    "takes": Types,
    "gives": Types,
    "description": Text,
    "budget": Budgets,
}


def one_changed(draw: st.DrawFn, value: Any, fields: dict[str, st.SearchStrategy[Any]]) -> Any:
    """The value with one of its fields drawn anew."""
    name = draw(st.sampled_from(sorted(fields)))
    return replace(value, **{name: draw(fields[name])})


def changed_member(
    draw: st.DrawFn, members: Sequence[Any], change: Callable[[st.DrawFn, Any], Any]
) -> tuple[Any, ...]:
    """The members with one changed, left out, said twice, or all in another order."""
    if not members:
        return ()

    at = draw(st.integers(0, len(members) - 1))
    kind = draw(st.sampled_from(["change", "change", "drop", "twice", "order"]))
    if kind == "order":
        return tuple(draw(st.permutations(members)))

    here = {"change": lambda: [change(draw, members[at])], "drop": list[Any]}.get(
        kind, lambda: [members[at], members[at]]
    )()
    return (*members[:at], *here, *members[at + 1 :])


def changed_step(draw: st.DrawFn, step: StepSpec) -> StepSpec:
    if step.workflow is not None and draw(st.booleans()):
        inside = draw(st.booleans())
        return replace(step, workflow=changed_flow(draw, step.workflow) if inside else None)

    changed: StepSpec = one_changed(draw, step, STEP_FIELDS)
    return changed


def changed_flow(draw: st.DrawFn, spec: WorkflowSpec) -> WorkflowSpec:
    """The definition with one random change; it need not be sound any more."""
    part = draw(st.sampled_from(["steps", "edges", "itself"]))
    if part == "steps":
        return replace(spec, steps=changed_member(draw, spec.steps, changed_step))

    if part == "edges":
        edges = changed_member(draw, spec.edges, lambda d, edge: one_changed(d, edge, EDGE_FIELDS))
        return replace(spec, edges=edges)

    changed: WorkflowSpec = one_changed(draw, spec, FLOW_FIELDS)
    return changed


@st.composite
def versions(draw: st.DrawFn) -> tuple[WorkflowSpec, WorkflowSpec]:
    """Two definitions that a few changes lie between."""
    made: Workflow[int, int] = draw(workflows(depth=2))
    old = made.spec
    for _ in range(draw(st.integers(0, 2))):
        old = changed_flow(draw, old)

    new = old
    for _ in range(draw(st.integers(1, 3))):
        new = changed_flow(draw, new)

    return old, new


@QUICK
@given(versions())
def test_nothing_is_passed_over(pair: tuple[WorkflowSpec, WorkflowSpec]) -> None:
    """There are changes exactly where the digests differ, and each reads as one line of bearable length."""
    old, new = pair
    for before, after in ((old, new), (new, old)):
        found = said(before, after)

        assert (found == []) == (before.digest == after.digest)
        assert all(line.isprintable() and len(line) < 1200 for line in found)

    assert said(old, old) == []


def test_what_is_allowed_is_said() -> None:
    """A flow that is allowed now, not any more, or for another reason, is told with its reason."""
    plain = Workflow("w", start=one, end=one).spec
    spoken = replace(plain, allow=(Flow("all-three", step="plan", because="nothing is secret here"),))
    other = replace(plain, allow=(Flow("all-three", step="plan", because="it is a test"),))

    assert [str(c) for c in changes(plain, spoken)] == [
        "workflow allows `all-three` at `plan` because `nothing is secret here` now"
    ]
    assert [str(c) for c in changes(spoken, plain)] == [
        "workflow no longer allows `all-three` at `plan` because `nothing is secret here`"
    ]
    assert len(changes(spoken, other)) == 2
