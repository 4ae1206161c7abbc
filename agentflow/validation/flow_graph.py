"""Which content comes to which step: the steps of a workflow and of those inside of it as one graph, and what spreads there."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Literal, NamedTuple

from agentflow.spec import StepSpec, WorkflowSpec, agents_in, servers_in
from agentflow.tools import Tool

# What content can be, of which somebody ought to know where it goes.
Taint = Literal["untrusted", "private"]


class Labels(NamedTuple):
    """What a tool touches, as its labels say; `key` tells tools apart, `home` where they reach."""

    key: str
    name: str
    untrusted: bool = True
    private: bool = True
    writes: bool = True
    outside: bool = True
    is_guarded: bool = False
    home: str = ""

    def source(self, taint: Taint) -> str:
        """What tells content of one tool from that of another: private data is at home in all tools of one service."""
        return self.key if taint == "untrusted" else self.home or self.key

    def gives(self, taint: Taint) -> bool:
        """Whether what it returns is of this kind."""
        return self.untrusted if taint == "untrusted" else self.private


@dataclass(slots=True, kw_only=True)
class Node:
    """One step with the tools that it may call; `id` leads to it through the workflows around it.

    `is_model`: a model decides on its calls. `leads` are the nodes that get what it gives, and whether by `ctx.output`.
    """

    id: str
    is_model: bool
    is_approval: bool
    tools: Sequence[Labels]
    leads: list[tuple[int, bool]] = field(default_factory=list[tuple[int, bool]])


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Arrival:
    """Content at a node: the tool and node that it is from, and the arrival one step before, None where that is its source."""

    node: int
    tool: Labels
    source: int
    before: Arrival | None = None
    is_read: bool = False
    steps: int = 0


def graph_of(
    spec: WorkflowSpec, tools: Mapping[str, Tool[..., Any]], named: Mapping[str, Sequence[str]]
) -> list[Node]:
    """The steps of a workflow and of all workflows inside of it, and where the output of each goes.

    `tools` are found by their origin, `named` has the origins of those that the code of a function names, by its `call`.
    A tool that is not known is taken for one that does everything.
    """
    made = _Making(tools, named)
    made.add(spec, "")
    return made.nodes


def arrivals(nodes: Sequence[Node], taint: Taint) -> list[list[Arrival]]:
    """What comes to each node of one kind, the nearest first: from two tools at most, so one is another than any given one."""
    arrived: list[list[Arrival]] = [[] for _ in nodes]
    todo = deque(found for index, node in enumerate(nodes) for found in own(index, node, taint))
    while todo:
        here = todo.popleft()
        if nodes[here.node].is_approval:
            continue

        for target, is_read in nodes[here.node].leads:
            known = arrived[target]
            source = here.tool.source(taint)
            if len(known) < 2 and all(other.tool.source(taint) != source for other in known):
                known.append(_next(here, target, is_read=is_read))
                todo.append(known[-1])

    return arrived


def own(index: int, node: Node, taint: Taint) -> list[Arrival]:
    """What the tools of a node give of one kind: of two of them at most, as above."""
    given = {tool.source(taint): tool for tool in reversed(node.tools) if tool.gives(taint)}
    return [Arrival(node=index, tool=tool, source=index) for tool in islice(reversed(given.values()), 2)]


def _next(here: Arrival, target: int, *, is_read: bool) -> Arrival:
    return Arrival(
        node=target, tool=here.tool, source=here.source, before=here, is_read=is_read, steps=here.steps + 1
    )


class _Making:
    """Lays the steps of nested workflows side by side."""

    def __init__(self, tools: Mapping[str, Tool[..., Any]], named: Mapping[str, Sequence[str]]) -> None:
        self.nodes: list[Node] = []
        self._tools, self._named = tools, named

    def add(self, spec: WorkflowSpec, prefix: str) -> tuple[int, int]:
        """Add the steps of a workflow; gives the nodes that take what it takes and give what it gives."""
        ends = {step.id: self._ends(step, prefix) for step in spec.steps}
        for edge in spec.edges:
            self.nodes[ends[edge.source][1]].leads.append((ends[edge.target][0], False))

        for step in spec.steps:
            for name in filter(ends.__contains__, step.reads):
                self.nodes[ends[name][1]].leads.append((ends[step.id][0], True))

        return ends[spec.start][0], ends[spec.end][1]

    def _ends(self, step: StepSpec, prefix: str) -> tuple[int, int]:
        if step.workflow is not None:
            return self.add(step.workflow, f"{prefix}{step.id}/")

        index = len(self.nodes)
        self.nodes.append(
            Node(
                id=prefix + step.id,
                is_model=step.kind in ("agent", "planner"),
                is_approval=step.kind == "approval",
                tools=tuple({tool.key: tool for tool in map(self._labels, self._origins(step))}.values()),
            )
        )
        return index, index

    def _origins(self, step: StepSpec) -> Iterator[str]:
        return iter(self._named.get(step.call, ())) if step.kind == "function" else _given(step.options)

    def _labels(self, origin: str) -> Labels:
        tool = self._tools.get(origin)
        if tool is None:
            return Labels(key=origin, name=origin)

        return Labels(
            key=origin,
            name=tool.name,
            untrusted=tool.returns == "untrusted",
            private=tool.private,
            writes=tool.effect == "write",
            outside=tool.outside,
            is_guarded=tool.labels.needs_approval,
            home=tool.home,
        )


def _given(options: Mapping[str, Any]) -> Iterator[str]:
    """The tools of a planner or an agent, and of all agents below it.

    Those share what they know: one that takes over goes on with all that was said, and one that is asked is told of
    it and answers into it, again and again.
    """
    for agent in agents_in(options):
        yield from agent.get("tools", ())
        yield from (origin for _, origins in servers_in(agent) for origin in origins)
