"""The heaviest walk through a workflow whose steps come one after the other: a flow of the greatest weight.

What a walk does between its first and its last step of a cycle is one way through it and ways round it, which follow no edge
more often than it may be followed: a flow of one, and what goes round. Such a flow is heaviest where no way round in what is
left of it gains anything (M. Klein, "A primal method for minimal cost flows", 1967). Rounds that the way does not touch count
as well, so that this can be more than any walk weighs; it is never less.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from agentflow.bounds.net import Net, Part

Number = int | float
_LEAST_GAIN = 1e-9  # what is less comes of rounding


@dataclass(slots=True)
class Effort:
    """How many edges may yet be looked at, so that a large workflow is weighed in no more time than a small one."""

    left: int = 1_000_000

    def spend(self, looks: int) -> bool:
        """Whether there is enough for so many looks, which are taken off."""
        self.left -= looks
        return self.left >= 0


def heaviest_walk(net: Net, weight: Sequence[Number], effort: Effort) -> Number | None:
    """The most that a walk from the start weighs; None where branches run in parallel, or finding out would take too long."""
    if net.slots or any(len(way) > 1 for ways in net.ways for way in ways):
        return None

    value: dict[int, Number] = {}
    for part in reversed(net.parts):
        if not part.loops:
            node = part.order[0]
            value[node] = weight[node] + _ahead(net, value, node)
        elif not _value_cycle(net, part, weight, value, effort):
            return None

    return value[net.start]


def _ahead(net: Net, value: dict[int, Number], node: int) -> Number:
    """What can come after a step, in parts that were weighed."""
    return max((value.get(net.edges[e].target, 0) for e in net.leaving[node]), default=0)


def _value_cycle(
    net: Net, part: Part, weight: Sequence[Number], value: dict[int, Number], effort: Effort
) -> bool:
    """Weigh the walks from each step at which a cycle is entered; False where that takes too long."""
    inside = [e for node in part.order for e in net.leaving[node] if _is_inside(net, e)]
    steps = [(node, weight[node], _ahead(net, value, node)) for node in part.order]
    for first in [node for node in part.order if _is_entered(net, node)]:
        found = _Turning(net, inside, steps, first).heaviest(effort)
        if found is None:
            return False

        value[first] = found

    return True


def _is_inside(net: Net, e: int) -> bool:
    return net.part_of[net.edges[e].target] == net.part_of[net.edges[e].source]


def _is_entered(net: Net, node: int) -> bool:
    return node == net.start or not all(_is_inside(net, e) for e in net.entering[node])


@dataclass(slots=True)
class _Arc:
    source: int
    target: int
    free: int
    gain: Number


class _Turning:
    """The flow of one from a step to the sink, bettered by ways round until none gains anything.

    A step n is two points, 2n where it is entered and 2n + 1 where it is left, with its weight between them.
    """

    def __init__(
        self, net: Net, inside: Sequence[int], steps: Sequence[tuple[int, Number, Number]], first: int
    ) -> None:
        self.place = {node: n for n, (node, _, _) in enumerate(steps)}
        self.count = 2 * len(steps) + 1
        self.arcs: list[_Arc] = []
        # What is weighed so far: a walk that leaves at the step at which it enters.
        self.total: Number = sum(weight + ahead for node, weight, ahead in steps if node == first)
        much = 2 + sum(net.edges[e].limit or 0 for e in inside)
        for node, weight, ahead in steps:
            here, used = 2 * self.place[node], int(node == first)
            self._add(here, here + 1, much, weight, used)
            self._add(here + 1, 2 * len(steps), 1, ahead, used)

        for e in inside:
            edge = net.edges[e]
            source, target = self.place[edge.source], self.place[edge.target]
            self._add(2 * source + 1, 2 * target, much if edge.limit is None else edge.limit, 0, 0)

    def _add(self, source: int, target: int, free: int, gain: Number, used: int) -> None:
        self.arcs += [_Arc(source, target, free - used, gain), _Arc(target, source, used, -gain)]

    def heaviest(self, effort: Effort) -> Number | None:
        """What the heaviest such flow weighs; None where the effort does not suffice."""
        while way := self._round(effort):
            times = min(self.arcs[a].free for a in way)
            self.total += times * sum(self.arcs[a].gain for a in way)
            for a in way:
                self.arcs[a].free -= times
                self.arcs[a ^ 1].free += times

        return self.total if effort.left >= 0 else None

    def _round(self, effort: Effort) -> list[int]:
        """The arcs of a way round that gains something (R. Bellman, 1958); empty where there is none."""
        best: list[Number] = [0] * self.count
        came = [-1] * self.count
        last = -1
        for _ in range(self.count):
            last = -1
            if not effort.spend(len(self.arcs)):
                return []

            for a, arc in enumerate(self.arcs):
                if arc.free and best[arc.source] + arc.gain > best[arc.target] + _LEAST_GAIN:
                    best[arc.target] = best[arc.source] + arc.gain
                    came[arc.target] = a
                    last = arc.target

            if last < 0:
                return []

        return self._closed(came, last)

    def _closed(self, came: Sequence[int], node: int) -> list[int]:
        """The way round that leads to a point, which is found by going back far enough."""
        for _ in range(self.count):
            node = self.arcs[came[node]].source

        way, at = [came[node]], self.arcs[came[node]].source
        while at != node:
            way.append(came[at])
            at = self.arcs[came[at]].source

        return way
