"""What the checks look at: a spec with its types, its edges by step, and its graph."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from functools import cached_property
from itertools import compress
from types import GenericAlias
from typing import Any

from agentflow.digraph import Arrows, reached
from agentflow.places import Places
from agentflow.spec import EdgeSpec, StepKind, StepSpec, WorkflowSpec
from agentflow.typeref import assignable, cases, short_name

REJECTED = "agentflow.steps.approval:Rejected"


@dataclass
class Subject:
    """What the checks look at: the spec, the types it names, and where each part of it was defined.

    `unsure` are reads, by step and name, of which it is not known what they read.
    """

    spec: WorkflowSpec
    types: Mapping[str, Any]
    places: Places = field(default_factory=Places)
    unsure: frozenset[tuple[str, str]] = frozenset()

    def where(self, step: str, *part: str) -> str:
        """A step as problems name it; the place is that of its `part`, where that has one."""
        return f"step `{step}`{self.places.said('steps', step, *part)}"

    def edge(self, edge: EdgeSpec, *part: str) -> str:
        case = f".on({short_name(edge.on)})" if edge.on else ""
        place = self.places.said("edges", self._numbers[edge], *part)
        return f"edge `{edge.source}`{case} -> `{edge.target}`{place}"

    def workflow(self, *part: str) -> str:
        return f"workflow `{self.spec.name}`{self.places.said(*part)}"

    @cached_property
    def _numbers(self) -> dict[EdgeSpec, int]:
        """The place of each edge among all; of equal ones the first."""
        return {edge: n for n, edge in reversed(list(enumerate(self.spec.edges)))}

    @cached_property
    def steps(self) -> dict[str, StepSpec]:
        return {step.id: step for step in self.spec.steps}

    @cached_property
    def outgoing(self) -> dict[str, list[EdgeSpec]]:
        out: dict[str, list[EdgeSpec]] = {id_: [] for id_ in self.steps}
        for edge in self.spec.edges:
            out[edge.source].append(edge)

        return out

    @cached_property
    def cased(self) -> Sequence[EdgeSpec]:
        """The edges that only one case of an output follows."""
        return [edge for edge in self.spec.edges if edge.on is not None]

    @cached_property
    def follow(self) -> dict[str, list[str]]:
        """The steps that each step leads to."""
        follow: dict[str, list[str]] = {id_: [] for id_ in self.steps}
        for edge in self.spec.edges:
            follow[edge.source].append(edge.target)

        return follow

    @cached_property
    def numbers(self) -> dict[str, int]:
        """The steps, numbered."""
        return {id_: number for number, id_ in enumerate(self.steps)}

    @cached_property
    def arrows(self) -> Arrows:
        """The steps that each step leads to, by their numbers."""
        number, edges = self.numbers, self.spec.edges
        sources, targets = [number[edge.source] for edge in edges], [number[edge.target] for edge in edges]
        return Arrows(len(number), sources, targets)

    @cached_property
    def _order(self) -> Sequence[int]:
        """The numbers of the steps, each after all that lead to it; fewer than there are, where some lead to themselves."""
        return self.arrows.ordered()

    @cached_property
    def is_straight(self) -> bool:
        """Whether no step leads to itself, on whatever way."""
        return len(self._order) == len(self.steps)

    @cached_property
    def reached(self) -> AbstractSet[str]:
        """The steps that edges from the start lead to, and the start."""
        if self.spec.start not in self.steps:
            return {self.spec.start}

        if not self.is_straight:
            return reached(self.follow, [self.spec.start])

        return self._among(self.arrows.after(self._order, self.numbers[self.spec.start]))

    @cached_property
    def leading(self) -> AbstractSet[str]:
        """The steps from which edges lead to the end, and the end."""
        if self.spec.end not in self.steps:
            return {self.spec.end}

        if not self.is_straight:
            return reached(_turned(self.follow), [self.spec.end])

        return self._among(self.arrows.before(self._order, self.numbers[self.spec.end]))

    def _among(self, found: bytearray) -> AbstractSet[str]:
        return self.steps.keys() if all(found) else set(compress(self.steps, found))

    def of_kind(self, kind: StepKind) -> list[str]:
        """The steps of a kind, in the order written."""
        return [step.id for step in self.spec.steps if step.kind == kind]

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


def _turned(follow: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
    """The steps that lead to each step."""
    back: dict[str, list[str]] = {id_: [] for id_ in follow}
    for source, targets in follow.items():
        for target in targets:
            back[target].append(source)

    return back
