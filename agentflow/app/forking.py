"""A new run that has the history of another one up to a step, and goes on live from there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

from agentflow.app.compose import Settings, check_run_id, compile_workflow, new_run_id
from agentflow.app.handle import Run
from agentflow.app.resuming import definition_of, load, refuse_obstacles, resume
from agentflow.app.values import changed
from agentflow.engine.recovery import line_of
from agentflow.engine.replaying import Replayer
from agentflow.engine.state import where_of
from agentflow.events import Event, OperationFinished, OperationStarted, RunStarted, StepStarted
from agentflow.exceptions import ProjectError, UnknownName
from agentflow.journal import hashes_of
from agentflow.workflow import Workflow

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Fork:
    """Where a run is to go another way: `at` is a step, or one of its activations such as `write#2`.

    `values` are put in place of what the old run had before: by place, such as `input.question` or `plan.output[0].text`.
    """

    at: str
    values: Mapping[str, Any] = field(default_factory=dict[str, Any])
    run_id: str | None = None


async def fork(
    workflow: Workflow[Any, T], run_id: str, wanted: Fork, *, settings: Settings, migrate: bool = False
) -> Run[T]:
    """A new run that has what `run_id` did before it came to a step, and does that step and all after it anew.

    Nothing that was done before is done again. The new run's first event names the old one, with the event and the head
    where it went off. `settings.model` is asked from there on. With `migrate` it goes on with another definition.
    Raises `UnknownName`, `ProjectError`, `InputInvalid` for values that do not fit, and `DefinitionChanged`.
    """
    events = await load(settings.journal, run_id)
    new = check_run_id(wanted.run_id) or new_run_id(workflow.name)
    assert settings.journal is not None
    if wanted.run_id is not None and await settings.journal.read(new):
        raise ProjectError(
            f"there is a run `{new}` already", hint="give the fork a name of its own: --run-id"
        )

    forked = await history(workflow, run_id, events, wanted, new)
    # Whatever is in the way is told before there is a new run.
    refuse_obstacles(workflow, new, forked, settings, migrate=migrate)
    await settings.journal.append(new, forked, durable=True)
    return await resume(workflow, new, settings=settings, migrate=migrate)


async def history(
    workflow: Workflow[Any, Any], run_id: str, events: Sequence[Event], wanted: Fork, new: str
) -> list[Event]:
    """The events that a fork begins with: those before the step, and how calls ended that were under way there."""
    at = activation_of(events, wanted.at)
    cut = next(n for n, e in enumerate(events) if isinstance(e, StepStarted) and e.step == at)
    before, late = list(events[:cut]), _late(events, cut)
    is_same = definition_of(before).digest == workflow.digest
    if wanted.values and not is_same:
        raise ProjectError(
            "values can only be changed with the definition that the run had there",
            hint="fork it with that definition",
        )

    kept = changed(compile_workflow(workflow), before, wanted.values) if wanted.values else before
    started = kept[0]
    assert isinstance(started, RunStarted)
    forked = {
        "from": {"run": run_id, "seq": events[cut - 1].seq, "head": hashes_of(before)[-1].hex()},
        "at": at,
        "line": _line(run_id, started, len(before) + len(late)),
        "set": {place: _plain(value) for place, value in wanted.values.items()},
        "changed": _changed(events, before, kept),
        "was": _was(events, kept, len(before) + len(late)),
    }
    forked = {name: value for name, value in forked.items() if value not in ({}, [])}
    kept = [replace(started, run=new, forked=forked), *kept[1:], *late]
    kept = [replace(event, seq=seq) for seq, event in enumerate(kept, 1)]
    if wanted.values:
        await _refuse_other_way(workflow, kept, at)

    return kept


def _plain(value: Any) -> Any:
    from pydantic_core import to_jsonable_python  # heavy, and only needed where values are changed

    return to_jsonable_python(value)


def activation_of(events: Sequence[Event], name: str) -> str:
    """The activation that `name` means; raises `UnknownName`, or `ProjectError` where it could be several."""
    begun = list(dict.fromkeys(event.step for event in events if isinstance(event, StepStarted)))
    if name in begun:
        return name

    alike = [step for step in begun if where_of(step) == name and not step.endswith("]")]
    alike = alike or [step for step in begun if where_of(step) == name]
    if not alike:
        raise UnknownName("activation of a step in this run", name, begun)

    if len(alike) > 1:
        raise ProjectError(
            f"the run came to `{name}` {len(alike)} times",
            hint=f"name one: {', '.join(f'`{step}`' for step in alike[:12])}",
        )

    return alike[0]


def _late(events: Sequence[Event], cut: int) -> list[Event]:
    """How calls ended that were under way where the fork goes off: what was done then is not done again, nor doubted."""
    before = events[:cut]
    begun = {(e.step, e.operation) for e in before if isinstance(e, OperationStarted)}
    begun -= {(e.step, e.operation) for e in before if isinstance(e, OperationFinished)}
    ended = [e for e in events[cut:] if isinstance(e, OperationFinished) and (e.step, e.operation) in begun]
    # They are told with the time of the cut: from then on the time of the fork is its own.
    return [replace(event, at=before[-1].at) for event in ended]


def _changed(events: Sequence[Event], before: Sequence[Event], kept: Sequence[Event]) -> list[int]:
    """The events whose output is not what the step gave, here and in the runs that this one goes off from."""
    started = events[0]
    assert isinstance(started, RunStarted)
    earlier = [seq for seq in (started.forked or {}).get("changed", ()) if seq <= len(before)]
    pairs = list(zip(before, kept, strict=True))[1:]
    return sorted({*earlier, *(old.seq for old, new in pairs if new is not old)})


def _was(events: Sequence[Event], kept: Sequence[Event], count: int) -> list[list[Any]]:
    """The inputs that the first `count` events were made with, where these are not the fork's own."""
    old, new = events[0], kept[0]
    assert isinstance(old, RunStarted)
    assert isinstance(new, RunStarted)
    known = [[last, data] for last, data in (old.forked or {}).get("was", ())]
    held = next((data for last, data in known if last >= count), old.input.data)
    earlier = [[last, data] for last, data in known if last < count]
    has_begun = any(isinstance(event, StepStarted) for event in kept)
    return [*earlier, [count, held]] if has_begun and held != new.input.data else earlier


def _line(run_id: str, started: RunStarted, count: int) -> list[list[Any]]:
    """The runs that did the first `count` events, oldest first, each with the number of its last one."""
    known = [[run, last] for run, last in line_of(started) if last < count]
    earlier = line_of(started)
    doer = next((run for run, last in earlier if last >= count), run_id)
    return [*known, [doer, count]]


async def _refuse_other_way(workflow: Workflow[Any, Any], events: Sequence[Event], at: str) -> None:
    """Raise `ProjectError` where a run with the changed values would not have come to where it is to go on."""
    replayer = Replayer(
        compile_workflow(workflow),
        "fork",
        root=Path.cwd(),
        contents=workflow.contents,
        objects={},
        executes=False,
    )
    found = await replayer.replay(events)
    if found is not None:
        raise ProjectError(
            f"with these values the run would not have come to `{at}`: {found}",
            hint="fork it at the step that comes right after the one whose output is changed",
        )
