"""What each step was given: values followed along the edges of a run's own spec, as its events tell."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from agentflow.events import Json, Payload
from agentflow.exceptions import ProjectError
from agentflow.spec import EdgeSpec, StepSpec, WorkflowSpec, from_data
from agentflow.tracing.activation import Activation, parse


def spec_of(data: Json) -> WorkflowSpec | None:
    """The spec that an event holds; None where it holds none, or one of a version that is not known."""
    try:
        return from_data(data) if data else None
    except ProjectError:  # its spans are made without inputs and kinds
        return None


class Graph:
    """A spec by name: steps, the edges out of each, how many branches a gather joins, and sub-workflows."""

    def __init__(self, spec: WorkflowSpec) -> None:
        self.start = spec.start
        self.steps = {step.id: step for step in spec.steps}
        self.outs: dict[str, list[EdgeSpec]] = {step.id: [] for step in spec.steps}
        self.slots: dict[str, int] = {}
        for edge in spec.edges:
            self.outs[edge.source].append(edge)
            if edge.slot is not None:
                self.slots[edge.target] = max(self.slots.get(edge.target, 0), edge.slot + 1)

        self.children = {s.id: Graph(s.workflow) for s in spec.steps if s.workflow is not None}


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

    def __init__(self, spec: WorkflowSpec, value: Payload) -> None:
        self._frames = {"": Frame(Graph(spec))}
        self._given: dict[str, Payload] = {}
        self._results: dict[str, dict[int, Payload]] = {}
        self._arrive("", spec.start, value)

    def migrated(self, spec: WorkflowSpec) -> None:
        """The run follows another definition from here on; what is open is found in it by the ids of steps."""
        frames = {"": self._frames[""].moved(Graph(spec))}
        # What was entered first is around what was entered later.
        for id_, frame in self._frames.items():
            at = parse(id_)
            outer = frames.get(at.frame)
            graph = outer.graph.children.get(at.node) if id_ and outer is not None else None
            if graph is not None:
                frames[id_] = frame.moved(graph)

        self._frames = frames

    def step(self, at: Activation) -> StepSpec | None:
        """The spec of a step."""
        frame = self._frames.get(at.frame)
        return frame.graph.steps.get(at.node) if frame is not None else None

    def given(self, at: Activation) -> Payload | None:
        """The input of a step that is not finished."""
        if at.item is None or at.id in self._given:
            return self._given.get(at.id)

        container = self._given.get(at.container)
        return container.items()[at.item] if container is not None else None

    def started(self, at: Activation) -> None:
        """A step began: a sub-workflow is entered. Its items enter it where it is mapped."""
        step, value = self.step(at), self.given(at)
        if step is None or value is None or step.workflow is None or at.id in self._frames:
            return

        if step.map is not None and at.item is None:
            return

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
