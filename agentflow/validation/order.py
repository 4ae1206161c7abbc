"""What happens at the same time in a workflow, and what before what: questions about its edges alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from functools import reduce
from itertools import combinations
from operator import and_, or_
from typing import NamedTuple

from agentflow.digraph import postorder
from agentflow.spec import EdgeSpec
from agentflow.validation.subject import REJECTED, Subject

# Where a value can be: at a step (slot -1), or in a slot of a gather.
Spot = tuple[str, int]


class Move(NamedTuple):
    """One way in which values move on: the spots that it empties, those that it fills, and the case it is for."""

    empties: Sequence[Spot]
    fills: Sequence[Spot]
    case: tuple[str, str] | None = None


class Net(NamedTuple):
    """The moves of a workflow with what can be left out of them taken out; `head` and `spare` say what that was."""

    moves: list[Move]
    head: dict[Spot, Spot]
    spare: set[Spot]

    def at(self, spot: Spot) -> Spot:
        """The spot that stands for this one."""
        return self.head.get(spot, spot)

    def leaving(self) -> dict[Spot, list[Move]]:
        """The moves that empty each spot."""
        leaving: dict[Spot, list[Move]] = {}
        for move in self.moves:
            for spot in move.empties:
                leaving.setdefault(spot, []).append(move)

        return leaving


def is_settled(s: Subject) -> bool:
    """Whether it is plain, without looking further, that no values meet and that each join is complete.

    So it is where no output is told apart, nothing goes round, and one edge leads to each step and to each slot of each
    gather: all of them are entered exactly once, and what leads to two of them does not pass one of the two.
    """
    if s.cased or not s.is_straight or len(s.reached) < len(s.steps):
        return False

    gathers, number = set(s.of_kind("gather")), s.numbers
    filled = {
        (edge.slot or 0) * len(number) + number[edge.target]
        for edge in s.spec.edges
        if edge.target in gathers
    }
    # Each step but the start is entered by an edge at least, and so is each slot.
    least = len(s.steps) - 1 - len(gathers) + len(filled)
    return s.spec.start not in gathers and len(s.spec.edges) == least


def is_forking(s: Subject) -> bool:
    """Whether an output may follow several edges at the same time."""
    return any(len(way) > 1 for edges in s.outgoing.values() if len(edges) > 1 for way in _ways(edges))


def net_of(s: Subject) -> Net:
    """The moves of a workflow, without chains of steps and without all but two of branches that are alike."""
    moves, head = _without_chains(moves_of(s), (s.spec.start, -1))
    moves, spare = _without_twins(moves)
    return Net(moves, head, spare)


def entered_twice(s: Subject) -> set[str]:
    """The steps that two values can be at together; nothing, where a gather joins all that runs in parallel."""
    return {spot[0] for spot, others in together(net_of(s)).items() if spot in others}


def together(net: Net) -> dict[Spot, set[Spot]]:
    """For each spot, those that values can be at while there is one at it; perhaps too many, never too few.

    The concurrency relation of A. Kovalyov and J. Esparza, "A polynomial algorithm to compute the concurrency relation
    of free-choice signal transition graphs" (1996), with spots as places: spots that one move fills are together, and
    what is together with all that a move empties is together with all that it fills.
    """
    todo = [pair for move in net.moves for pair in combinations(move.fills, 2)]
    leaving = net.leaving()
    found: dict[Spot, set[Spot]] = {}
    while todo:
        pair = todo.pop()
        if pair[1] in found.get(pair[0], ()):
            continue

        for stays, moving in (pair, pair[::-1]):
            found.setdefault(stays, set()).add(moving)

        for stays, moving in (pair, pair[::-1]):
            for move in leaving.get(moving, ()):
                if found[stays].issuperset(move.empties):
                    todo += [(stays, spot) for spot in move.fills]

    return found


def moves_of(s: Subject) -> list[Move]:
    """All ways in which values move on in a workflow."""
    slots: dict[str, set[Spot]] = {}
    for edge in s.spec.edges:
        slots.setdefault(edge.target, set()).add(spot_of(s, edge))

    moves: list[Move] = []
    for id_ in filter(s.reached.__contains__, s.steps):
        empties = sorted(slots[id_]) if s.steps[id_].kind == "gather" else [(id_, -1)]
        for way in _ways(s.outgoing[id_]):
            case = next(((id_, edge.on) for edge in way if edge.on is not None), None)
            moves.append(Move(empties, [spot_of(s, edge) for edge in way], case))

    return moves


def _ways(edges: Sequence[EdgeSpec]) -> list[list[EdgeSpec]]:
    """The edges that are followed together, for each case of an output; a refusal goes its own way only."""
    always = [edge for edge in edges if edge.on is None]
    ways = [always]
    for case in dict.fromkeys(edge.on for edge in edges if edge.on is not None):
        named = [edge for edge in edges if edge.on == case]
        ways.append(named if case == REJECTED else always + named)

    return [way for way in ways if way]


def spot_of(s: Subject, edge: EdgeSpec) -> Spot:
    """Where an edge leads to."""
    return (edge.target, edge.slot or 0) if s.steps[edge.target].kind == "gather" else (edge.target, -1)


def _without_chains(moves: Sequence[Move], start: Spot) -> tuple[list[Move], dict[Spot, Spot]]:
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

    # Looked up from one end of a chain to the other only once.
    for spot in list(head):
        passed: list[Spot] = []
        while spot in head:
            passed.append(spot)
            spot = head[spot]

        head.update(dict.fromkeys(passed, spot))

    return [
        Move([head.get(a, a) for a in m.empties], [head.get(b, b) for b in m.fills], m.case) for m in kept
    ], head


def _without_twins(moves: list[Move]) -> tuple[list[Move], set[Spot]]:
    """The moves with two of each set of branches that begin and end together: two show all that more would."""
    entered = Counter(spot for move in moves for spot in move.fills)
    left = Counter(spot for move in moves for spot in move.empties)
    into = {spot: number for number, move in enumerate(moves) for spot in move.fills}
    out = {spot: number for number, move in enumerate(moves) for spot in move.empties}
    kinds: Counter[tuple[int, int]] = Counter()
    spare: set[Spot] = set()
    for spot, first in into.items():
        if entered[spot] == left[spot] == 1:
            kind = (first, out[spot])
            kinds[kind] += 1
            spare |= {spot} if kinds[kind] > 2 else set()

    if not spare:
        return moves, spare

    return [
        Move([a for a in m.empties if a not in spare], [b for b in m.fills if b not in spare], m.case)
        for m in moves
    ], spare


def condensed(net: Net) -> Net:
    """The net with each spot that leads only to one other taken for that, and ways that come to the same taken for one.

    A value at such a spot surely gets to the other, so that what is together there is together here. Where that is
    found in a condensed net, the net itself says where it begins.
    """
    moves, head, spare = net
    while onto := _onto(moves):
        head = {spot: onto.get(other, other) for spot, other in head.items()} | onto
        ways: dict[tuple[tuple[Spot, ...], tuple[Spot, ...]], Move] = {}
        for move in moves:
            way = tuple(onto.get(a, a) for a in move.empties), tuple(onto.get(b, b) for b in move.fills)
            case = None if way in ways else move.case
            if way[0] != way[1]:
                ways[way] = Move(*way, case)

        moves, more = _without_twins(list(ways.values()))
        spare = spare | more

    return Net(moves, head, spare)


def _onto(moves: Sequence[Move]) -> dict[Spot, Spot]:
    """The spots that lead only to one other, with the last of the others that they lead to."""
    left = Counter(spot for move in moves for spot in move.empties)
    next_ = {
        move.empties[0]: move.fills[0]
        for move in moves
        if len(move.empties) == len(move.fills) == left[move.empties[0]] == 1 and move.fills != move.empties
    }
    onto: dict[Spot, Spot] = {}
    for spot in next_:
        passed: dict[Spot, None] = {}
        while spot in next_ and spot not in onto and spot not in passed:
            passed[spot] = None
            spot = next_[spot]

        # A circle without a way out comes down to one of its spots.
        last = onto.get(spot, spot)
        onto.update({other: last for other in passed if other != last})

    return onto


class Ended(NamedTuple):
    """What ended before what on every path: `known` is by step, a bit for each step of `bit`."""

    known: dict[str, int]
    bit: dict[str, int]

    def has(self, step: str, name: str) -> bool:
        """Whether `name` surely ended before `step`; so it is of a step that nothing leads to."""
        return bool(self.known.get(step, -1) & self.bit.get(name, 0))


def ended(s: Subject, wanted: Collection[str] | None = None) -> Ended:
    """Which of the steps `wanted` (all, where it is None) ended before which on every path; a join needs all of its branches.

    The greatest solution of the equations over the edges, with sets of steps as bits of a number.
    """
    order = postorder(s.follow, s.spec.start)[::-1]
    wanted = order if wanted is None else wanted
    bit = dict.fromkeys(order, 0) | {id_: 1 << n for n, id_ in enumerate(wanted)}
    sources: dict[str, dict[int, list[str]]] = {id_: {} for id_ in order}
    for edge in s.spec.edges:
        if edge.source in sources:
            sources[edge.target].setdefault(spot_of(s, edge)[1], []).append(edge.source)

    before = dict.fromkeys(order, -1) | {s.spec.start: 0}
    settled = False
    while not settled:
        settled = True
        for id_ in order[1:]:
            slots = [reduce(and_, (before[n] | bit[n] for n in names)) for names in sources[id_].values()]
            known = reduce(or_, slots)
            settled, before[id_] = settled and known == before[id_], known

    return Ended(before, bit)


def ended_before(s: Subject) -> dict[str, set[str]]:
    """For each step that the start leads to, those that ended before it on every path."""
    known = ended(s)
    return {id_: {other for other in known.bit if known.has(id_, other)} for id_ in known.known}
