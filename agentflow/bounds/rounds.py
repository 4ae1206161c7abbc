"""How often a walk can come to a step of a cycle, where each edge may only be followed so often: a maximum flow.

A walk that comes to a step k times is a way to it from outside and k - 1 ways from it to itself, and follows no edge more
often than that may be followed. Such ways are a flow of k into the step, from itself and one from outside, and any flow of
whole numbers is made of such ways (L. Ford and D. Fulkerson, "Flows in Networks", 1962). So the bound is exact where steps
come one after the other, whatever edges are bounded. Where branches run in parallel it holds as well: of two visits of a step
something led from the first to the second.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from agentflow.bounds.net import Net, Part

# Steps times edges of a part up to which each of its steps is looked at; what is left are looser bounds.
_MOST = 60_000
_OUTSIDE, _FROM, _TO = -1, -2, -3


def rounds_of(net: Net, part: Part) -> dict[int, int]:
    """The most entries of each step of a cycle; nothing where finding out would take too long."""
    inside = [
        (edge.source, edge.target, edge.limit)
        for node in part.order
        for edge in (net.edges[e] for e in net.leaving[node])
        if net.part_of[edge.target] == net.part_of[node]
    ]
    if len(inside) * len(part.order) > _MOST:
        return {}

    limits = [limit for _, _, limit in inside if limit is not None]
    much = 1 + sum(limits)  # more than any edge can be followed: each cycle has one that is bounded
    arcs = [_Arc(source, target, much if limit is None else limit) for source, target, limit in inside]
    entered = [node for node in part.order if _is_entered(net, node)]
    return {node: _Flow(arcs, entered, node, much).most() for node in part.order}


def _is_entered(net: Net, node: int) -> bool:
    """Whether a value can come to a step from outside of its part."""
    parts = (net.part_of[net.edges[e].source] for e in net.entering[node])
    return node == net.start or any(part >= 0 and part != net.part_of[node] for part in parts)


@dataclass(slots=True)
class _Arc:
    source: int
    target: int
    free: int


class _Flow:
    """The flow into one step: shortest ways first, as many as there are (J. Edmonds and R. Karp, 1972)."""

    def __init__(self, arcs: Iterable[_Arc], entered: Iterable[int], node: int, much: int) -> None:
        self.arcs: list[_Arc] = []
        self.leaving: dict[int, list[int]] = {}
        self._add(_FROM, _OUTSIDE, 1)
        for first in entered:
            self._add(_OUTSIDE, _TO if first == node else first, 1)

        for arc in arcs:
            source = _FROM if arc.source == node else arc.source
            self._add(source, _TO if arc.target == node else arc.target, min(arc.free, much))

    def _add(self, source: int, target: int, free: int) -> None:
        """An arc, and the way back along what flows in it."""
        for arc in (_Arc(source, target, free), _Arc(target, source, 0)):
            self.leaving.setdefault(arc.source, []).append(len(self.arcs))
            self.arcs.append(arc)

    def most(self) -> int:
        total = 0
        while way := self._way():
            free = min(self.arcs[a].free for a in way)
            total += free
            for a in way:
                self.arcs[a].free -= free
                self.arcs[a ^ 1].free += free

        return total

    def _way(self) -> list[int]:
        came: dict[int, int] = {}
        todo = [_FROM]
        for node in todo:
            for a in self.leaving.get(node, ()):
                arc = self.arcs[a]
                if arc.free and arc.target not in came and arc.target != _FROM:
                    came[arc.target] = a
                    todo.append(arc.target)

            if _TO in came:
                return list(self._back(came))

        return []

    def _back(self, came: dict[int, int]) -> Iterator[int]:
        node = _TO
        while node != _FROM:
            yield came[node]
            node = self.arcs[came[node]].source
