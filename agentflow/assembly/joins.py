"""The gathers of a definition, made of the edges that lead into their slots."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from agentflow.assembly.telling import Telling
from agentflow.exceptions import ProjectError
from agentflow.path import Gather, Path, Step
from agentflow.places import Place
from agentflow.spec import EdgeSpec, StepSpec


def ordered(gathers: Sequence[StepSpec], edges: Sequence[EdgeSpec], tell: Telling) -> list[str]:
    """The names of the gathers, each after those that it joins."""
    waiting = {step.id: None for step in gathers}
    done: list[str] = []
    while waiting:
        inner = {e.target for e in edges if e.source in waiting}
        ready = [name for name in waiting if name not in inner]
        if not ready:
            _tell_circle(list(waiting), tell)
            return [*done, *waiting]

        done += ready
        for name in ready:
            del waiting[name]

    return done


def _tell_circle(names: Sequence[str], tell: Telling) -> None:
    error = ProjectError(
        f"the gathers {', '.join(f'`{name}`' for name in names)} wait for each other",
        hint="put a step between them, and bound the way back with `at_most`",
    )
    tell.say(error, tell.step(names[0]), "steps", names[0])


def in_slots(name: str, edges: Sequence[EdgeSpec], tell: Telling) -> dict[EdgeSpec, EdgeSpec]:
    """The `edges` into a gather by their slots, each with what it becomes: where slots are wrong, they are counted anew."""
    into = sorted(edges, key=lambda e: e.slot or 0)
    if [e.slot for e in into] == list(range(len(into))):
        return {edge: edge for edge in into}

    error = ProjectError(
        f"it joins {len(into)} edges, whose slots are {[e.slot for e in into]}",
        hint="give each edge into a gather its `slot`: 0, 1, ...",
    )
    tell.say(error, tell.step(name), "steps", name)
    return {edge: replace(edge, slot=n) for n, edge in enumerate(into)}


def gather_of(
    name: str,
    into: Sequence[EdgeSpec],
    steps: Mapping[str, Step[Any, Any]],
    cases: Mapping[str, Any],
    place: Place,
) -> Step[Any, Any]:
    """The gather that edges lead into."""
    made: Gather[Any, Any] = Gather([_branch(edge, steps, cases) for edge in into], place)
    made.name = name
    return made


def _branch(edge: EdgeSpec, steps: Mapping[str, Step[Any, Any]], cases: Mapping[str, Any]) -> Path[Any, Any]:
    step = steps[edge.source]
    return step if edge.on is None else step.on(cases[edge.on], at_most=edge.at_most)
