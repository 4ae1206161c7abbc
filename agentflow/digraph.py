"""Questions about directed graphs, answered in the time that looking at each edge once takes, and without recursion.

`follow` has the nodes that each node leads to; nodes are numbers, or the keys of a mapping.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from itertools import accumulate, pairwise
from typing import TypeVar

Node = TypeVar("Node", bound=Hashable)


def reached(follow: Mapping[Node, Iterable[Node]], roots: Iterable[Node]) -> set[Node]:
    """The roots, and all nodes that edges from them lead to."""
    found = set(roots)
    todo = list(found)
    while todo:
        for node in follow[todo.pop()]:
            if node not in found:
                found.add(node)
                todo.append(node)

    return found


class Arrows:
    """A graph of numbered nodes, kept in two lists: those that `node` leads to stand in `ends` from `first[node]` to `first[node + 1]`.

    A list for each node, of which a large graph has many, would cost more than all that is asked of it.
    """

    def __init__(self, count: int, sources: Sequence[int], targets: Sequence[int]) -> None:
        leaving = [0] * (count + 1)
        for source in sources:
            leaving[source] += 1

        self.first = list(accumulate(leaving))
        self.ends = [0] * len(targets)
        # From behind, so that those of each node keep their order.
        for source, target in zip(reversed(sources), reversed(targets), strict=True):
            self.first[source] -= 1
            self.ends[self.first[source]] = target

    def of(self, node: int) -> list[int]:
        """The nodes that a node leads to."""
        return self.ends[self.first[node] : self.first[node + 1]]

    def is_branching(self) -> bool:
        """Whether some node leads to several."""
        return any(later - first > 1 for first, later in pairwise(self.first))

    def ordered(self) -> list[int]:
        """The nodes, each after all that lead to it; without those of a cycle, and what only they lead to.

        A. Kahn, "Topological sorting of large networks" (1962).
        """
        waits = [0] * (len(self.first) - 1)
        for target in self.ends:
            waits[target] += 1

        order = [node for node, count in enumerate(waits) if not count]
        for node in order:
            for target in self.of(node):
                waits[target] -= 1
                if not waits[target]:
                    order.append(target)

        return order

    def after(self, order: Sequence[int], root: int) -> bytearray:
        """Of each node whether edges lead to it from the root; `order` is of a graph without cycles."""
        found = bytearray(len(order))
        found[root] = 1
        for node in order:
            if found[node]:
                for target in self.of(node):
                    found[target] = 1

        return found

    def before(self, order: Sequence[int], last: int) -> bytearray:
        """Of each node whether edges lead from it to the last; `order` is of a graph without cycles."""
        found = bytearray(len(order))
        found[last] = 1
        for node in reversed(order):
            for target in self.of(node):
                if found[target]:
                    found[node] = 1
                    break

        return found


def postorder(follow: Mapping[Node, Iterable[Node]], root: Node) -> list[Node]:
    """The nodes that the root leads to, each after those that it leads to, but for edges that close a cycle."""
    found, order = {root}, list[Node]()
    path: list[tuple[Node, Iterator[Node]]] = [(root, iter(follow[root]))]
    while path:
        target = next((n for n in path[-1][1] if n not in found), None)
        if target is None:
            order.append(path.pop()[0])
        else:
            found.add(target)
            path.append((target, iter(follow[target])))

    return order


def cycle(follow: Mapping[Node, Iterable[Node]], start: Node) -> list[Node]:
    """The shortest way from a node back to it, each node once; empty where there is none."""
    came: dict[Node, Node] = {}
    todo = [start]
    for node in todo:
        for target in follow[node]:
            if target == start:
                return _way(came, node, start)

            if target not in came:
                came[target] = node
                todo.append(target)

    return []


def _way(came: Mapping[Node, Node], node: Node, start: Node) -> list[Node]:
    way = [node]
    while way[-1] != start:
        way.append(came[way[-1]])

    return way[::-1]


def components(follow: Sequence[Sequence[int]], roots: Iterable[int]) -> list[list[int]]:
    """The strongly connected components that the roots lead to, each after all that it leads to.

    R. Tarjan, "Depth-first search and linear graph algorithms" (1972).
    """
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
