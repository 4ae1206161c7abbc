"""Planning: a turn of the embedded planner, from parsed JSON to JSON that can be written down."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from agentflow.models.embedded.detours import detours
from agentflow.models.embedded.drafting import draft
from agentflow.models.embedded.turn import Call, Turn, read


def plan_turn(request: Mapping[str, Any]) -> dict[str, Any]:
    """The next calls for `request`, and whether planning is done.

    `request` holds `task`, `tools`, `observations`, `calls_left` and `rounds_left`; the reply holds `thought`,
    `calls` and `done`. An argument may refer to a result: `${c1.url}` is the first address in the evidence of
    call `c1`, `${c1.text}` its text. Raises `MissingExtra`.
    """
    turn = read(request)
    if turn.calls_left <= 0 or turn.rounds_left <= 0:
        return _reply(["No calls are left."], ())

    return _later(turn) if turn.observations else _first(turn)


def _first(turn: Turn) -> dict[str, Any]:
    drafted = draft(turn)
    made, cut = _affordable(drafted.calls, turn.calls_left)
    return _reply([*drafted.notes, *cut], made)


def _later(turn: Turn) -> dict[str, Any]:
    drafted = draft(turn)
    made, cut = _affordable(detours(turn, drafted.calls), turn.calls_left)
    notes = [f"{call.why[0].upper()}{call.why[1:]}." for call in made]
    return _reply([*(notes or [_summary(turn)]), *cut], made)


def _summary(turn: Turn) -> str:
    failed = [o for o in turn.observations if not o.ok]
    if not failed:
        return "All that was asked for has been tried, and the results are there."

    names = ", ".join(dict.fromkeys(f"`{o.tool}`" for o in failed))
    return f"{len(failed)} of {len(turn.observations)} calls failed ({names}), and there is no other way left to try."


def _affordable(calls: Sequence[Call], left: int) -> tuple[Sequence[Call], list[str]]:
    made, cut = calls[:left], calls[left:]
    names = ", ".join(f"`{call.tool}`" for call in cut)
    return made, ([f"Not made, because no more calls are left: {names}."] if cut else [])


def _reply(notes: Sequence[str], calls: Sequence[Call]) -> dict[str, Any]:
    return {"thought": " ".join(notes), "calls": [call.as_json() for call in calls], "done": not calls}
