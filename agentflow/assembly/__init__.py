"""From a spec to a workflow that runs: YAML and JSON definitions put to registered steps and tools."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

from agentflow.assembly.edges import edges_of, named
from agentflow.assembly.joins import gather_of, in_slots, ordered
from agentflow.assembly.making import Making
from agentflow.assembly.names import Names
from agentflow.assembly.telling import Telling
from agentflow.exceptions import DefinitionError, Problem, ProjectError
from agentflow.path import Step
from agentflow.places import Key, Place, Places
from agentflow.spec import EdgeSpec, StepSpec, WorkflowSpec
from agentflow.workflow import Workflow, keeping_problems


def assemble(spec: WorkflowSpec, place: Place, packages: Sequence[str]) -> Workflow[Any, Any]:
    """The workflow of a spec; only steps and tools of `packages` can be named, never other code.

    Raises `DefinitionError` with all that is wrong: what cannot be made of it, and what the check of the graph finds.
    """
    with keeping_problems():
        workflow, unmade = attempt(spec, Places({(): place}), packages)

    if problems := (*unmade, *workflow.problems):
        raise DefinitionError(spec.name, problems)

    return workflow


def attempt(
    spec: WorkflowSpec, places: Places, packages: Sequence[str], unknown: Collection[Key] = ()
) -> tuple[Workflow[Any, Any], list[Problem]]:
    """The workflow of a spec with the problems of its graph, and all that cannot be made of it.

    `places` says where in the file each part stands; of the steps at `unknown` only types and limits are known. In the stead
    of what cannot be made stands something that fits, so that the rest can be checked; it must not be run. This is to be
    called while problems are kept.
    """
    maker = _Maker(spec, Names(tuple(packages)), Telling(places), unknown)
    return maker.workflow(), maker.tell.problems


class _Maker:
    """Makes one workflow."""

    def __init__(self, spec: WorkflowSpec, names: Names, tell: Telling, unknown: Collection[Key]) -> None:
        self.spec, self.names, self.tell, self.unknown = spec, names, tell, unknown
        self.making = Making(names, tell)

    def workflow(self) -> Workflow[Any, Any]:
        made = {step.id: self._step(step) for step in self.spec.steps if step.kind != "gather"}
        edges = edges_of(self.spec, self.tell)
        cases = {
            edge.on: self._case(edge, edge.on, number)
            for number, edge in zip(edges.numbers, edges.known, strict=True)
            if edge.on is not None
        }
        known = self._joined(made, edges.known, cases)
        now = dict(zip(edges.known, known, strict=True))
        spec = replace(self.spec, edges=tuple(known), takes=self._type("takes"), gives=self._type("gives"))
        return Workflow.of_steps(
            spec,
            {step.id: made[step.id] for step in spec.steps},
            self.tell.places.at(),
            cases=cases,
            places=edges.placed(self.tell.places),
            doubts=replace(edges.doubts, guessed=[now[edge] for edge in edges.guessed]),
        )

    def _step(self, step: StepSpec) -> Step[Any, Any]:
        if (*self.tell.places.root, "steps", step.id) in self.unknown:
            return self.making.unmade(step)

        return self._inner(step) if step.kind == "workflow" else self.making.step(step)

    def _inner(self, step: StepSpec) -> Step[Any, Any]:
        if step.workflow is None:
            error = ProjectError(
                "it is a sub-workflow and has no `workflow`", hint="write it under `workflow:`"
            )
            self.tell.say(error, self.tell.step(step.id), "steps", step.id)
            return self.making.unmade(step)

        tell = Telling(self.tell.places.below("steps", step.id, "workflow"), f"{self.tell.path}{step.id}/")
        made = _Maker(step.workflow, self.names, tell, self.unknown).workflow()
        self.tell.problems += tell.problems
        return self.making.limited(made, step)

    def _joined(
        self, made: dict[str, Step[Any, Any]], edges: Sequence[EdgeSpec], cases: Mapping[str, Any]
    ) -> list[EdgeSpec]:
        """Make the gathers; gives the edges with their slots."""
        gathers = {step.id: step for step in self.spec.steps if step.kind == "gather"}
        entering: dict[str, list[EdgeSpec]] = {name: [] for name in gathers}
        for edge in edges:
            if edge.target in gathers:
                entering[edge.target].append(edge)

        slots: dict[EdgeSpec, EdgeSpec] = {}
        for name in ordered(list(gathers.values()), edges, self.tell):
            into = in_slots(name, entering[name], self.tell)
            slots |= into
            if into and all(edge.source in made for edge in into):
                made[name] = gather_of(
                    name, list(into.values()), made, cases, self.tell.places.at("steps", name)
                )
            else:
                made[name] = self.making.unmade(gathers[name])

        return [slots.get(edge, edge) for edge in edges]

    def _case(self, edge: EdgeSpec, on: str, number: int) -> Any:
        return self.tell.tried(lambda: self.names.type(on), Any, named(edge), "edges", number, "on")

    def _type(self, verb: str) -> str:
        """What the workflow says that it takes or gives, if that can be."""
        said: str = getattr(self.spec, verb)
        found = self.tell.tried(lambda: self.names.type(said), Any, f"workflow `{self.spec.name}`", verb)
        return "Any" if found is Any else said
