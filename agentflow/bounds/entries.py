"""How often each step of one workflow can be entered."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import accumulate

from agentflow.bounds.net import Net, Part
from agentflow.bounds.rounds import rounds_of

_SWEEPS = 4


@dataclass(slots=True)
class Entries:
    """`most` is by step; `reason` is the edge back that lets a step be entered most often, where one does."""

    most: list[int]
    reason: dict[int, int] = field(default_factory=dict[int, int])


def entries_of(net: Net) -> Entries:
    """The most entries of each step.

    In a sound workflow no step is entered by two values at the same time, so two visits are one after the other, and
    something led from the first to the second: along a cycle, whose first edge back the step leads to, and whose last
    edge back leads to the step, without other edges back. So visits are at most one more than the limits of the former
    together, and than those of the latter, and than those of the edges from behind the step to before it. They are as well at most what comes in along the edges, for a gather in each slot.
    """
    entries = Entries([0] * len(net.steps))
    for part in net.parts:
        if part.loops:
            _Cycle(net, part, entries).count()
        else:
            entries.most[part.order[0]] = 1

    # What an edge back brings is known to be less once its source was looked at.
    for _ in range(_SWEEPS):
        before = list(entries.most)
        for part in net.parts:
            for node in part.order:
                entries.most[node] = min(entries.most[node], arrivals(net, entries.most, node))

        if entries.most == before:
            break

    return entries


def arrivals(net: Net, most: list[int], node: int) -> int:
    """The most that can come to a step along its edges; to a gather, as often as to each of its slots."""
    if node in net.slots:
        return min((_sum(net, most, edges) for edges in net.slots[node].values()), default=0)

    return (node == net.start) + _sum(net, most, net.entering[node])


def _sum(net: Net, most: list[int], edges: Iterable[int]) -> int:
    return sum(passes(net, most, e) for e in edges)


def passes(net: Net, most: list[int], e: int) -> int:
    """How often an edge can be followed."""
    edge = net.edges[e]
    return most[edge.source] if edge.limit is None else min(edge.limit, most[edge.source])


class _Cycle:
    """The entries of the steps of one part. Sets of edges back are bits of a number."""

    def __init__(self, net: Net, part: Part, entries: Entries) -> None:
        self.net, self.part, self.entries = net, part, entries
        self.limits = [net.edges[e].limit or 0 for e in part.loops]
        self.sums: dict[int, int] = {0: 0}
        self.groups: dict[int, int] = {}
        for i, limit in enumerate(self.limits):
            self.groups[limit] = self.groups.get(limit, 0) | 1 << i

    def count(self) -> None:
        before, first = self._before()
        after, across = self._after(), self._across()
        rounds = rounds_of(self.net, self.part)
        for node in self.part.order:
            to, since = before[node], after[node]
            most = [first[node] + self._sum(to), 1 + self._sum(since), 1 + across[self.net.place[node]]]
            self.entries.most[node] = min(*most, rounds.get(node, most[0]))
            self._explain(node, to & since or to or since)

    def _across(self) -> list[int]:
        """The limits together of the edges back that lead over each place in the order, or begin or end there."""
        steps = [0] * (len(self.part.order) + 1)
        for e, limit in zip(self.part.loops, self.limits, strict=True):
            edge = self.net.edges[e]
            steps[self.net.place[edge.target]] += limit
            steps[self.net.place[edge.source] + 1] -= limit

        return list(accumulate(steps))

    def _explain(self, node: int, mask: int) -> None:
        if not mask:
            return

        limit = max(limit for limit, members in self.groups.items() if members & mask)
        chosen = self.groups[limit] & mask
        self.entries.reason[node] = self.part.loops[(chosen & -chosen).bit_length() - 1]

    def _sum(self, mask: int) -> int:
        if mask not in self.sums:
            self.sums[mask] = sum(n * (mask & members).bit_count() for n, members in self.groups.items())

        return self.sums[mask]

    def _before(self) -> tuple[dict[int, int], dict[int, bool]]:
        """The edges back that lead to each step, and whether a value can come to it from outside without one."""
        net = self.net
        led = dict.fromkeys(self.part.order, 0)
        for i, e in enumerate(self.part.loops):
            led[net.edges[e].target] |= 1 << i

        first = {node: self._is_entered(node) for node in self.part.order}
        for node in self.part.order:
            for e in net.kept_in(node):
                led[node] |= led[net.edges[e].source]
                first[node] = first[node] or first[net.edges[e].source]

        return led, first

    def _is_entered(self, node: int) -> bool:
        net = self.net
        parts = (net.part_of[net.edges[e].source] for e in net.entering[node])
        return node == net.start or any(part >= 0 and part != net.part_of[node] for part in parts)

    def _after(self) -> dict[int, int]:
        """The edges back that each step leads to."""
        net = self.net
        leads = dict.fromkeys(self.part.order, 0)
        for i, e in enumerate(self.part.loops):
            leads[net.edges[e].source] |= 1 << i

        for node in reversed(self.part.order):
            for e in net.kept_out(node):
                leads[node] |= leads[net.edges[e].target]

        return leads
