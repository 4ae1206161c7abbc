"""What each step was given: values followed along the edges of a run's own spec, as its events tell."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from functools import lru_cache

from agentflow.events import Json, Payload
from agentflow.exceptions import ProjectError
from agentflow.identity import Same
from agentflow.spec import EdgeSpec, StepSpec, WorkflowSpec, from_data
from agentflow.tracing.activation import Activation, parse
from agentflow.tracing.steps import Look, look


class Graph:
    """A spec by name: steps and their looks, the edges out of each, how many branches a gather joins, and sub-workflows."""

    def __init__(self, spec: WorkflowSpec) -> None:
        self.start = spec.start
        self.steps = {step.id: step for step in spec.steps}
        self.looks = {step.id: look(step.id, step, is_item=False) for step in spec.steps}
        self.items = {s.id: look(s.id, s, is_item=True) for s in spec.steps if s.map is not None}
        self.outs: dict[str, list[EdgeSpec]] = {step.id: [] for step in spec.steps}
        self.slots: dict[str, int] = {}
        for edge in spec.edges:
            self.outs[edge.source].append(edge)
            if edge.slot is not None:
                self.slots[edge.target] = max(self.slots.get(edge.target, 0), edge.slot + 1)

        # Where most steps lead: to one other, whatever the case.
        self.next = {
            id_: outs[0].target
            for id_, outs in self.outs.items()
            if len(outs) == 1 and outs[0].on is None and outs[0].slot is None
        }
        self.children = {s.id: Graph(s.workflow) for s in spec.steps if s.workflow is not None}


def graph_of(data: Json) -> Graph | None:
    """The graph of the spec that an event holds; None where it holds none, or one of a version that is not known.

    Runs of one workflow hold the same object, whose graph is made once.
    """
    return _graph_of(Same(data)) if data else None


@lru_cache(16)
def _graph_of(data: Same[Json]) -> Graph | None:
    try:
        return Graph(from_data(data.value))
    except ProjectError:  # its spans are made without inputs and kinds
        return None


NO_GRAPH = Graph(WorkflowSpec(name="", start="", end=""))


@dataclass(slots=True)
class Frame:
    """One run of one graph, while it lasts."""

    graph: Graph
    visits: dict[str, int] = field(default_factory=dict[str, int])
    arrived: dict[tuple[str, int], deque[Payload]] = field(
        default_factory=dict[tuple[str, int], deque[Payload]]
    )
    output: Payload | None = None

    def moved(self, graph: Graph) -> Frame:
        """The same on another graph: branches that are gone are dropped; a step that comes back goes on counting."""
        visits = dict(self.visits)
        arrived = {
            (node, slot): queue
            for (node, slot), queue in self.arrived.items()
            if slot < graph.slots.get(node, 0)
        }
        return Frame(graph, visits, arrived, self.output)


class Flow:
    """Follows a run. Events of a run without a spec, or that do not fit it, lead to no value."""

    def __init__(self, graph: Graph, value: Payload) -> None:
        self._frames = {"": Frame(graph)}
        self._given: dict[str, Payload] = {}
        self._results: dict[str, dict[int, Payload]] = {}
        self._arrive("", graph.start, value)

    def migrated(self, graph: Graph) -> None:
        """The run follows another definition from here on; what is open is found in it by the ids of steps."""
        frames = {"": self._frames[""].moved(graph)}
        # What was entered first is around what was entered later.
        for id_, frame in self._frames.items():
            at = parse(id_)
            outer = frames.get(at.frame)
            inner = outer.graph.children.get(at.node) if id_ and outer is not None else None
            if inner is not None:
                frames[id_] = frame.moved(inner)

        self._frames = frames

    def given(self, at: Activation) -> Payload | None:
        """The input of a step that is not finished."""
        if at.item is None or at.id in self._given:
            return self._given.get(at.id)

        container = self._given.get(at.container)
        return container.items()[at.item] if container is not None else None

    def started(self, at: Activation) -> tuple[Look, Payload | None]:
        """A step began: its look and its input. A sub-workflow is entered; its items enter it where it is mapped."""
        value, frame = self.given(at), self._frames.get(at.frame)
        step = frame.graph.steps.get(at.node) if frame is not None else None
        if frame is None or step is None:
            return look(at.node, None, is_item=False), value

        if step.workflow is not None and value is not None and at.id not in self._frames:
            self._enter(at, step, value)

        looks = frame.graph.looks if at.item is None else frame.graph.items
        return looks.get(at.node) or look(at.node, step, is_item=True), value

    def _enter(self, at: Activation, step: StepSpec, value: Payload) -> None:
        if step.map is None or at.item is not None:
            graph = self._frames[at.frame].graph.children[at.node]
            self._frames[at.id] = Frame(graph)
            self._arrive(at.id, graph.start, value)

    def expanded(self, at: Activation) -> None:
        """A map knows how many items it has."""
        self._results[at.id] = {}

    def finished(self, at: Activation, output: Payload | None, case: str | None) -> Payload | None:
        """A step ended: its output, which goes along the edges that take it."""
        output = output if output is not None else self._derived(at)
        self._given.pop(at.id, None)
        self._frames.pop(at.id, None)
        self._results.pop(at.id, None)
        if output is None:
            return None

        if at.item is not None:
            self._results.setdefault(at.container, {})[at.item] = output
        elif at.frame in self._frames:
            self._leave(at.frame, at.node, output, case)

        return output

    def _derived(self, at: Activation) -> Payload | None:
        """The output that an event leaves out because it follows: of a map, a sub-workflow, or what was given."""
        results = self._results.get(at.id)
        if results is not None:
            return Payload(parts=[results[i] for i in sorted(results)])

        frame = self._frames.get(at.id)
        return frame.output if frame is not None else self.given(at)

    def _leave(self, frame_id: str, node: str, output: Payload, case: str | None) -> None:
        frame = self._frames[frame_id]
        if (target := frame.graph.next.get(node)) is not None:
            self._arrive(frame_id, target, output)
            return

        outs = [edge for edge in frame.graph.outs.get(node, ()) if edge.on is None or edge.on == case]
        if not outs:
            frame.output = output

        for edge in outs:
            if edge.slot is None:
                self._arrive(frame_id, edge.target, output)
            else:
                self._collect(frame_id, edge.target, edge.slot, output)

    def _arrive(self, frame_id: str, node: str, value: Payload) -> None:
        frame = self._frames[frame_id]
        visit = frame.visits[node] = frame.visits.get(node, 0) + 1
        prefix = f"{frame_id}/" if frame_id else ""
        self._given[f"{prefix}{node}#{visit}"] = value

    def _collect(self, frame_id: str, node: str, slot: int, value: Payload) -> None:
        """A branch came to its gather: what is joined goes on when each branch has."""
        frame = self._frames[frame_id]
        frame.arrived.setdefault((node, slot), deque()).append(value)
        queues = [frame.arrived.get((node, i)) for i in range(frame.graph.slots[node])]
        if all(queues):
            parts = [queue.popleft() for queue in queues if queue]
            self._leave(frame_id, node, Payload(parts=parts), None)
