"""Sound graphs are not refused, and what runs in parallel is found exactly."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentflow.spec import EdgeSpec, StepSpec, WorkflowSpec
from agentflow.validation.order import Spot, entered_twice, moves_of
from agentflow.validation.subject import Subject
from tests.definition.sound import SOUND, Sound

Marking = tuple[Spot, ...]


@pytest.mark.parametrize("sound", SOUND.values(), ids=SOUND)
def test_no_false_alarm(sound: Sound) -> None:
    """A sound graph is built without a problem."""
    workflow = sound.build()

    assert workflow.spec.start
    assert workflow.digest.startswith("sha256:")


@st.composite
def graphs(draw: st.DrawFn) -> WorkflowSpec:
    """Random graphs of steps, cases and two-branch gathers; most of them are not sound."""
    steps = [f"s{n}" for n in range(draw(st.integers(2, 6)))]
    gathers = [f"g{n}" for n in range(draw(st.integers(0, 2)))]
    edges: list[EdgeSpec] = []
    for name in (*steps[:-1], *gathers):
        for _ in range(draw(st.integers(1, 2))):
            target = draw(st.sampled_from([*steps[1:], *gathers]))
            on = draw(st.sampled_from([None, "int", "str"])) if name in steps else None
            slot = draw(st.integers(0, 1)) if target in gathers else None
            edges.append(EdgeSpec(source=name, target=target, on=on, slot=slot))

    kinds = [StepSpec(id=s, kind="function") for s in steps] + [
        StepSpec(id=g, kind="gather") for g in gathers
    ]
    return WorkflowSpec(
        name="w", start=steps[0], end=steps[-1], steps=tuple(kinds), edges=tuple(dict.fromkeys(edges))
    )


def moved(marking: Marking, empties: Marking, fills: Marking) -> Marking | None:
    """Where values are after a move; None where it cannot be made."""
    rest = list(marking)
    for spot in empties:
        if spot not in rest:
            return None

        rest.remove(spot)

    return tuple(sorted((*rest, *fills)))


def played(subject: Subject) -> set[str]:
    """The steps that two values are at together, found by playing all ways in which values can move."""
    moves = [(tuple(m.empties), tuple(m.fills)) for m in moves_of(subject)]
    first: Marking = ((subject.spec.start, -1),)
    seen: set[Marking] = {first}
    todo: list[Marking] = [first]
    twice = set[str]()
    while todo and len(seen) < 3000:
        marking = todo.pop()
        twice |= {a[0] for a, b in combinations(marking, 2) if a == b and a[1] < 0}
        if len(marking) > 6:
            continue

        for empties, fills in moves:
            after = moved(marking, empties, fills)
            if after is not None and after not in seen:
                seen.add(after)
                todo.append(after)

    return twice


@settings(max_examples=150, deadline=None)
@given(graphs())
def test_no_meeting_is_missed(spec: WorkflowSpec) -> None:
    """Where playing a graph brings two values to one step, the check finds a meeting."""
    subject = Subject(spec, {"Any": Any})

    assert bool(played(subject)) <= bool(entered_twice(subject))
