"""Ways on which a run stalls: a join waits for a branch that went another way."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from agentflow.exceptions import Problem
from agentflow.places import Places
from agentflow.spec import WorkflowSpec
from agentflow.typeref import short_name
from agentflow.validation.order import Move, Net, Spot, condensed, net_of
from agentflow.validation.subject import Subject

Marking = tuple[Spot, ...]
# Where values can be grows with the number of branches as a power: past this many places nothing is said.
_MOST = 2000


def stalls(spec: WorkflowSpec, types: Mapping[str, Any], places: Places | None = None) -> Iterator[Problem]:
    """Warnings of joins that wait for ever where steps give certain cases; for a workflow without problems."""
    s = Subject(spec, types, places or Places())
    gathers = {step.id for step in spec.steps if step.kind == "gather"}
    if not gathers or all(edge.on is None for edge in spec.edges):
        return

    net = condensed(net_of(s))
    if (found := _stuck(net, net.at((spec.start, -1)), net.at((spec.end, -1)))) is None:
        return

    marking, chosen = found
    waiting = [
        id_ for id_ in gathers if any(net.at((id_, slot)) in marking for slot in range(_slots(s, id_)))
    ]
    for id_ in sorted(waiting)[:1]:
        yield Problem(
            code="AF152",
            what=f"it can wait for ever: {_told(chosen)}, a branch that it joins does not come",
            where=s.where(id_),
            hint="let each case lead to the join, or to the end by a way of its own",
            severity="warning",
        )


def _slots(s: Subject, id_: str) -> int:
    return 1 + max((edge.slot or 0 for edge in s.spec.edges if edge.target == id_), default=0)


def _told(chosen: list[tuple[str, str]]) -> str:
    said = dict.fromkeys(f"`{step}` gives `{short_name(case)}`" for step, case in chosen)
    return f"where {' and '.join(list(said)[-3:])}"


def _stuck(net: Net, start: Spot, end: Spot) -> tuple[Marking, list[tuple[str, str]]] | None:
    """Where values are when nothing can move and none is at the end, with the cases that led there."""
    leaving: dict[Spot, list[Move]] = {}
    for move in net.moves:
        leaving.setdefault(move.empties[0], []).append(move)

    first: Marking = (start,)
    came: dict[Marking, tuple[Marking, Move] | None] = {first: None}
    todo: list[Marking] = [first]
    while todo and len(came) < _MOST:
        marking = todo.pop()
        if end in marking:
            continue

        ahead = [move for spot in dict.fromkeys(marking) for move in leaving.get(spot, ())]
        moves = [move for move in ahead if set(move.empties) <= set(marking)]
        if not moves:
            return marking, _cases(came, marking)

        for move in moves:
            after = _moved(marking, move)
            if after not in came:
                came[after] = marking, move
                todo.append(after)

    return None


def _moved(marking: Marking, move: Move) -> Marking:
    rest = list(marking)
    for spot in move.empties:
        rest.remove(spot)

    return tuple(sorted((*rest, *move.fills)))


def _cases(came: Mapping[Marking, tuple[Marking, Move] | None], marking: Marking) -> list[tuple[str, str]]:
    chosen: list[tuple[str, str]] = []
    while (step := came[marking]) is not None:
        marking, move = step
        chosen += [move.case] if move.case is not None else []

    return chosen[::-1]
