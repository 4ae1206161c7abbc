"""What can be said of a workflow before it runs: problems, warnings, remarks, the most it can do, what could leak."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from agentflow.bounds import Bound
from agentflow.exceptions import Problem
from agentflow.models.endings import Ending, ends, problem_of
from agentflow.spec import WorkflowSpec, agents_in, steps_in
from agentflow.validation.flow import Finding
from agentflow.validation.producing import cannot_produce
from agentflow.workflow import Workflow

# A model that is shut down within this many days is warned of.
DAYS = 90


@dataclass(frozen=True, kw_only=True)
class Assessment:
    """The check of one workflow. `flows` are all that it found, with those that the definition allows."""

    workflow: Workflow[Any, Any]
    errors: Sequence[Problem]
    warnings: Sequence[Problem]
    notes: Sequence[str]
    bound: Bound
    flows: Sequence[Finding]

    @property
    def problems(self) -> list[Problem]:
        """Errors, then warnings."""
        return [*self.errors, *self.warnings]


def assess(
    workflow: Workflow[Any, Any],
    model: str,
    *,
    today: dt.date | None = None,
    listed: Mapping[str, Ending] | None = None,
) -> Assessment:
    """Check a workflow that is to run with `model`; nothing is run and nothing is fetched.

    `listed` are endings of models that their server told, which go before the dates known here.
    """
    now = today or dt.datetime.now(dt.UTC).date()
    return Assessment(
        workflow=workflow,
        errors=[*workflow.problems, *cannot_produce(workflow.spec, model)],
        warnings=[*workflow.warnings(), *_endings(workflow.spec, model, now, listed)],
        notes=workflow.notes(),
        bound=workflow.bound,
        flows=workflow.flows(),
    )


def further(workflow: Workflow[Any, Any], model: str, *, today: dt.date | None = None) -> list[Problem]:
    """What can be said of a broken workflow beside its problems: what its model cannot write, and warnings."""
    if any(problem.code == "AF119" for problem in workflow.problems):
        return []  # what contains itself has no end of steps to look at

    now = today or dt.datetime.now(dt.UTC).date()
    warned = [*workflow.warnings(), *_endings(workflow.spec, model, now, None)]
    return [*cannot_produce(workflow.spec, model), *warned]


def _endings(
    spec: WorkflowSpec, model: str, today: dt.date, listed: Mapping[str, Ending] | None
) -> Iterator[Problem]:
    for name, where in {model: f"model of workflow `{spec.name}`", **dict(models_of(spec))}.items():
        ending = ends(name, today, DAYS, listed=listed)
        if ending is not None:
            yield problem_of(ending, where, today)


def models_of(spec: WorkflowSpec) -> Iterator[tuple[str, str]]:
    """The models that steps name, and where."""
    for place, step in steps_in(spec):
        yield from ((str(a["model"]), f"step `{place}`") for a in agents_in(step.options) if a.get("model"))
