"""The edges of a definition: those that lead from a step to a step, and what can be made of the others."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

from agentflow.assembly.telling import Telling
from agentflow.exceptions import ProjectError, UnknownName
from agentflow.places import Key, Place, Places
from agentflow.spec import EdgeSpec, WorkflowSpec
from agentflow.validation import UNREAD, Doubts

_TWICE = "AF160"


@dataclass(slots=True)
class Edges:
    """The edges that can be used, with their numbers in the file.

    `guessed` are among them: their ends are misspelt and taken for the nearest name. `is_whole`: none was lost.
    """

    known: list[EdgeSpec] = field(default_factory=list[EdgeSpec])
    numbers: list[int] = field(default_factory=list[int])
    guessed: list[EdgeSpec] = field(default_factory=list[EdgeSpec])
    is_whole: bool = True

    @property
    def doubts(self) -> Doubts:
        return Doubts(edges=not self.is_whole, guessed=tuple(self.guessed))

    def placed(self, places: Places) -> Places:
        """The places of a definition with those of its edges by their new numbers."""
        if self.numbers == list(range(len(self.numbers))):
            return places

        return Places({**places.known, **dict(self._moved(places))}, places.root)

    def _moved(self, places: Places) -> Iterator[tuple[Key, Place]]:
        for new, old in enumerate(self.numbers):
            for part in ((), ("on",), ("at_most",)):
                yield (*places.root, "edges", new, *part), places.at("edges", old, *part)


def edges_of(spec: WorkflowSpec, tell: Telling) -> Edges:
    """The edges of a spec, with what is wrong with them told."""
    kinds = {step.id: step.kind for step in spec.steps}
    found, known = Edges(), set[EdgeSpec]()
    for number, edge in enumerate(spec.edges):
        if (ends := _ends(edge, number, kinds, tell)) is None:
            found.is_whole = False
            continue

        mended = _slotted(replace(edge, source=ends[0], target=ends[1]), number, kinds, tell)
        if mended in known:
            error = ProjectError("this edge stands twice", hint="leave one of them out")
            tell.say(error, named(edge), "edges", number, code=_TWICE)
            continue

        known.add(mended)
        found.known.append(mended)
        found.numbers.append(number)
        if ends != (edge.source, edge.target):
            found.guessed.append(mended)

    return found


def named(edge: EdgeSpec) -> str:
    """An edge as problems name it."""
    return f"edge `{edge.source}` -> `{edge.target}`"


def _ends(edge: EdgeSpec, number: int, kinds: Mapping[str, str], tell: Telling) -> tuple[str, str] | None:
    """The steps that an edge leads from and to; None where one cannot be told."""
    source = _end(edge, edge.source, kinds, tell, ("edges", number, "from"))
    target = _end(edge, edge.target, kinds, tell, ("edges", number, "to"))
    return None if source is None or target is None else (source, target)


def _end(edge: EdgeSpec, name: str, kinds: Mapping[str, str], tell: Telling, part: Key) -> str | None:
    if name in kinds or name == UNREAD:
        return name if name in kinds else None

    error = UnknownName("step", name, list(kinds))
    tell.say(error, named(edge), *part)
    return error.nearest[0] if error.nearest else None


def _slotted(edge: EdgeSpec, number: int, kinds: Mapping[str, str], tell: Telling) -> EdgeSpec:
    """The edge, without a slot where there is nothing to be put in one."""
    if edge.slot is None or kinds[edge.target] == "gather":
        return edge

    what = f"step `{edge.target}` is no gather, and an edge into it has a `slot`"
    tell.say(ProjectError(what, hint="leave `slot` out"), named(edge), "edges", number, "slot")
    return replace(edge, slot=None)
