"""What happens at the same time in a workflow, and what before what: questions about its edges alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import reduce
from itertools import combinations
from operator import and_, or_
from typing import NamedTuple

from agentflow.spec import EdgeSpec
from agentflow.validation.subject import REJECTED, Subject

# Where a value can be: at a step (slot -1), or in a slot of a gather.
Spot = tuple[str, int]


class Move(NamedTuple):
    """One way in which values move on: the spots that it empties, and those that it fills."""

    empties: Sequence[Spot]
    fills: Sequence[Spot]


def entered_twice(s: Subject) -> set[str]:
    """The steps that two values can be at together; nothing, where a gather joins all that runs in parallel.

    The concurrency relation of A. Kovalyov and J. Esparza, "A polynomial algorithm to compute the concurrency relation
    of free-choice signal transition graphs" (1996), with spots as places: spots that one move fills are together, and
    what is together with all that a move empties is together with all that it fills.
    """
    moves = _without_twins(_without_chains(_moves(s), (s.spec.start, -1)))
    todo = [pair for move in moves for pair in combinations(move.fills, 2)]
    leaving: dict[Spot, list[Move]] = {}
    for move in moves:
        for spot in move.empties:
            leaving.setdefault(spot, []).append(move)

    together: dict[Spot, set[Spot]] = {}
    while todo:
        pair = todo.pop()
        if pair[1] in together.get(pair[0], ()):
            continue

        for stays, moving in (pair, pair[::-1]):
            together.setdefault(stays, set()).add(moving)

        for stays, moving in (pair, pair[::-1]):
            for move in leaving.get(moving, ()):
                if together[stays].issuperset(move.empties):
                    todo += [(stays, spot) for spot in move.fills]

    return {spot[0] for spot, others in together.items() if spot in others}


def _moves(s: Subject) -> list[Move]:
    import networkx as nx

    slots: dict[str, set[Spot]] = {}
    for edge in s.spec.edges:
        slots.setdefault(edge.target, set()).add(_spot(s, edge))

    moves: list[Move] = []
    for id_ in (s.spec.start, *nx.descendants(s.graph, s.spec.start)):
        empties = sorted(slots[id_]) if s.steps[id_].kind == "gather" else [(id_, -1)]
        moves += [Move(empties, [_spot(s, edge) for edge in way]) for way in _ways(s.outgoing[id_])]

    return moves


def _ways(edges: Sequence[EdgeSpec]) -> list[list[EdgeSpec]]:
    """The edges that are followed together, for each case of an output; a refusal goes its own way only."""
    always = [edge for edge in edges if edge.on is None]
    ways = [always]
    for case in dict.fromkeys(edge.on for edge in edges if edge.on is not None):
        named = [edge for edge in edges if edge.on == case]
        ways.append(named if case == REJECTED else always + named)

    return [way for way in ways if way]


def _spot(s: Subject, edge: EdgeSpec) -> Spot:
    return (edge.target, edge.slot or 0) if s.steps[edge.target].kind == "gather" else (edge.target, -1)


def _without_chains(moves: Sequence[Move], start: Spot) -> list[Move]:
    """The moves with each spot that only its one predecessor leads to put together with that."""
    left = Counter(spot for move in moves for spot in move.empties)
    entered = Counter(spot for move in moves for spot in move.fills) + Counter([start])
    head: dict[Spot, Spot] = {}
    kept: list[Move] = []
    for move in moves:
        (first, *others), (then, *more) = move.empties, move.fills
        if others or more or left[first] > 1 or entered[then] > 1:
            kept.append(move)
        else:
            head[then] = first

    def resolved(spot: Spot) -> Spot:
        while spot in head:
            spot = head[spot]

        return spot

    return [Move([resolved(a) for a in move.empties], [resolved(b) for b in move.fills]) for move in kept]


def _without_twins(moves: Sequence[Move]) -> list[Move]:
    """The moves with two of each set of branches that begin and end together: two show all that more would."""
    into: dict[Spot, list[int]] = {}
    out: dict[Spot, list[int]] = {}
    for number, move in enumerate(moves):
        for spot in move.fills:
            into.setdefault(spot, []).append(number)

        for spot in move.empties:
            out.setdefault(spot, []).append(number)

    kinds: Counter[tuple[int, int]] = Counter()
    spare: set[Spot] = set()
    for spot, (first, *others) in into.items():
        if not others and len(out.get(spot, ())) == 1:
            kind = (first, out[spot][0])
            kinds[kind] += 1
            spare |= {spot} if kinds[kind] > 2 else set()

    return [
        Move([a for a in m.empties if a not in spare], [b for b in m.fills if b not in spare]) for m in moves
    ]


def ended_before(s: Subject) -> dict[str, set[str]]:
    """For each step, those that ended before it on every path; a join needs all of its branches.

    The greatest solution of the equations over the edges, with sets of steps as bits of a number.
    """
    import networkx as nx

    order = list(nx.dfs_postorder_nodes(s.graph, s.spec.start))[::-1]
    bit = {id_: 1 << n for n, id_ in enumerate(order)}
    sources: dict[str, dict[int, list[str]]] = {id_: {} for id_ in order}
    for edge in s.spec.edges:
        if edge.source in bit:
            sources[edge.target].setdefault(_spot(s, edge)[1], []).append(edge.source)

    before = dict.fromkeys(order, -1) | {s.spec.start: 0}
    settled = False
    while not settled:
        settled = True
        for id_ in order[1:]:
            slots = [reduce(and_, (before[n] | bit[n] for n in names)) for names in sources[id_].values()]
            known = reduce(or_, slots)
            settled, before[id_] = settled and known == before[id_], known

    return {id_: {other for other in order if known & bit[other]} for id_, known in before.items()}
