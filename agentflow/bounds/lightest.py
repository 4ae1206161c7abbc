"""The lightest way through one workflow: what every run that comes to the end has behind it.

The shortest derivation of the end (D. Knuth, "A generalization of Dijkstra's algorithm", 1977): a step needs one of those
that lead to it, a gather one for each of its slots.
"""

from __future__ import annotations

from collections.abc import Sequence
from heapq import heappop, heappush

from agentflow.bounds.nesting import Nesting
from agentflow.bounds.net import Net

Number = int | float


def lightest(net: Net, nesting: Nesting, weight: Sequence[Number], *, together: bool = True) -> Number:
    """The least that a run to the end weighs; `together` adds branches, where it is known which fork they are of."""
    return _Reaching(net, nesting, weight, together=together and nesting.is_whole).run()


class _Reaching:
    def __init__(self, net: Net, nesting: Nesting, weight: Sequence[Number], *, together: bool) -> None:
        self.net, self.nesting, self.weight, self.together = net, nesting, weight, together
        self.cost: dict[int, Number] = {}
        self.came: dict[int, dict[int, Number]] = {}
        self.heap: list[tuple[Number, int]] = [(weight[net.start], net.start)]

    def run(self) -> Number:
        while self.heap:
            cost, node = heappop(self.heap)
            if node in self.cost:
                continue

            self.cost[node] = cost
            if node == self.net.end:
                return cost

            for e in self.net.leaving[node]:
                self._reach(e, cost)

        return 0

    def _reach(self, e: int, cost: Number) -> None:
        target, slot = self.net.edges[e].target, self.net.edges[e].slot
        if target in self.cost:
            return

        if slot >= 0:
            came = self.came.setdefault(target, {})
            came.setdefault(slot, cost)
            if len(came) < len(self.net.slots[target]):
                return

            cost = self._joined(target, list(came.values()))

        heappush(self.heap, (cost + self.weight[target], target))

    def _joined(self, gather: int, costs: Sequence[Number]) -> Number:
        fork = self.nesting.joins.get(gather, -1)
        if not self.together or fork < 0:
            return max(costs)

        return sum(costs) - (len(costs) - 1) * self.cost[fork]
