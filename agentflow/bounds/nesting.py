"""Which steps can be at work at the same time: branches, each with the gather that joins it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from agentflow.bounds.net import Net

Number = int | float


@dataclass(slots=True)
class Nesting:
    """Branches in branches, if each fork is joined as a whole; `branch` is by step, the outermost is 0.

    Of each branch `fork` holds the step that it begins at, and `joins` is by gather the fork that it joins.
    """

    is_whole: bool = True
    branch: list[int] = field(default_factory=list[int])
    fork: list[int] = field(default_factory=list[int])
    joins: dict[int, int] = field(default_factory=dict[int, int])

    def at_once(self, weight: Sequence[Number]) -> Number:
        """The most weight that steps at work at the same time have.

        Of one branch only one step is at work, or the branches of one fork in it. Where forks are not joined as a whole,
        all steps count: in a sound workflow each is visited by one value at a time.
        """
        if not self.is_whole:
            return sum(weight)

        peak: list[Number] = [0] * len(self.fork)
        for node, branch in enumerate(self.branch):
            if branch >= 0:
                peak[branch] = max(peak[branch], weight[node])

        forked: dict[int, Number] = {}
        inside: dict[int, list[int]] = {}
        for fork in dict.fromkeys(self.fork[1:]):
            inside.setdefault(self.branch[fork], []).append(fork)

        # A branch has a higher number than that which it is in.
        for branch in reversed(range(len(self.fork))):
            peak[branch] = max([peak[branch], *(forked[f] for f in inside.get(branch, ()))])
            if branch:
                forked[self.fork[branch]] = forked.get(self.fork[branch], 0) + peak[branch]

        return peak[0]


def nesting_of(net: Net) -> Nesting:
    """The branches of a workflow."""
    return _Following(net).run()


class _Following:
    """Follows the edges from the start; what is found on two ways must be the same."""

    def __init__(self, net: Net) -> None:
        self.net = net
        self.nesting = Nesting(branch=[-1] * len(net.steps), fork=[-1])
        self.came: dict[int, dict[int, int]] = {}
        self.todo = [(net.start, 0)]

    def run(self) -> Nesting:
        while self.todo and self.nesting.is_whole:
            self._visit(*self.todo.pop())

        left = any(gather not in self.nesting.joins for gather in self.came)
        self.nesting.is_whole &= not left and self.nesting.branch[self.net.end] == 0
        return self.nesting

    def _visit(self, node: int, branch: int) -> None:
        known = self.nesting.branch[node]
        if known >= 0:
            self.nesting.is_whole &= known == branch
            return

        self.nesting.branch[node] = branch
        forks = [way for way in self.net.ways[node] if len(way) > 1]
        self.nesting.is_whole &= len(forks) < 2
        for way in self.net.ways[node]:
            for e in way:
                self._send(e, branch if len(way) == 1 else self._begun(node))

    def _begun(self, node: int) -> int:
        self.nesting.fork.append(node)
        return len(self.nesting.fork) - 1

    def _send(self, e: int, branch: int) -> None:
        edge = self.net.edges[e]
        if edge.slot < 0:
            self.todo.append((edge.target, branch))
            return

        came = self.came.setdefault(edge.target, {})
        self.nesting.is_whole &= came.setdefault(edge.slot, branch) == branch
        if edge.target not in self.nesting.joins and len(came) == len(self.net.slots[edge.target]):
            self._join(edge.target, list(came.values()))

    def _join(self, gather: int, branches: Sequence[int]) -> None:
        forks = {self.nesting.fork[branch] for branch in branches}
        fork = next(iter(forks))
        all_of = sum(len(way) for way in self.net.ways[fork] if len(way) > 1) if fork >= 0 else 1
        if len(forks) > 1 or len(set(branches)) != all_of or (fork < 0 and len(branches) > 1):
            self.nesting.is_whole = False
            return

        self.nesting.joins[gather] = fork
        self.todo.append((gather, self.nesting.branch[fork] if fork >= 0 else 0))
