"""Workflows inside of themselves."""

from __future__ import annotations

from collections.abc import Iterator

from agentflow.exceptions import Problem
from agentflow.spec import WorkflowSpec
from agentflow.validation.subject import Subject


def contains_itself(s: Subject) -> Iterator[Problem]:
    """A workflow must not be one of its own steps, at any depth: a run of it would never come to its end."""
    for id_, step in s.steps.items():
        if step.workflow is not None and _holds(step.workflow, s.spec, set()):
            yield Problem(
                code="AF119",
                what=f"it contains the workflow `{s.spec.name}`, of which it is a step",
                where=s.where(id_),
                hint="leave it out: to do work again, lead an edge with `at_most` back",
            )


def _holds(spec: WorkflowSpec, wanted: WorkflowSpec, seen: set[int]) -> bool:
    if spec is wanted or id(spec) in seen:
        return spec is wanted

    seen.add(id(spec))
    return any(step.workflow is not None and _holds(step.workflow, wanted, seen) for step in spec.steps)


def same_names(spec: WorkflowSpec, place: str = "") -> Iterator[Problem]:
    """Warnings of workflows that contain another of their own name."""
    for name in _names_inside(spec):
        if name == spec.name:
            yield Problem(
                code="AF153",
                what="it contains another workflow of its own name: pictures, spans and lists cannot tell the two apart",
                where=f"workflow `{name}`" + (f" ({place})" if place else ""),
                hint="rename one",
                severity="warning",
            )
            return


def _names_inside(spec: WorkflowSpec) -> Iterator[str]:
    for step in spec.steps:
        if step.workflow is not None:
            yield step.workflow.name
            yield from _names_inside(step.workflow)
