"""From paths to a graph: the steps and edges that a list of paths says, each once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any, NamedTuple

from agentflow.path import Case, Chain, Gather, Path, Step
from agentflow.places import Key, Place
from agentflow.spec import EdgeSpec
from agentflow.typeref import type_name


class Wiring(NamedTuple):
    """What a list of paths says: its steps by name, edges with their places, steps that share a name, and the types of cases."""

    steps: dict[str, Step[Any, Any]]
    edges: dict[EdgeSpec, Place]
    clashes: list[Step[Any, Any]]
    cases: dict[str, Any]


def wire(paths: Sequence[Path[Any, Any]], ends: Sequence[Step[Any, Any]]) -> Wiring:
    """Flatten paths into steps and edges; an edge that is written twice counts once."""
    wirer = _Wirer()
    # What comes first in the order written is on top. A stack, as chains can be long.
    todo: list[Path[Any, Any] | _Link] = [*reversed(ends), *reversed(paths)]
    while todo:
        path = todo.pop()
        if isinstance(path, Gather):
            wirer.add(path)
            wirer.fill(path)
            todo += reversed(path.branches)
        elif isinstance(path, Step):
            wirer.add(path)
        elif isinstance(path, Chain):
            todo += (path.then, _Link(path), path.first)
        elif isinstance(path, _Link):
            wirer.link(path.chain)
        elif isinstance(path, Case):
            wirer.add(path.step)

    return wirer.wiring


class _Link(NamedTuple):
    """The edge between the two parts of a chain."""

    chain: Chain[Any, Any]


class _Wirer:
    """Takes steps and edges into a wiring, each once."""

    def __init__(self) -> None:
        self.wiring = Wiring({}, {}, [], {})

    def add(self, step: Step[Any, Any]) -> None:
        known = self.wiring.steps.setdefault(step.name, step)
        if known is step or (isinstance(step, Gather) and isinstance(known, Gather)):
            return

        if all(clash is not step for clash in self.wiring.clashes):
            self.wiring.clashes.append(step)

    def link(self, chain: Chain[Any, Any]) -> None:
        for target in chain.then.entries():
            self._edge(chain.first, target.name, None, chain.place)

    def fill(self, gather_: Gather[Any, Any]) -> None:
        for slot, branch in enumerate(gather_.branches):
            self._edge(branch, gather_.name, slot, gather_.place)

    def _edge(self, path: Path[Any, Any], target: str, slot: int | None, place: Place) -> None:
        """An edge from where a path ends, which mostly is a step."""
        if isinstance(path, Step):
            edge = EdgeSpec(source=path.name, target=target, slot=slot)
        else:
            end = path.exit()
            on = None if end.on is None else self._case(end.on)
            edge = EdgeSpec(source=end.step.name, target=target, on=on, at_most=end.at_most, slot=slot)

        self.wiring.edges.setdefault(edge, place)

    def _case(self, type_: Any) -> str:
        name = type_name(type_)
        self.wiring.cases[name] = type_
        return name


class WiredPlaces(Mapping[Key, Place]):
    """Where the parts of a workflow in Python stand: itself, its steps and its edges; looked up when it is asked for."""

    def __init__(self, place: Place, wiring: Wiring) -> None:
        self._place, self._steps, self._edges = place, wiring.steps, wiring.edges

    @cached_property
    def _of_edges(self) -> Sequence[Place]:
        return tuple(self._edges.values())

    def __getitem__(self, key: Key) -> Place:
        match key:
            case ():
                return self._place
            case ("steps", str(name)):
                return self._steps[name].place
            case ("edges", int(number)) if number < len(self._edges):
                return self._of_edges[number]
            case _:
                raise KeyError(key)

    def __iter__(self) -> Iterator[Key]:
        yield ()
        yield from (("steps", name) for name in self._steps)
        yield from (("edges", number) for number in range(len(self._edges)))

    def __len__(self) -> int:
        return 1 + len(self._steps) + len(self._edges)
