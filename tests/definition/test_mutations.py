"""Sound graphs with one thing changed: what does harm is reported, and what does none is not.

Harm is told by playing: values are sent through the graph in every order and for every case, by rules written here
again, and what goes wrong is noted. Nothing of the check is used for that.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agentflow import Rejected, Workflow
from agentflow.spec import EdgeSpec, StepSpec, WorkflowSpec
from agentflow.typeref import cases, resolve_type, type_name
from agentflow.validation import stalls, validate
from tests.definition.sound import Again
from tests.engine.random_workflows import workflows

QUICK = settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much]
)
AGAIN = type_name(Again)
KINDS = ["drop an edge", "add an edge", "turn an edge", "lose a bound", "another case", "another type", "move the end", "move the start", "lose a step"]  # fmt: skip
# A value on its way: the place (a step, or a slot of a gather) and the type it is of.
Value = tuple[str, int, str]
Marking = tuple[Value, ...]


class TooLarge(Exception):
    """Raised when a graph has more states than a test should look at."""


@st.composite
def mutated(draw: st.DrawFn) -> tuple[Workflow[int, int], WorkflowSpec]:
    """A random sound workflow, and its spec with one thing changed."""
    workflow = draw(workflows(depth=2))
    spec = workflow.spec
    edge = draw(st.sampled_from(spec.edges)) if spec.edges else None
    step = draw(st.sampled_from(spec.steps))
    kind = draw(st.sampled_from(KINDS))
    other = draw(st.sampled_from([s for s in spec.steps if s.kind != "gather"]))
    text = draw(st.sampled_from(["int", "str", AGAIN]))
    edges = list(spec.edges)
    place = edges.index(edge) if edge is not None else 0
    if kind == "move the end":
        return workflow, replace(spec, end=other.id, gives="Any")

    if kind == "move the start":
        return workflow, replace(spec, start=other.id, takes="Any")

    if kind == "another type" and step.kind == "function":
        swapped = replace(step, takes=text) if draw(st.booleans()) else replace(step, gives=text)
        return workflow, replace(
            spec, takes="Any", gives="Any", steps=tuple(swapped if s.id == step.id else s for s in spec.steps)
        )

    if kind == "lose a step" and step.id not in (spec.start, spec.end) and step.kind != "gather":
        kept = tuple(e for e in edges if step.id not in (e.source, e.target))
        return workflow, replace(spec, steps=tuple(s for s in spec.steps if s.id != step.id), edges=kept)

    if edge is None:
        return workflow, spec

    edges[place : place + 1] = _changed(kind, edge, step, other, text)
    return workflow, replace(spec, edges=tuple(dict.fromkeys(edges)))


def _changed(kind: str, edge: EdgeSpec, step: StepSpec, other: StepSpec, text: str) -> list[EdgeSpec]:
    match kind:
        case "drop an edge":
            return []
        case "add an edge" if step.kind != "gather":
            return [edge, EdgeSpec(source=step.id, target=other.id)]
        case "turn an edge":
            return [replace(edge, target=other.id, slot=None)]
        case "lose a bound":
            return [replace(edge, at_most=None)]
        case "another case" if edge.on is not None:
            return [replace(edge, on=text)]
        case _:
            return [edge]


class Play:
    """All that can happen in a graph, and what of it is harm."""

    def __init__(self, spec: WorkflowSpec, types: Mapping[str, Any]) -> None:
        self.spec, self.types = spec, types
        self.steps = {step.id: step for step in spec.steps}
        self.slots: dict[str, set[int]] = {}
        for edge in spec.edges:
            if edge.slot is not None:
                self.slots.setdefault(edge.target, set()).add(edge.slot)

        self.harm: set[str] = set()
        self.entered: set[str] = set()
        self.followed: set[EdgeSpec] = set()

    def given(self, value: Value) -> Iterator[tuple[str, str | None]]:
        """The outputs that a step may have, as types, with the case that names them."""
        step = self.steps[value[0]]
        for member in cases(self.types[step.gives]):
            text = f"list[{type_name(member)}]" if step.map is not None else type_name(member)
            yield text, text

    def run(self) -> set[str]:
        first: Marking = ((self.spec.start, -1, self.spec.takes),)
        seen: set[Marking] = {first}
        todo: list[Marking] = [first]
        while todo:
            if len(seen) > 1500:
                raise TooLarge

            for after in self.after(todo.pop()):
                if after not in seen:
                    seen.add(after)
                    todo.append(after)

        self.harm |= self.left_over()
        return self.harm

    def after(self, marking: Marking) -> Iterator[Marking]:
        moving = [value for value in marking if value[1] < 0]
        if not moving:
            self.harm.add("stall")

        if len({v[0] for v in moving}) < len(moving):
            self.harm.add("two values at one step")
            return

        for value in moving:
            self.entered.add(value[0])
            rest = [v for v in marking if v is not value]
            for text, case in self.given(value):
                ways = [e for e in self.spec.edges if e.source == value[0] and e.on in (None, case)]
                if ways:
                    yield from self.sent(rest, ways, text)
                elif value[0] != self.spec.end:
                    self.harm.add("no way")
                else:
                    self.entered.add("the end")

    def sent(self, rest: list[Value], ways: list[EdgeSpec], text: str) -> Iterator[Marking]:
        values = list(rest)
        for edge in ways:
            self.followed.add(edge)
            target = self.steps[edge.target]
            if target.kind != "gather":
                self.fits(target, text)

            values.append((edge.target, -1 if edge.slot is None else edge.slot, text))

        full = self.joined(values)
        if full is None:
            yield tuple(sorted(values))
        else:
            gather, parts = full
            left = list(values)
            for part in parts:
                left.remove(part)

            self.entered.add(gather)
            onward = [e for e in self.spec.edges if e.source == gather and e.on is None]
            joined = f"tuple[{', '.join(part[2] for part in parts)}]"
            if onward:
                yield from self.sent(left, onward, joined)
            elif gather != self.spec.end:
                self.harm.add("no way")
            else:
                self.entered.add("the end")

    def joined(self, values: list[Value]) -> tuple[str, list[Value]] | None:
        for gather, slots in self.slots.items():
            if self.steps[gather].kind != "gather":
                continue

            parts = [next((v for v in values if v[:2] == (gather, slot)), None) for slot in sorted(slots)]
            found = [part for part in parts if part is not None]
            if len(found) == len(parts):
                return gather, found

        return None

    def fits(self, target: StepSpec, text: str) -> None:
        wanted = f"list[{target.takes}]" if target.map is not None else target.takes
        if "Any" not in (wanted, text) and wanted != text:
            self.harm.add("type")

    def left_over(self) -> set[str]:
        """What never happened, and circles: steps never entered, edges never followed, ways that lead nowhere."""
        harm = {"never entered"} if set(self.steps) - self.entered else set[str]()
        harm |= {"never followed"} if set(self.spec.edges) - self.followed else set()
        harm |= {"never ends"} if "the end" not in self.entered else set()
        harm |= {"dead end"} if set(self.steps) - self.before_the_end() else set()
        return harm | ({"endless"} if self.endless() else set())

    def before_the_end(self) -> set[str]:
        found = {self.spec.end}
        while more := {e.source for e in self.spec.edges if e.target in found} - found:
            found |= more

        return found

    def endless(self) -> bool:
        """Whether something is left when all that nothing unbounded leads to is taken out again and again."""
        left = set(self.steps)
        while loose := left - {
            e.target for e in self.spec.edges if e.at_most is None and e.source in left and e.target in left
        }:
            left -= loose

        return bool(left)


def regathered(spec: WorkflowSpec) -> WorkflowSpec:
    """The spec with each gather giving what its branches give, as it does where it is written."""
    for gather in [step.id for step in spec.steps if step.kind == "gather"]:
        known = {step.id: step for step in spec.steps}
        branches = sorted((e for e in spec.edges if e.target == gather), key=lambda e: e.slot or 0)
        given = [e.on or _gives(known[e.source]) for e in branches]
        changed = replace(known[gather], gives=f"tuple[{', '.join(given)}]")
        spec = replace(spec, steps=tuple(changed if s.id == gather else s for s in spec.steps))

    return spec


def _gives(step: StepSpec) -> str:
    return f"list[{step.gives}]" if step.map is not None else step.gives


def types_of(spec: WorkflowSpec) -> dict[str, Any]:
    names = [spec.takes, spec.gives, *(n for s in spec.steps for n in (s.takes, s.gives))]
    names += [edge.on for edge in spec.edges if edge.on is not None]
    return {name: resolve_type(name) for name in (*names, "Any", type_name(Rejected))}


def reported(spec: WorkflowSpec, types: Mapping[str, Any]) -> list[str]:
    found = validate(spec, types) or [*stalls(spec, types)]
    return [str(problem) for problem in found]


def lost_slots(spec: WorkflowSpec) -> bool:
    """Whether a gather lacks a slot, which no definition can be written like: its slots are counted from 0."""
    slots: dict[str, set[int]] = {}
    for edge in spec.edges:
        if edge.slot is not None:
            slots.setdefault(edge.target, set()).add(edge.slot)

    return any(step.kind == "gather" and step.id not in slots for step in spec.steps) or any(
        known != set(range(len(known))) or len(known) < 2 for known in slots.values()
    )


@QUICK
@given(workflows(depth=3))
def test_a_sound_graph_does_no_harm_and_is_not_reported(workflow: Workflow[int, int]) -> None:
    """Random sound graphs are played without harm, and nothing is said of them."""
    types = types_of(workflow.spec)
    try:
        harm = Play(workflow.spec, types).run()
    except TooLarge:
        harm = set()

    assert harm == set()
    assert reported(workflow.spec, types) == []
    assert [w for w in workflow.warnings() if w.code.startswith("AF1")] == []


@QUICK
@given(mutated())
def test_a_change_is_reported_if_and_only_if_it_does_harm(
    case: tuple[Workflow[int, int], WorkflowSpec],
) -> None:
    """One change to a sound graph: the check says something exactly where playing it finds harm."""
    spec = regathered(case[1])
    types = types_of(spec)
    if lost_slots(spec):
        return

    try:
        harm = Play(spec, types).run()
    except TooLarge:
        return

    assert bool(reported(spec, types)) == bool(harm), (harm, reported(spec, types))
