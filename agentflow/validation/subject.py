"""What the checks look at: a spec with its types, its edges by step, and its graph."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from types import GenericAlias
from typing import TYPE_CHECKING, Any

from agentflow.spec import EdgeSpec, StepSpec, WorkflowSpec
from agentflow.typeref import short_name

if TYPE_CHECKING:
    import networkx as nx

REJECTED = "agentflow.steps.approval:Rejected"


@dataclass
class Subject:
    """What the checks look at: the spec, the types it names, and where each step was defined."""

    spec: WorkflowSpec
    types: Mapping[str, Any]
    places: Mapping[str, str] = field(default_factory=dict[str, str])

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

    def gives(self, step: str) -> Any:
        """What the step gives along its edges: a list, for a map; the branches as a tuple, for a gather."""
        spec = self.steps[step]
        given = self.types[spec.gives]
        return GenericAlias(list, (given,)) if spec.map is not None else given

    def takes(self, step: str) -> Any:
        spec = self.steps[step]
        taken = self.types[spec.takes]
        return GenericAlias(Sequence, (taken,)) if spec.map is not None else taken
