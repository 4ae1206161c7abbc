"""What runs in parallel is told in one walk where it is plain, and that is what the whole relation says."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import replace
from itertools import combinations
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from agentflow import Workflow, gather, step
from agentflow.digraph import Arrows
from agentflow.path import Path
from agentflow.spec import EdgeSpec, StepSpec, WorkflowSpec
from agentflow.steps.function import FunctionStep
from agentflow.validation.alone import is_plain
from agentflow.validation.joins import parallel
from agentflow.validation.order import Net, condensed, is_settled, net_of, together
from agentflow.validation.subject import Subject
from tests.definition.sound import add, add_three, last, one
from tests.definition.test_sound import graphs
from tests.engine.random_workflows import workflows

ANY: Mapping[str, Any] = {"Any": Any}


@step
async def sum_all(numbers: tuple[int, ...]) -> int:
    return sum(numbers)


def joined_at_random(count: int, seed: int) -> Workflow[Any, Any]:
    """A graph in which each step but the first joins one to three of those before it, and the last all that are left."""
    numbers = random.Random(seed)
    kinds: dict[int, FunctionStep[Any, Any]] = {1: one, 2: add, 3: add_three}
    steps, edges, joined = [one.named("s0")], list[Path[Any, Any]](), set[int]()
    for n in range(1, count):
        before = range(max(0, n - 50), n)
        sources = numbers.sample(before, min(len(before), numbers.choice((1, 2, 3))))
        joined.update(sources)
        steps.append(kinds[len(sources)].named(f"s{n}"))
        edges.append(_all([steps[source] for source in sources]) >> steps[-1])

    left = [step for n, step in enumerate(steps) if n not in joined]
    end = (sum_all if len(left) > 1 else last).named("end")
    return Workflow("joined", start=steps[0], end=end, edges=[*edges, _all(left) >> end])


def _all(steps: list[FunctionStep[Any, Any]]) -> Path[Any, Any]:
    joined: Any = gather
    return joined(*steps) if len(steps) > 1 else steps[0]


def said(spec: WorkflowSpec, types: Mapping[str, Any] = ANY) -> tuple[bool, set[str]]:
    """Whether values meet, and the gathers that are never complete, as the check of a workflow says."""
    problems = list(parallel(Subject(spec, types)))
    never = {problem.where for problem in problems if problem.code == "AF115"}
    return any(problem.code == "AF109" for problem in problems), never


def related(spec: WorkflowSpec) -> tuple[bool, set[str]]:
    """The same, by looking at each two spots: first of the net in which all is one that surely gets to one place."""
    subject = Subject(spec, ANY)
    net = net_of(subject)
    found = _related(subject, condensed(net))
    return found if found == (False, set()) else _related(subject, net)


def _related(subject: Subject, net: Net) -> tuple[bool, set[str]]:
    found = together(net)
    slots: dict[str, dict[int, bool]] = {}
    for edge in subject.spec.edges:
        if edge.slot is not None:
            known = slots.setdefault(edge.target, {})
            known[edge.slot] = known.get(edge.slot, False) or edge.source in subject.reached

    never = {
        f"step `{id_}`"
        for id_, reached in slots.items()
        for one, other in combinations([net.at((id_, slot)) for slot in reached], 2)
        if all(reached.values()) and not {one, other} & net.spare and other not in found.get(one, ())
    }
    return any(spot in others for spot, others in found.items()), never


@settings(max_examples=200, deadline=None)
@given(graphs(), st.booleans())
def test_any_graph_is_told_as_the_relation_says(spec: WorkflowSpec, ends_in_gather: bool) -> None:
    """Whether values meet and which joins are never complete does not hang on the way in which it is found out."""
    gathers = [s.id for s in spec.steps if s.kind == "gather"] if ends_in_gather else []
    spec = replace(spec, end=[spec.end, *gathers][-1])

    assert said(spec) == related(spec)


def test_an_end_that_joins_cases_is_never_complete() -> None:
    """A gather at the end waits for both branches, though one value alone comes to it and nothing leads on."""
    kinds = [StepSpec(id=name, kind="function") for name in ("choose", "a", "b")]
    edges = [EdgeSpec(source="choose", target=to, on=on) for to, on in (("a", "int"), ("b", "str"))]
    edges += [EdgeSpec(source=name, target="both", slot=slot) for slot, name in enumerate("ab")]
    steps = (*kinds, StepSpec(id="both", kind="gather"))
    spec = WorkflowSpec(name="w", start="choose", end="both", steps=steps, edges=tuple(edges))

    assert said(spec) == related(spec) == (False, {"step `both`"})


def test_a_join_that_waits_for_what_it_gives_is_never_complete() -> None:
    """Also where each output follows one edge only: a branch that the join itself leads to does not come."""
    kinds = [StepSpec(id=name, kind="function") for name in ("first", "end", "back")]
    edges = [EdgeSpec(source=name, target="both", slot=slot) for slot, name in enumerate(("first", "back"))]
    edges += [
        EdgeSpec(source="both", target="end"),
        EdgeSpec(source="end", target="back", on="str", at_most=3),
    ]
    steps = (*kinds, StepSpec(id="both", kind="gather"))
    spec = WorkflowSpec(name="w", start="first", end="end", steps=steps, edges=tuple(edges))

    assert said(spec) == related(spec) == (False, {"step `both`"})


@settings(max_examples=30, deadline=None)
@given(workflows())
def test_a_sound_workflow_is_told_as_the_relation_says(workflow: Workflow[int, int]) -> None:
    """Nothing is wrong with loops, cases and joins in one another, in whichever way it is found out."""
    assert said(workflow.spec, workflow.types) == related(workflow.spec) == (False, set())


def test_a_loop_around_branches_with_cases_is_plain() -> None:
    """Where branches are one again before each choice that is left of them, one walk tells all."""
    names = ("begin", "a", "choose", "text", "meet", "after", "out")
    ways = [
        ("begin", "a", None),
        ("begin", "choose", None),
        ("choose", "meet", "int"),
        ("choose", "text", "str"),
    ]
    ways += [
        ("text", "meet", None),
        ("both", "after", None),
        ("after", "begin", "str"),
        ("after", "out", "int"),
    ]
    edges = [EdgeSpec(source=source, target=target, on=on) for source, target, on in ways]
    edges += [EdgeSpec(source=name, target="both", slot=slot) for slot, name in enumerate(("a", "meet"))]
    steps = [*(StepSpec(id=name, kind="function") for name in names), StepSpec(id="both", kind="gather")]
    spec = WorkflowSpec(name="w", start="begin", end="out", steps=tuple(steps), edges=tuple(edges))
    net = condensed(net_of(Subject(spec, ANY)))

    assert is_plain(net, net.at(("begin", -1)), net.at(("out", -1)))
    assert said(spec) == related(spec) == (False, set())


@settings(max_examples=25, deadline=None)
@given(st.integers(2, 60), st.integers(0, 1000))
def test_joins_at_random_are_settled(count: int, seed: int) -> None:
    """A graph without cases, in which all that forks is joined, is told by counting its edges, as the relation says it."""
    workflow = joined_at_random(count, seed)

    assert is_settled(Subject(workflow.spec, workflow.types))
    assert related(workflow.spec) == (False, set())


def test_a_large_graph_of_joins_is_checked() -> None:
    """Ten thousand steps with joins at random take the time that looking at each edge takes."""
    assert len(joined_at_random(10_000, 7).steps) > 10_000


def test_an_order_leaves_out_what_is_behind_a_cycle() -> None:
    """Each node comes after all that lead to it; those of a cycle, and those that only it leads to, are not there."""
    straight = arrows(4, (0, 1), (2, 1), (0, 2), (1, 3), (2, 3))
    assert [straight.of(node) for node in range(4)] == [[1, 2], [3], [1, 3], []]
    assert straight.ordered() == [0, 2, 1, 3]

    assert arrows(5, (0, 1), (1, 2), (2, 1), (2, 3), (4, 3)).ordered() == [0, 4]
    assert arrows(1, (0, 0)).ordered() == []


def test_what_is_after_and_before_a_node_is_found() -> None:
    """Edges are followed from a node on, or back from one, over however many nodes; others are left out."""
    graph = arrows(6, (0, 1), (1, 2), (3, 2), (2, 4), (3, 5))
    order = graph.ordered()

    assert list(graph.after(order, 1)) == [0, 1, 1, 0, 1, 0]
    assert list(graph.before(order, 2)) == [1, 1, 1, 1, 0, 0]
    assert [arrows(2, (0, 1)).is_branching(), graph.is_branching()] == [False, True]


def arrows(count: int, *edges: tuple[int, int]) -> Arrows:
    """A graph by its edges."""
    return Arrows(count, [source for source, _ in edges], [target for _, target in edges])
