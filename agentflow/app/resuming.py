"""Taking up a run from its journal: with the definition that it was started with, or moved onto another."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any, TypeVar

from agentflow.app.compose import Settings, handle_of, refuse_unpriced, runner_of
from agentflow.app.handle import Run
from agentflow.app.lease import Lease
from agentflow.changes import changes
from agentflow.engine.migration import obstacles
from agentflow.engine.recovery import limits_of, recover
from agentflow.engine.runner import Runner
from agentflow.events import Event, RunMigrated, RunResumed, RunStarted
from agentflow.exceptions import DefinitionChanged, ProjectError, UnknownName
from agentflow.journal import Journal
from agentflow.journal.refusals import unknown_run
from agentflow.spec import Budget, WorkflowSpec, from_data
from agentflow.version import VERSION
from agentflow.workflow import Workflow

T = TypeVar("T")
OVER = ("run.finished", "run.cancelled")


async def resume(
    workflow: Workflow[Any, T],
    run_id: str,
    *,
    settings: Settings,
    budget: Mapping[str, float] | None = None,
    migrate: bool = False,
) -> Run[T]:
    """Take up a run where its journal left it: finished steps, and finished calls of open ones, are not done again.

    `budget` puts other limits in place of the definition's: `{"usd": 2}`, or `{"handle/draft.tokens": 9000}` for a step.
    With `migrate` the run goes on with another definition than before, if each open step is still there with its types.
    Raises `RunBusy` where another process drives the run, and `DefinitionChanged`, `UnknownName`, `ProjectError`.
    """
    journal = settings.journal
    await load(journal, run_id)
    assert journal is not None
    lease = Lease(journal, run_id)
    await lease.take()
    try:
        # Read again, as the one who drove the run until now may have gone on.
        runner = _recovered(workflow, run_id, await load(journal, run_id), settings, migrate=migrate)
        limits = _checked(runner, budget or {})
        runner.account.raise_limits(limits)
        refuse_unpriced(workflow, settings)
    except BaseException:
        await lease.give_back()
        raise

    runner.post(
        RunResumed,
        model=runner.model,
        version=VERSION,
        budget=limits or None,
        service=settings.service,
    )
    return handle_of(workflow, runner, settings, lease)


def refuse_obstacles(
    workflow: Workflow[Any, Any], run_id: str, events: Sequence[Event], settings: Settings, *, migrate: bool
) -> None:
    """Raise what `resume` would raise for a run of these events; nothing is written."""
    _recovered(workflow, run_id, events, settings, migrate=migrate)
    refuse_unpriced(workflow, settings)


def _recovered(
    workflow: Workflow[Any, Any], run_id: str, events: Sequence[Event], settings: Settings, *, migrate: bool
) -> Runner:
    refuse_over(run_id, events)
    before = definition_of(events)
    if before.digest == workflow.digest:
        runner = runner_of(workflow, run_id, settings)
        recover(runner, events)
        return runner

    found = refuse_changed(workflow, run_id, events, migrate=migrate)
    runner = runner_of(workflow, run_id, settings)
    recover(runner, events)
    in_the_way = obstacles(runner.state, before, workflow.spec)
    if in_the_way:
        raise DefinitionChanged(
            f"run `{run_id}` cannot go on with this definition of `{workflow.name}`:\n" + _lines(in_the_way),
            hint="resume it with the definition that it was started with, or start a new run",
        )

    runner.post(RunMigrated, digest=workflow.digest, spec=workflow.data, changes=found)
    return runner


def refuse_changed(
    workflow: Workflow[Any, Any], run_id: str, events: Sequence[Event], *, migrate: bool
) -> list[str]:
    """What is different in a definition, in words; raises `DefinitionChanged` where the run may not be moved onto it."""
    found = [str(change) for change in changes(definition_of(events), workflow.spec)]
    if not migrate:
        raise DefinitionChanged(
            f"run `{run_id}` was started with another definition of `{workflow.name}`:\n" + _lines(found),
            hint="resume it with the definition that it was started with; or with `--migrate`, to go on with this one",
        )

    return found


def refuse_over(run_id: str, events: Sequence[Event]) -> None:
    """Raise `ProjectError` where a run has ended for good."""
    if events[-1].type in OVER:
        raise ProjectError(
            f"run `{run_id}` is over ({events[-1].type})", hint=f"look at it: agentflow show {run_id}"
        )


def _lines(items: Sequence[str]) -> str:
    return "\n".join(f"  {item}" for item in items)


def definition_of(events: Sequence[Event]) -> WorkflowSpec:
    """The definition that a run follows: the one it was started with, or was moved onto last."""
    named = [event for event in events if isinstance(event, RunStarted | RunMigrated)]
    return from_data(named[-1].spec)


def _checked(runner: Runner, budget: Mapping[str, Any]) -> dict[str, dict[str, float]]:
    known = [f.name for f in fields(Budget)]
    limits = limits_of(budget)
    steps = {where for where, _ in _budgets(runner.program.spec, "")}
    for where, values in limits.items():
        if where not in steps:
            raise UnknownName("step with a budget", where, sorted(steps - {""}))

        given: dict[str, Any] = dict(values)
        for name, value in given.items():
            if name not in known:
                raise UnknownName("limit of a budget", name, known)

            if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < math.inf:
                raise ProjectError(f"the limit `{name}` is {value!r}", hint="give a number from 0 on")

    return limits


def _budgets(spec: WorkflowSpec, path: str) -> Sequence[tuple[str, Budget | None]]:
    """The places whose budget can be raised: the run itself, and each step or sub-workflow that has one."""
    found: list[tuple[str, Budget | None]] = (
        [(path, spec.budget)] if spec.budget is not None or not path else []
    )
    for step in spec.steps:
        place = f"{path}/{step.id}" if path else step.id
        if step.budget is not None:
            found.append((place, step.budget))

        if step.workflow is not None:
            found += _budgets(step.workflow, place)

    return found


async def load(journal: Journal | None, run_id: str) -> list[Event]:
    """The events of a run; raises `UnknownName` with the nearest ids where there is none."""
    if journal is None:
        raise ProjectError("a run can only be taken up from a journal")

    events = await journal.read(run_id)
    if events:
        return events

    if (trail := await journal.trail(run_id)) is not None and trail.is_pruned:
        raise ProjectError(
            f"run `{run_id}` was pruned: only its head is kept", hint=f"it is {trail.head.hex()}"
        )

    raise await unknown_run(journal, run_id)
