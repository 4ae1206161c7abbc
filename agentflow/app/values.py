"""Other values in place of what a run was given, or what its steps gave, checked against their types."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import replace
from typing import Any, NamedTuple, cast

from agentflow.engine.execution import matching
from agentflow.engine.graph import Program
from agentflow.engine.recovery import work_at
from agentflow.engine.state import where_of
from agentflow.events import Event, Payload, RunStarted, StepFinished, adapter
from agentflow.exceptions import InputInvalid, ProjectError, UnknownName

_PLACE = re.compile(r"(?:(?P<step>[^\s.]+)\.output|input)(?P<path>(?:\.[^.\[\]]+|\[\d+\])*)")
_PART = re.compile(r"\.([^.\[\]]+)|\[(\d+)\]")
_FORM = 'write `input.question="..."` or `plan.output[0].text="..."`'


class Change(NamedTuple):
    """A value that is to be changed: of a step's output, or of the input where `step` is empty, and where in it."""

    place: str
    step: str
    path: tuple[str | int, ...]


def change_of(place: str) -> Change:
    """What a place means: `input.question`, `plan.output[0].text`, `write#2.output`."""
    match = _PLACE.fullmatch(place)
    if match is None:
        raise ProjectError(f"`{place}` is no place of a value", hint=_FORM)

    parts = [name or int(number) for name, number in _PART.findall(match["path"])]
    return Change(place, match["step"] or "", tuple(parts))


def changed(program: Program, events: Sequence[Event], values: Mapping[str, Any]) -> list[Event]:
    """The events with `values` in their places.

    Raises `ProjectError` for a place that is not there, and `InputInvalid` where a value does not fit its type.
    """
    found = list(events)
    for place, value in values.items():
        change = change_of(place)
        index = _index(found, change) if change.step else 0
        event = found[index]
        if isinstance(event, RunStarted):
            data = _put(event.input.data, change, value)
            found[index] = replace(event, input=_checked(program.takes, data, "the workflow"))
        elif isinstance(event, StepFinished):
            found[index] = _other_output(program, event, change, value)

    return found


def _index(events: Sequence[Event], change: Change) -> int:
    """The event that holds the output: of a step that came several times, the latest one."""
    ended = {n: e for n, e in enumerate(events) if isinstance(e, StepFinished)}
    alike = [n for n, e in ended.items() if change.step in (e.step, where_of(e.step))]
    alike = [n for n in alike if not ended[n].step.endswith("]") or ended[n].step == change.step] or alike
    if not alike:
        raise UnknownName(
            "step that had ended there", change.step, list(dict.fromkeys(e.step for e in ended.values()))
        )

    return alike[-1]


def _other_output(program: Program, event: StepFinished, change: Change, value: Any) -> StepFinished:
    if event.output is None:
        raise ProjectError(
            f"the output of `{event.step}` follows from others", hint="change those it is made of"
        )

    work = work_at(program, event.step)
    assert work is not None
    payload = _checked(work.gives, _put(event.output.data, change, value), f"`{event.step}`'s next step")
    case = matching(work, payload.value(work.gives)) if event.case is not None else None
    return replace(event, output=payload, case=case)


def _checked(type_: Any, data: Any, whose: str) -> Payload:
    """The value as JSON of its type, as the step itself would have written it."""
    try:
        value = adapter(type_).validate_json(Payload(data).json)
    except ValueError as error:
        details = [
            f"{'.'.join(map(str, fault['loc'])) or 'it'}: {fault['msg']}"
            for fault in cast("Any", error).errors()
        ]
        raise InputInvalid(whose, details, hint="give a value of the type that is there") from None

    return Payload(raw=Payload(value).json)


def _put(data: Any, change: Change, value: Any) -> Any:
    """A copy of `data` with `value` in its place, which must be there already."""
    if not change.path:
        return value

    copy = deepcopy(data)
    at = copy
    for part in change.path[:-1]:
        at = at[_key(at, part, change)]

    at[_key(at, change.path[-1], change)] = value
    return copy


def _key(at: Any, part: str | int, change: Change) -> Any:
    if isinstance(part, int) and isinstance(at, list):
        count = len(at)
        if part < count:
            return part

        raise ProjectError(f"`{change.place}`: there is no item {part}", hint=f"it has {count}, from 0 on")

    if isinstance(part, str) and isinstance(at, dict):
        known = list(cast("dict[str, Any]", at))
        if part in known:
            return part

        raise ProjectError(
            f"`{change.place}`: there is no `{part}`", hint=f"there are: {', '.join(known) or 'none'}"
        )

    kind = "a list" if isinstance(at, list) else "an object" if isinstance(at, dict) else "a plain value"
    raise ProjectError(f"`{change.place}`: `{part}` leads into {kind}", hint=_FORM)
