"""What the checks look at: a spec with its types, its edges by step, and its graph."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from types import GenericAlias
from typing import TYPE_CHECKING, Any

from agentflow.spec import EdgeSpec, StepSpec, WorkflowSpec
from agentflow.typeref import assignable, cases, short_name

if TYPE_CHECKING:
    import networkx as nx

REJECTED = "agentflow.steps.approval:Rejected"


@dataclass
class Subject:
    """What the checks look at: the spec, the types it names, and where each step was defined.

    `unsure` are reads, by step and name, of which it is not known what they read.
    """

    spec: WorkflowSpec
    types: Mapping[str, Any]
    places: Mapping[str, str] = field(default_factory=dict[str, str])
    unsure: frozenset[tuple[str, str]] = frozenset()

    def where(self, step: str) -> str:
        place = self.places.get(step, "")
        return f"step `{step}`" + (f" ({place})" if place else "")

    def edge(self, edge: EdgeSpec) -> str:
        case = f".on({short_name(edge.on)})" if edge.on else ""
        return f"edge `{edge.source}`{case} -> `{edge.target}`{self.place}"

    @property
    def place(self) -> str:
        """Where the workflow, and with it each edge, was written; kept under the empty name."""
        place = self.places.get("", "")
        return f" ({place})" if place else ""

    @cached_property
    def steps(self) -> dict[str, StepSpec]:
        return {step.id: step for step in self.spec.steps}

    @cached_property
    def outgoing(self) -> dict[str, list[EdgeSpec]]:
        out: dict[str, list[EdgeSpec]] = {step.id: [] for step in self.spec.steps}
        for edge in self.spec.edges:
            out[edge.source].append(edge)

        return out

    @cached_property
    def graph(self) -> nx.DiGraph[str]:
        # networkx is loaded when a workflow is built, not when agentflow is imported.
        import networkx as nx

        graph: nx.DiGraph[str] = nx.DiGraph()
        graph.add_nodes_from(self.steps)
        graph.add_edges_from((edge.source, edge.target) for edge in self.spec.edges)
        return graph

    @cached_property
    def reached(self) -> set[str]:
        """The steps that edges from the start lead to, and the start."""
        import networkx as nx

        return nx.descendants(self.graph, self.spec.start) | {self.spec.start}

    @cached_property
    def leading(self) -> set[str]:
        """The steps from which edges lead to the end, and the end."""
        import networkx as nx

        return nx.ancestors(self.graph, self.spec.end) | {self.spec.end}

    def is_produced(self, edge: EdgeSpec) -> bool:
        """Whether some output of the edge's source is of the edge's case."""
        if edge.on is None:
            return True

        step = self.steps[edge.source]
        if step.kind == "gather":
            return False  # what it gives is joined by the engine, which tells no cases apart

        case, members = self.types[edge.on], cases(self.gives(edge.source))
        refused = step.kind == "approval" and step.map is None and edge.on == REJECTED
        return refused or any(assignable(m, case) or assignable(case, m) for m in members)

    def gives(self, step: str) -> Any:
        """What the step gives along its edges: a list, for a map; the branches as a tuple, for a gather."""
        spec = self.steps[step]
        given = self.types[spec.gives]
        return GenericAlias(list, (given,)) if spec.map is not None else given

    def takes(self, step: str) -> Any:
        spec = self.steps[step]
        taken = self.types[spec.takes]
        return GenericAlias(Sequence, (taken,)) if spec.map is not None else taken
