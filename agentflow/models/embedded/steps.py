"""Steps: the parts of a request, each with the tool that the router chose for it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from agentflow.models.embedded.families import Offer, family
from agentflow.models.embedded.router import Choice, route
from agentflow.models.embedded.splitter import Part, merged, split

_SURE = 0.6  # a part is only set apart from its neighbour when the router is this sure of it


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One part of a request and the tool for it. `part.after` holds places of earlier steps."""

    part: Part
    choice: Choice


def steps(request: str, offers: Sequence[Offer]) -> tuple[Step, ...]:
    """`request` as steps; parts that one tool does in one go, or that need no tool, stay with their neighbour."""
    parts = split(request)
    if len(parts) > 1:
        choices = [route(part.text, offers) for part in parts]
        groups = _groups(parts, choices, offers)
        if len(groups) > 1:
            return _as_steps(parts, choices, groups)

    whole = Part(text=request.strip(), question=any(part.question for part in parts))
    return (Step(part=whole, choice=route(request, offers)),)


def _groups(parts: Sequence[Part], choices: Sequence[Choice], offers: Sequence[Offer]) -> list[list[int]]:
    """The places of the parts that belong together."""
    groups = [[0]]
    for place in range(1, len(parts)):
        leading = _leading(groups[-1], choices)
        if _apart(parts, choices, offers, leading, place):
            groups.append([place])
        else:
            groups[-1].append(place)

    return groups


def _apart(
    parts: Sequence[Part], choices: Sequence[Choice], offers: Sequence[Offer], leading: int, place: int
) -> bool:
    before, after = choices[leading], choices[place]
    if min(before.confidence, after.confidence) < _SURE or None in (before.tool, after.tool):
        return False

    if before.tool != after.tool:
        return True

    searching = any(o.name == after.tool and family(o) in {"web_search", "file_search"} for o in offers)
    both_ask = parts[leading].question and parts[place].question
    return searching and both_ask and not parts[place].after


def _leading(group: Sequence[int], choices: Sequence[Choice]) -> int:
    """The part of a group that decides its tool: the surest that has one."""
    return max(group, key=lambda place: (choices[place].tool is not None, choices[place].confidence))


def _as_steps(
    parts: Sequence[Part], choices: Sequence[Choice], groups: Sequence[Sequence[int]]
) -> tuple[Step, ...]:
    home = {place: number for number, group in enumerate(groups) for place in group}
    found: list[Step] = []
    for number, group in enumerate(groups):
        part = merged(parts, group[0], group[-1])
        after = tuple(sorted({home[place] for place in part.after} - {number}))
        found.append(Step(part=replace(part, after=after), choice=choices[_leading(group, choices)]))

    return tuple(found)
