"""No run exceeds the bounds that were computed before it, and runs that try to come to them."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from typing import Any, NamedTuple

from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from agentflow import Workflow
from agentflow.bounds import least, worst_case
from agentflow.engine.graph import compile_graph
from agentflow.engine.reduce import reduce
from agentflow.engine.state import (
    Activation,
    Begin,
    Command,
    Complete,
    End,
    Execute,
    Expand,
    Fail,
    State,
    empty,
)
from agentflow.events import Event, MapExpanded, Payload, RunStarted, StepFinished, StepStarted
from agentflow.spec import EdgeSpec, MapSpec, StepSpec, WorkflowSpec
from agentflow.validation import validate
from tests.engine.pure import Pure
from tests.engine.random_workflows import workflows

QUICK = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much]
)
# Most random graphs are not sound, so that finding some takes its time.
FEW = settings(QUICK, max_examples=15)
TYPES: dict[str, Any] = {"Any": Any, "int | str": int | str, "int": int, "str": str}
Choose = Callable[["Play", Activation], str | None]


def where_of(activation: str) -> str:
    """The place of an activation in the definition."""
    return "/".join(part.partition("#")[0] for part in activation.split("/"))


class Play:
    """A run by the reducer alone, in which `choose` says the case of each output; maps get all items that they may."""

    def __init__(self, spec: WorkflowSpec, chance: random.Random, choose: Choose) -> None:
        self.graph, self.chance, self.choose = compile_graph(spec), chance, choose
        self.state: State = empty()
        self.begun: Counter[str] = Counter()
        self.ready: list[Activation] = []
        self.parallel = 0
        self.ended = ""
        self.todo: list[Event] = []
        value = Payload(1)
        self.post(RunStarted, run="r", workflow="w", digest="", spec=None, input=value, model="", version="")

    def post(self, kind: type[Event], **fields: Any) -> None:
        self.todo.append(kind(seq=0, at=0, **fields))

    def run(self) -> Play:
        while True:
            while self.todo:
                self.fold(self.todo.pop(0))

            self.parallel = max(self.parallel, len(self.ready))
            self.ready = [a for a in self.ready if a.id in self.state.active]
            if self.ended or not self.ready:
                return self

            self.finish(self.ready.pop(self.chance.randrange(len(self.ready))), Payload(1))

    def finish(self, activation: Activation, output: Payload | None) -> None:
        asked = activation.node.by_case and activation.item is None
        case = self.choose(self, activation) if asked else None
        self.post(StepFinished, step=activation.id, output=output, case=case)

    def fold(self, event: Event) -> None:
        if isinstance(event, StepStarted):
            self.begun[where_of(event.step)] += 1

        self.state, commands = reduce(self.state, event, self.graph)
        for command in commands if not self.ended else ():
            self.carry_out(command)

    def carry_out(self, command: Command) -> None:
        match command:
            case Begin(activation):
                self.post(StepStarted, step=activation.id, attempt=1)
            case Execute(activation):
                self.ready.append(activation)
            case Complete(activation):
                self.finish(activation, None)
            case Expand(activation):
                assert activation.node.map is not None
                count = activation.node.map.at_most
                items = activation._replace(input=Payload(parts=[Payload(1)] * count))
                self.state = self.state._replace(active=self.state.active.insert(items.id, items))
                self.post(MapExpanded, step=activation.id, count=count)
            case End() | Fail():
                self.ended = "end" if isinstance(command, End) else "fail"
            case _:
                raise AssertionError(command)


def allowed(play: Play, activation: Activation) -> list[Any]:
    """The edges by case that may still be followed."""
    followed = play.state.frames[activation.frame].followed
    return [
        out
        for out in activation.node.by_case
        if out.at_most is None or (followed.get(out.index) or 0) < out.at_most
    ]


def by_chance(play: Play, activation: Activation) -> str | None:
    """Any case, mostly one that leads on; edges with a bound are preferred."""
    outs = list(activation.node.by_case)
    if play.chance.random() < 0.9:
        outs = allowed(play, activation) or outs
        outs = [out for out in outs if out.at_most is not None and play.chance.random() < 0.8] or outs

    return None if activation.node.always and play.chance.random() < 0.2 else play.chance.choice(outs).on


def most(play: Play, activation: Activation) -> str | None:
    """The case `int` as long as it may be, which the workflows below make the heavier one."""
    return min(str(out.on) for out in allowed(play, activation))


@QUICK
@given(workflows(), st.integers(0, 96), st.randoms(use_true_random=False))
def test_no_run_exceeds_its_bound(workflow: Workflow[int, int], value: int, chance: random.Random) -> None:
    """Random workflows of loops, maps, joins, cases and sub-workflows stay within their bounds, in any order."""
    at_work: list[int] = []

    def look(before: State, event: Event, after: State) -> None:
        at_work.append(sum(a.phase == "running" for a in after.active.values()))

    run = Pure(workflow, choose=chance.randrange)
    run.watch = look
    run.start(value).run()
    begun = Counter(where_of(e.step) for e in run.events if isinstance(e, StepStarted))
    bound, needed = worst_case(workflow.spec), least(workflow.spec)

    assert needed.steps.value <= begun.total() <= bound.steps.value  # type: ignore[operator]
    assert all(times <= bound.steps_by[place] for place, times in begun.items())
    assert max(at_work) <= (bound.parallel.value or 0)


@st.composite
def graphs(draw: st.DrawFn) -> WorkflowSpec:
    """Sound graphs of any shape: cases, forks, gathers and bounded edges in each other."""
    count = draw(st.integers(3, 7))
    gathers = draw(st.sets(st.integers(1, count - 2), max_size=2))
    kinds = ["gather" if i in gathers else "function" for i in range(count)]
    steps = [
        StepSpec(id=f"s{i}", kind=kind, gives="Any" if kind == "gather" else "int | str")  # type: ignore[arg-type]
        for i, kind in enumerate(kinds)
    ]
    slots: Counter[int] = Counter()
    edges: list[EdgeSpec] = []
    for i in range(count - 1):
        shapes: list[list[str | None]] = (
            [[None]] if i in gathers else [[None], ["int", "str"], [None, None], [None, "int"]]
        )
        for on in draw(st.sampled_from(shapes)):
            edges.append(_edge(draw, (i, count), on, slots if count > 3 and gathers else Counter(), gathers))

    spec = WorkflowSpec(name="w", start="s0", end=f"s{count - 1}", steps=tuple(steps), edges=tuple(edges))
    assume(len(set(edges)) == len(edges) and all(slots[g] > 1 for g in gathers) and not validate(spec, TYPES))
    return spec


def _edge(
    draw: st.DrawFn, at: tuple[int, int], on: str | None, slots: Counter[int], gathers: set[int]
) -> EdgeSpec:
    source, count = at
    near = st.integers(source + 1, min(count - 1, source + 2))
    target = draw(st.one_of(near, near, st.integers(1, count - 1)))
    limit = draw(st.integers(1, 3)) if target <= source or draw(st.integers(0, 6)) == 0 else None
    slot = None
    if target in gathers:
        slot = min(slots[target], draw(st.integers(0, 1))) if slots[target] > 1 else slots[target]
        slots[target] += 1

    return EdgeSpec(source=f"s{source}", target=f"s{target}", on=on, at_most=limit, slot=slot)


@FEW
@given(graphs(), st.randoms(use_true_random=False))
def test_no_way_through_any_graph_exceeds_its_bound(spec: WorkflowSpec, chance: random.Random) -> None:
    """Whatever outputs a graph's steps give, and in whatever order they end, a run stays within the bounds."""
    bound, needed = worst_case(spec), least(spec)
    for _ in range(20):
        play = Play(spec, chance, by_chance).run()

        assert play.begun.total() <= (bound.steps.value or 0)
        assert all(times <= bound.steps_by[place] for place, times in play.begun.items())
        assert play.parallel <= (bound.parallel.value or 0)
        assert play.ended != "end" or play.begun.total() >= (needed.steps.value or 0)


class Block(NamedTuple):
    """A stretch of a workflow: its ends, the steps of one way through it, those of its loops beside, and most at once."""

    first: str
    last: str
    way: int
    loops: int
    peak: int


@dataclass
class Maker:
    """Makes workflows whose worst case is known: the case `int` is the heavier one, and goes back where there is a loop."""

    draw: st.DrawFn
    steps: list[StepSpec] = field(default_factory=list[StepSpec])
    edges: list[EdgeSpec] = field(default_factory=list[EdgeSpec])

    def step(self, **fields: Any) -> str:
        name = f"s{len(self.steps)}"
        given: dict[str, Any] = {"kind": "function", "gives": "int | str", **fields}
        self.steps.append(StepSpec(id=name, **given))
        return name

    def edge(self, source: str, target: str, on: str | None = None, **fields: Any) -> None:
        self.edges.append(EdgeSpec(source=source, target=target, on=on, **fields))

    def block(self, depth: int, *, in_loop: bool = False) -> Block:
        kinds = ["plain"] if not depth else ["sequence", "join", "map", "nested", "loop", "loop"]
        kind = self.draw(st.sampled_from(kinds + ["cases"] * (depth > 0 and not in_loop)))
        made: Block = getattr(self, kind)(depth - 1, in_loop)
        return made

    def plain(self, depth: int, in_loop: bool) -> Block:
        name = self.step()
        return Block(name, name, 1, 0, 1)

    def sequence(self, depth: int, in_loop: bool) -> Block:
        a, b = self.block(depth, in_loop=in_loop), self.block(depth, in_loop=in_loop)
        self.edge(a.last, b.first)
        return Block(a.first, b.last, a.way + b.way, a.loops + b.loops, max(a.peak, b.peak))

    def join(self, depth: int, in_loop: bool) -> Block:
        fork, join, after = self.step(), self.step(kind="gather", gives="Any"), self.step()
        a, b = self.block(depth, in_loop=in_loop), self.block(depth, in_loop=in_loop)
        for slot, branch in enumerate((a, b)):
            self.edge(fork, branch.first)
            self.edge(branch.last, join, slot=slot)

        self.edge(join, after)
        return Block(fork, after, a.way + b.way + 2, a.loops + b.loops, a.peak + b.peak)

    def map(self, depth: int, in_loop: bool) -> Block:
        limits = MapSpec(parallel=self.draw(st.integers(1, 3)), at_most=self.draw(st.integers(1, 3)))
        inner, (way, peak) = workflow_of(self.draw, depth)
        name = self.step(map=limits, kind="workflow", workflow=inner)
        return Block(
            name, name, 1 + limits.at_most * (1 + way), 0, peak * min(limits.parallel, limits.at_most)
        )

    def nested(self, depth: int, in_loop: bool) -> Block:
        inner, (way, peak) = workflow_of(self.draw, depth)
        name = self.step(kind="workflow", workflow=inner)
        return Block(name, name, 1 + way, 0, peak)

    def loop(self, depth: int, in_loop: bool) -> Block:
        body, judge, after = self.block(depth, in_loop=True), self.step(), self.step()
        times = self.draw(st.integers(1, 3))
        self.edge(body.last, judge)
        self.edge(judge, body.first, "int", at_most=times)
        self.edge(judge, after, "str")
        return Block(body.first, after, body.way + 2, body.loops + times * (body.way + 1), body.peak)

    def cases(self, depth: int, in_loop: bool) -> Block:
        choice, after = self.step(), self.step()
        a, b = sorted((self.block(depth), self.block(depth)), key=lambda x: -x.way - x.loops)
        for branch, on in ((a, "int"), (b, "str")):
            self.edge(choice, branch.first, on)
            self.edge(branch.last, after)

        return Block(choice, after, a.way + 2, a.loops, max(a.peak, b.peak))


def workflow_of(draw: st.DrawFn, depth: int) -> tuple[WorkflowSpec, tuple[int, int]]:
    """A workflow, the activations that begin in it at most, and those at work at once."""
    maker = Maker(draw)
    block = maker.block(max(0, depth))
    parts: Any = {"steps": tuple(maker.steps), "edges": tuple(maker.edges)}
    spec = WorkflowSpec(name="w", start=block.first, end=block.last, **parts)
    return spec, (block.way + block.loops, block.peak)


@st.composite
def known(draw: st.DrawFn) -> tuple[WorkflowSpec, tuple[int, int]]:
    """A workflow of which the bounds are known."""
    return workflow_of(draw, 3)


@QUICK
@given(st.data())
def test_the_bound_is_reached(data: st.DataObject) -> None:
    """Where each loop is taken as often as it may be and maps get all their items, the bounds are reached exactly."""
    spec, (steps, peak) = data.draw(known())
    play = Play(spec, random.Random(1), most).run()
    bound = worst_case(spec)

    assert play.ended == "end"
    assert play.begun.total() == steps == bound.steps.value
    assert bound.parallel.value == peak >= play.parallel
    assert all(bound.steps_by[place] == times for place, times in play.begun.items())


@st.composite
def walks(draw: st.DrawFn) -> WorkflowSpec:
    """Sound graphs of steps one after the other, in which several edges of a cycle can be bounded."""
    count = draw(st.integers(3, 6))
    edges: list[EdgeSpec] = []
    for i in range(count - 1):
        shapes: list[list[str | None]] = [[None], ["int", "str"], ["int", "str"]]
        ons = draw(st.sampled_from(shapes))
        targets = [i + 1, draw(st.integers(1, count - 1))]
        for on, target in zip(ons, targets, strict=False):
            limit = draw(st.integers(1, 3)) if target <= i or draw(st.integers(0, 3)) == 0 else None
            edges.append(EdgeSpec(source=f"s{i}", target=f"s{target}", on=on, at_most=limit))

    by_case = {edge.source for edge in edges if edge.on is not None}
    steps = [
        StepSpec(id=f"s{i}", kind="function", gives="int | str" if f"s{i}" in by_case else "Any")
        for i in range(count)
    ]
    spec = WorkflowSpec(name="w", start="s0", end=f"s{count - 1}", steps=tuple(steps), edges=tuple(edges))
    assume(not validate(spec, TYPES))
    return spec


def longest(spec: WorkflowSpec) -> tuple[int, Counter[str]]:
    """The most steps of any walk, and for each step the most visits of any: by looking at all walks."""
    leaving = {step.id: [n for n, e in enumerate(spec.edges) if e.source == step.id] for step in spec.steps}

    @cache
    def ahead(step: str, left: tuple[int | None, ...]) -> tuple[int, Counter[str]]:
        total, visits = 0, Counter[str]()
        for n in leaving[step]:
            limit = left[n]
            if limit != 0:
                after = left if limit is None else (*left[:n], limit - 1, *left[n + 1 :])
                more, seen = ahead(spec.edges[n].target, after)
                total, visits = max(total, more), visits | seen

        return total + 1, visits + Counter([step])

    return ahead(spec.start, tuple(edge.at_most for edge in spec.edges))


@settings(QUICK, max_examples=40)
@given(walks())
def test_bounds_of_cycles_are_exact_where_steps_come_one_after_the_other(spec: WorkflowSpec) -> None:
    """However many edges of a cycle are bounded, and wherever cases lead: some walk comes to what the bound says."""
    total, visits = longest(spec)
    bound = worst_case(spec)

    assert bound.steps.value == total
    assert bound.steps_by == {step.id: visits[step.id] for step in spec.steps}
