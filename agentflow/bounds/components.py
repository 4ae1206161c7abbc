"""Strongly connected components (R. Tarjan, "Depth-first search and linear graph algorithms", 1972), without recursion."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def components(follow: Sequence[Sequence[int]], roots: Iterable[int]) -> list[list[int]]:
    """The components that the roots lead to, each after all that it leads to."""
    search = _Search(follow)
    for root in roots:
        if search.found[root] < 0:
            search.run(root)

    return search.done


class _Search:
    def __init__(self, follow: Sequence[Sequence[int]]) -> None:
        self.follow = follow
        self.found = [-1] * len(follow)
        self.low = [0] * len(follow)
        self.is_open = [False] * len(follow)
        self.open: list[int] = []
        self.done: list[list[int]] = []
        self.count = 0

    def run(self, root: int) -> None:
        path = [(self._enter(root), iter(self.follow[root]))]
        while path:
            node, rest = path[-1]
            for target in rest:
                if self.found[target] < 0:
                    path.append((self._enter(target), iter(self.follow[target])))
                    break

                if self.is_open[target]:
                    self.low[node] = min(self.low[node], self.found[target])
            else:
                path.pop()
                self._leave(node)
                if path:
                    above = path[-1][0]
                    self.low[above] = min(self.low[above], self.low[node])

    def _enter(self, node: int) -> int:
        self.found[node] = self.low[node] = self.count
        self.count += 1
        self.open.append(node)
        self.is_open[node] = True
        return node

    def _leave(self, node: int) -> None:
        if self.low[node] != self.found[node]:
            return

        members: list[int] = []
        while not members or members[-1] != node:
            members.append(self.open.pop())
            self.is_open[members[-1]] = False

        self.done.append(members)
