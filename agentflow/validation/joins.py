"""Joins that can never be complete, approvals that can never be asked, and an end that is never the end."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations
from operator import contains

from agentflow.exceptions import Problem
from agentflow.spec import EdgeSpec
from agentflow.typeref import assignable, class_of, values
from agentflow.validation.alone import is_plain
from agentflow.validation.order import Net, Spot, condensed, is_forking, is_settled, net_of, together
from agentflow.validation.subject import Subject

Slots = dict[int, list[EdgeSpec]]


def parallel(s: Subject) -> Iterator[Problem]:
    """Branches that run at the same time must meet in a gather, and only such branches can."""
    if not _is_branching(s):
        return

    met, never = (set[str](), {}) if is_settled(s) else _found(s)
    yield from _meetings(s, met)
    for id_, (one, other) in never.items():
        yield Problem(
            code="AF115",
            what=f"it can never be complete: of {one} and {other}, only one comes",
            where=s.where(id_),
            hint="join branches that run in parallel; ways for different cases meet in a step without a gather",
        )

    yield from _never_asked(s, set(never))


def _found(s: Subject) -> tuple[set[str], dict[str, tuple[str, str]]]:
    """The steps that two values can be at, and the gathers that are never complete, with two branches of which only one comes."""
    if not s.of_kind("gather") and not is_forking(s):
        return set(), {}  # there is one value at any time

    net = net_of(s)
    small = condensed(net)
    start, end = small.at((s.spec.start, -1)), small.at((s.spec.end, -1))
    if len(s.leading) == len(s.steps) and is_plain(small, start, end):
        return set(), {}

    found = together(small)
    if not any(map(contains, found.values(), found)) and not any(_never_complete(s, small, found)):
        return set(), {}

    # Where something is wrong, the net itself says where it begins.
    found = together(net)
    met = {spot[0] for spot, others in found.items() if spot in others}
    return met, dict(_never_complete(s, net, found))


def _is_branching(s: Subject) -> bool:
    """Whether there may be several values at once, or a join that waits for them."""
    return bool(s.of_kind("gather")) or s.arrows.is_branching()


def _meetings(s: Subject, met: set[str]) -> Iterator[Problem]:
    """Where the branches meet first; what comes later follows from that."""
    entered = {e.target for e in s.spec.edges if e.source in met} if met else set[str]()
    ordered = [id_ for id_ in s.steps if id_ in met]
    for id_ in [id_ for id_ in ordered if id_ not in entered] or ordered[:1]:
        yield Problem(
            code="AF109",
            what="branches that run in parallel meet in it without a gather",
            where=s.where(id_),
            hint=f"join them first: `gather(...) >> {id_}`, and let no branch lead back before its gather",
        )


def _never_complete(
    s: Subject, net: Net, found: dict[Spot, set[Spot]]
) -> Iterator[tuple[str, tuple[str, str]]]:
    for id_, slots in _gathers(s).items():
        spots = [(slot, spot) for slot in sorted(slots) if (spot := net.at((id_, slot))) not in net.spare]
        for (one, a), (other, b) in combinations(spots, 2):
            if b not in found.get(a, ()):
                yield id_, (_names(slots[one]), _names(slots[other]))
                break


def _gathers(s: Subject) -> dict[str, Slots]:
    """The edges into each gather that can be reached in each of its slots; that others are not is said elsewhere."""
    found: dict[str, Slots] = {id_: {} for id_ in s.of_kind("gather")}
    for edge in s.spec.edges if found else ():
        if edge.target in found:
            found[edge.target].setdefault(edge.slot or 0, []).append(edge)

    return {
        id_: slots
        for id_, slots in found.items()
        if all(any(e.source in s.reached for e in edges) for edges in slots.values())
    }


def _names(edges: list[EdgeSpec]) -> str:
    return " or ".join(dict.fromkeys(f"`{edge.source}`" for edge in edges))


def never_asked(s: Subject) -> Iterator[Problem]:
    """Approvals behind what is never produced, where no join is in the way."""
    # With parallel branches, joins that are never complete count as well: `parallel` says these.
    if not _is_branching(s):
        yield from _never_asked(s, set())


def _never_asked(s: Subject, incomplete: set[str]) -> Iterator[Problem]:
    asked = [id_ for id_ in s.of_kind("approval") if id_ in s.reached]
    entered = _entered(s, incomplete) if asked else set[str]()
    for id_ in asked:
        if id_ not in entered:
            yield Problem(
                code="AF116",
                what="nobody can ever be asked: no value gets to it",
                where=s.where(id_),
                hint="mend the cases and joins before it, which are never produced or never complete",
            )


def _entered(s: Subject, incomplete: set[str]) -> set[str]:
    """The steps that a value can get to, along edges whose case is produced and through joins that are complete."""
    entered, todo = {s.spec.start}, [s.spec.start]
    missing = {id_: set(slots) for id_, slots in _gathers(s).items()}
    while todo:
        for edge in s.outgoing[todo.pop()]:
            if not s.is_produced(edge) or edge.target in entered or edge.target in incomplete:
                continue

            if s.steps[edge.target].kind == "gather":
                missing.get(edge.target, set[int]()).discard(edge.slot or 0)
                if missing.get(edge.target, {0}):
                    continue

            entered.add(edge.target)
            todo.append(edge.target)

    return entered


def end_leads_on(s: Subject) -> Iterator[Problem]:
    """The end must have an output that no edge takes; else a run goes on until a loop's bound fails it."""
    edges = [edge for edge in s.spec.edges if edge.source == s.spec.end]
    if any(edge.target not in s.leading for edge in edges):
        return  # said as a dead end

    named = [s.types[edge.on] for edge in edges if edge.on is not None]
    always = any(edge.on is None for edge in edges)
    members = values(s.gives(s.spec.end)) if named else ()
    if always or (named and all(class_of(m) and any(assignable(m, n) for n in named) for m in members)):
        yield Problem(
            code="AF114",
            what="it is the end, and each of its outputs leads on: no run can end",
            where=s.where(s.spec.end),
            hint="leave one case of its output without an edge, or make the step after it the `end`",
        )
