"""The heaviest run through one workflow, each visit of a step having a weight.

The bound is a solution of the dual of the linear program "as many visits as the edges allow". Each step has a value, the
most that can still come of an entry to it; each edge back has a price for following it once:

    value(step)  >=  weight(step) + what is worth most among its cases
    what a case is worth  =  the sum over its edges of max(0, value(target) - price(edge))
    bound  =  value(start) + the sum over edges back of the times that they can be followed x price

Any values and prices for which this holds give a bound. What the edges back of a part come to is added once, or to each
entry into the part, so that loops in cases that exclude each other do not add up: the lesser of both counts. A gather's value is carried by one of its slots: the one to which
least can come. The price of an edge back is the weight of the heaviest round from its target to its source.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from agentflow.bounds.entries import Entries, passes
from agentflow.bounds.net import Net, Part
from agentflow.bounds.walks import Effort, heaviest_walk

Number = int | float
_SWEEPS = 8
# How many steps may be looked at, for each that there is, to weigh the rounds of edges back.
_EFFORT = 10


class Scales:
    """Weighs one workflow. Of branches, all count in a sum; for time, only the longest."""

    def __init__(self, net: Net, entries: Entries) -> None:
        self.net, self.entries = net, entries
        self.effort = Effort()
        self.carrier = {node: self._least_slot(node) for node in net.slots}

    def _least_slot(self, node: int) -> int:
        come = {
            slot: sum(passes(self.net, self.entries.most, e) for e in edges)
            for slot, edges in self.net.slots[node].items()
        }
        return min(come, key=come.__getitem__, default=0)

    def heaviest(self, weight: Sequence[Number], *, together: bool = True) -> Number:
        """The most that a run can weigh; `together` adds branches that run at the same time."""
        by_step = sum(w * times for w, times in zip(weight, self.entries.most, strict=True))
        runs = (_Weighing(self, weight, together=together, by_entry=way) for way in (True, False))
        walk = heaviest_walk(self.net, weight, self.effort)
        return min(by_step, *(weighing.run() for weighing in runs), by_step if walk is None else walk)


class _Weighing:
    def __init__(self, scales: Scales, weight: Sequence[Number], *, together: bool, by_entry: bool) -> None:
        self.net, self.most, self.carrier = scales.net, scales.entries.most, scales.carrier
        self.weight, self.together, self.by_entry = weight, together, by_entry
        # What the edges back of a part come to, for each entry.
        self.charge: dict[int, Number] = {}
        self.value: list[Number] = [0] * len(self.net.steps)
        self.price: dict[int, Number] = {}
        # What entries along edges back are worth, from the sweep before.
        self.back: dict[int, Number] = {}
        self.effort = _EFFORT * (len(self.net.steps) + len(self.net.edges))

    def run(self) -> Number:
        added: Number = 0
        for number in reversed(range(len(self.net.parts))):
            part = self.net.parts[number]
            charge = self._valued(part)
            if charge and self.by_entry:
                self.charge[number] = charge
            else:
                added += charge

        return self._entered(self.net.start) + added

    def _valued(self, part: Part) -> Number:
        if part.loops:
            return self._cycle(part)

        self.value[part.order[0]] = self._best(part.order[0])
        return 0

    def _entered(self, node: int) -> Number:
        return self.value[node] + self.charge.get(self.net.part_of[node], 0)

    def _best(self, node: int) -> Number:
        worth = (self._joined(map(self._worth, way)) for way in self.net.ways[node])
        return self.weight[node] + max(0, max(worth, default=0))

    def _joined(self, worth: Iterable[Number]) -> Number:
        return sum(worth) if self.together else max(worth)

    def _worth(self, e: int) -> Number:
        if not self._carries(e):
            return 0

        if e in self.net.loops:
            # Unpriced as yet, it is not followed.
            return max(0, self.back[e] - self.price[e]) if e in self.price else 0

        # The part that is at work has no charge as yet.
        return self._entered(self.net.edges[e].target)

    def _carries(self, e: int) -> bool:
        edge = self.net.edges[e]
        return not self.together or edge.slot < 0 or self.carrier[edge.target] == edge.slot

    def _cycle(self, part: Part) -> Number:
        """Price the edges back of a part and value its steps; what the edges back come to."""
        self._sweep(part)
        prices = {e: self._round(e) for e in part.loops}
        self.price.update(prices)
        for _ in range(_SWEEPS):
            self._remember(part)
            self._sweep(part)
            if not self._raised(part):
                break

        # What sweeps did not settle goes into the prices, so that the values hold.
        for e, more in self._raised(part).items():
            self.price[e] += more

        return sum(self.price[e] * passes(self.net, self.most, e) for e in part.loops)

    def _sweep(self, part: Part) -> None:
        for node in reversed(part.order):
            self.value[node] = self._best(node)

    def _remember(self, part: Part) -> None:
        for e in part.loops:
            self.back[e] = self.value[self.net.edges[e].target]

    def _raised(self, part: Part) -> dict[int, Number]:
        """By how much more the edges back lead to than was thought."""
        new = {e: self.value[self.net.edges[e].target] - self.back[e] for e in part.loops if self._carries(e)}
        return {e: more for e, more in new.items() if more > 0}

    def _round(self, e: int) -> Number:
        """The weight of going back along an edge and coming to its source again."""
        edge = self.net.edges[e]
        if not self._carries(e):
            return 0

        within = self._leading(edge.target, edge.source)
        if edge.target not in within:
            return max(0, self.weight[edge.source] + self.value[edge.target] - self.value[edge.source])

        worth: dict[int, Number] = {}
        for node in sorted(within, key=self.net.place.__getitem__, reverse=True):
            rest = 0 if node == edge.source else self._best_within(node, worth)
            worth[node] = self.weight[node] + rest

        return worth[edge.target]

    def _best_within(self, node: int, worth: dict[int, Number]) -> Number:
        ways = [way for way in self.net.ways[node] if any(self._stays(e, worth) for e in way)]
        return max((self._joined(self._worth_within(e, worth) for e in way) for way in ways), default=0)

    def _stays(self, e: int, worth: dict[int, Number]) -> bool:
        return e not in self.net.loops and self.net.edges[e].target in worth

    def _worth_within(self, e: int, worth: dict[int, Number]) -> Number:
        if self._stays(e, worth):
            return worth[self.net.edges[e].target] if self._carries(e) else 0

        # A branch that does not come back counts in a sum, and does not hold up the round.
        return self._worth(e) if self.together else 0

    def _leading(self, first: int, last: int) -> set[int]:
        """The steps of the part that lead to the last, and do not stand before the first."""
        place, edges = self.net.place, self.net.edges
        seen, todo = {last}, [last]
        while todo:
            node = todo.pop()
            self.effort -= 1
            if self.effort < 0:
                return set()

            for e in self.net.kept_in(node):
                source = edges[e].source
                if source not in seen and place[source] >= place[first]:
                    seen.add(source)
                    todo.append(source)

        return seen
