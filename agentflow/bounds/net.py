"""A spec as integer-indexed edges, its cycles, and the edges that bound them."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from agentflow.digraph import components
from agentflow.spec import EdgeSpec, StepSpec, WorkflowSpec

# The case of an approval that was refused; what follows `always` does not get it.
REJECTED = "agentflow.steps.approval:Rejected"
# How many edges may be looked at for each one that there is, to tell edges that close a cycle from others.
_EFFORT = 30


class Edge(NamedTuple):
    """An edge between steps by number; `slot` is -1 where the target is no gather."""

    source: int
    target: int
    limit: int | None
    slot: int


@dataclass(slots=True)
class Part:
    """Steps that lead to one another, in an order that all edges keep but `loops`; one alone where there is no cycle."""

    order: list[int]
    loops: list[int] = field(default_factory=list[int])


@dataclass(slots=True)
class Net:
    """One workflow, without those inside of it. `ways` are the edges that are followed together, by step and case.

    `parts` are in an order in which none leads to an earlier one.
    """

    steps: tuple[StepSpec, ...]
    start: int
    end: int
    edges: list[Edge]
    ways: list[list[list[int]]]
    entering: list[list[int]]
    leaving: list[list[int]]
    # Of gathers, the edges into each slot.
    slots: dict[int, dict[int, list[int]]]
    parts: list[Part] = field(default_factory=list[Part])
    part_of: list[int] = field(default_factory=list[int])
    place: list[int] = field(default_factory=list[int])
    loops: set[int] = field(default_factory=set[int])

    def kept_out(self, node: int) -> Iterator[int]:
        """The edges that lead on within the step's part, without going back."""
        return (
            e
            for e in self.leaving[node]
            if e not in self.loops and self.part_of[self.edges[e].target] == self.part_of[node]
        )

    def kept_in(self, node: int) -> Iterator[int]:
        return (
            e
            for e in self.entering[node]
            if e not in self.loops and self.part_of[self.edges[e].source] == self.part_of[node]
        )


def net_of(spec: WorkflowSpec) -> Net:
    """The net of a workflow that was found to be sound; steps that nothing leads to are left out."""
    number = {step.id: i for i, step in enumerate(spec.steps)}
    gathers = {step.id for step in spec.steps if step.kind == "gather"}
    edges = [
        Edge(number[e.source], number[e.target], e.at_most, (e.slot or 0) if e.target in gathers else -1)
        for e in spec.edges
    ]
    entering: list[list[int]] = [[] for _ in spec.steps]
    leaving: list[list[int]] = [[] for _ in spec.steps]
    for i, edge in enumerate(edges):
        leaving[edge.source].append(i)
        entering[edge.target].append(i)

    slots: dict[int, dict[int, list[int]]] = {}
    for i, edge in enumerate(edges):
        if edge.slot >= 0:
            slots.setdefault(edge.target, {}).setdefault(edge.slot, []).append(i)

    ways = [_ways(out, spec.edges) for out in leaving]
    start, end = number[spec.start], number[spec.end]
    net = Net(spec.steps, start, end, edges, ways, entering, leaving, slots)
    _divide(net)
    return net


def _ways(out: Sequence[int], edges: Sequence[EdgeSpec]) -> list[list[int]]:
    always = [e for e in out if edges[e].on is None]
    by_case: dict[str, list[int]] = {}
    for e in out:
        case = edges[e].on
        if case is not None:
            by_case.setdefault(case, []).append(e)

    ways = [always, *(c if case == REJECTED else always + c for case, c in by_case.items())]
    return [way for way in ways if way]


def _divide(net: Net) -> None:
    """Find the parts, and in each the edges that close its cycles: those that may be followed least."""
    follow = [[net.edges[e].target for e in out] for out in net.leaving]
    far = _distances(follow, net.start)
    net.part_of, net.place = [-1] * len(follow), [0] * len(follow)
    found = components(follow, [net.start])
    for number, members in enumerate(reversed(found)):
        for node in members:
            net.part_of[node] = number

    effort = [_EFFORT * (len(net.edges) + len(net.steps))]
    for members in reversed(found):
        part = _Cutting(net, members, far, effort).part() if _is_cycle(net, members) else Part(members)
        for place, node in enumerate(part.order):
            net.place[node] = place

        net.parts.append(part)
        net.loops.update(part.loops)


def _is_cycle(net: Net, members: Sequence[int]) -> bool:
    return len(members) > 1 or any(net.edges[e].target == members[0] for e in net.leaving[members[0]])


def _distances(follow: Sequence[Sequence[int]], start: int) -> list[int]:
    far = [len(follow)] * len(follow)
    far[start] = 0
    todo = deque([start])
    while todo:
        node = todo.popleft()
        for target in follow[node]:
            if far[target] == len(follow):
                far[target] = far[node] + 1
                todo.append(target)

    return far


class _Cutting:
    """Which edges of one part close its cycles.

    Edges are kept from the one that may be followed most to the one that may be followed least, as long as they close
    no cycle; of equals those first that are farther from the start, as the nearer ones are used up first.
    """

    def __init__(self, net: Net, members: list[int], far: list[int], effort: list[int]) -> None:
        self.net, self.members, self.far, self.effort = net, members, far, effort
        self.kept: dict[int, list[int]] = {node: [] for node in members}
        self.bounded: list[int] = []
        for node in members:
            for e in net.leaving[node]:
                edge = net.edges[e]
                if net.part_of[edge.target] != net.part_of[node]:
                    continue

                if edge.limit is None:
                    self.kept[node].append(edge.target)
                else:
                    self.bounded.append(e)

    def part(self) -> Part:
        self._sort()
        loops: list[int] = []
        for e in sorted(self.bounded, key=self._rank):
            edge = self.net.edges[e]
            if self.at[edge.source] < self.at[edge.target]:
                self.kept[edge.source].append(edge.target)
            elif self._leads(edge.target, edge.source):
                loops.append(e)
            else:
                self.kept[edge.source].append(edge.target)
                self._sort()

        return Part(self.order, loops)

    def _rank(self, e: int) -> tuple[int, int]:
        edge = self.net.edges[e]
        return -(edge.limit or 0), -self.far[edge.source]

    def _sort(self) -> None:
        here = {node: i for i, node in enumerate(sorted(self.members, key=self.far.__getitem__))}
        names = list(here)
        follow = [[here[t] for t in self.kept[node]] for node in names]
        self.effort[0] -= len(names)
        self.order = [names[c[0]] for c in reversed(components(follow, range(len(names))[::-1]))]
        self.at = {node: i for i, node in enumerate(self.order)}

    def _leads(self, first: int, last: int) -> bool:
        """Whether kept edges lead from one to the other; taken to be so where finding out would take too long."""
        seen, todo = {first}, [first]
        while todo:
            node = todo.pop()
            self.effort[0] -= 1
            if node == last or self.effort[0] < 0:
                return True

            for target in self.kept[node]:
                if target not in seen and self.at[target] <= self.at[last]:
                    seen.add(target)
                    todo.append(target)

        return False
