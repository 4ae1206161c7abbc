"""A spec made ready for drawing: boxes with ids that are safe in any notation, and arrows from box to box."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, count
from typing import TYPE_CHECKING, Literal

from agentflow.drawing.captions import edge_lines, type_text
from agentflow.exceptions import UnknownName
from agentflow.spec import StepSpec, WorkflowSpec

if TYPE_CHECKING:
    import networkx as nx

Direction = Literal["LR", "TB"]
_UNSAFE = re.compile(r"[^A-Za-z0-9]+")
_LONGEST = 60  # characters of an id
# Words that Mermaid reads as its own where an id could stand.
_RESERVED = re.compile(
    "call|class(def)?|click|default|direction|end|flowchart|graph|href|interpolate|linkstyle|style|subgraph",
    re.IGNORECASE,
)
# A usual box with the room around it, and a page that it should be read on, in points.
_WIDE, _HIGH, _LABEL = 190, 95, 70
_PAGE_WIDE, _PAGE_HIGH = 1300, 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """The dot where a workflow begins or ends."""

    id: str

    @property
    def entry(self) -> str:
        return self.id

    @property
    def exit(self) -> str:
        return self.id


@dataclass(frozen=True, slots=True, kw_only=True)
class Box:
    """A step to draw; `inner` is the graph inside of a sub-workflow.

    `is_untrusted`: a tool brings in what strangers wrote. `asks`: a person is asked before a tool is called.
    """

    id: str
    step: StepSpec
    inner: Sketch | None = None
    is_untrusted: bool = False
    asks: bool = False

    @property
    def entry(self) -> str:
        """The id of what an arrow into the box leads to, where it is drawn with what is inside."""
        return self.inner.start.id if self.inner is not None else self.id

    @property
    def exit(self) -> str:
        return self.inner.end.id if self.inner is not None else self.id


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrow:
    """What leads from one to the other, and the lines written on it; `bounded` where it has an `at_most`."""

    tail: Box | Mark
    head: Box | Mark
    lines: Sequence[str] = ()
    bounded: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Sketch:
    """A workflow to draw: its boxes by step id, and the marks where it begins and ends."""

    spec: WorkflowSpec
    boxes: Mapping[str, Box]
    start: Mark
    end: Mark

    def arrows(self) -> Iterator[Arrow]:
        """From the start, along the edges, to the end."""
        yield Arrow(tail=self.start, head=self.boxes[self.spec.start], lines=[type_text(self.spec.takes)])
        for edge in self.spec.edges:
            tail, head = self.boxes[edge.source], self.boxes[edge.target]
            yield Arrow(tail=tail, head=head, lines=edge_lines(edge), bounded=edge.at_most is not None)

        yield Arrow(tail=self.boxes[self.spec.end], head=self.end, lines=[type_text(self.spec.gives)])

    def all(self) -> Iterator[Sketch]:
        """The workflow itself, then those inside of it."""
        yield self
        for box in self.boxes.values():
            if box.inner is not None:
                yield from box.inner.all()


def sketch(spec: WorkflowSpec, *, untrusted: Collection[str] = (), asking: Collection[str] = ()) -> Sketch:
    """The boxes and arrows of a spec; raises `UnknownName` where it names a step that it does not have.

    `untrusted` and `asking` are the steps to mark so, those of sub-workflows as `handle/send`.
    """
    return _Drafting(frozenset(untrusted), frozenset(asking)).sketch(spec)


class _Drafting:
    """Gives each step a box with an id that no other has, in the workflow and in those inside of it."""

    def __init__(self, untrusted: Collection[str], asking: Collection[str]) -> None:
        self._untrusted, self._asking = untrusted, asking
        self._taken: set[str] = set()

    def sketch(self, spec: WorkflowSpec, prefix: str = "", path: str = "") -> Sketch:
        _check_names(spec)
        boxes = {step.id: self._box(step, prefix, path) for step in spec.steps}
        # Ids of boxes begin with a letter, so these are free.
        start, end = Mark(id=f"_{prefix}start"), Mark(id=f"_{prefix}end")
        return Sketch(spec=spec, boxes=boxes, start=start, end=end)

    def _box(self, step: StepSpec, prefix: str, path: str) -> Box:
        id_, path = _safe_id(prefix + step.id, self._taken), path + step.id
        inner = self.sketch(step.workflow, f"{id_}_", f"{path}/") if step.workflow is not None else None
        return Box(
            id=id_, step=step, inner=inner, is_untrusted=path in self._untrusted, asks=path in self._asking
        )


def _check_names(spec: WorkflowSpec) -> None:
    known = [step.id for step in spec.steps]
    ends = (end for edge in spec.edges for end in (edge.source, edge.target))
    for name in (spec.start, spec.end, *ends):
        if name not in known:
            raise UnknownName(f"step of `{spec.name}`", name, known)


def _safe_id(name: str, taken: set[str]) -> str:
    """The name as a plain ASCII word, and with a number where that is taken or means something to Mermaid."""
    word = _UNSAFE.sub("_", name).strip("_")[:_LONGEST]
    word = word if word[:1].isalpha() else f"step_{word}".rstrip("_")
    numbered = (f"{word}_{n}" for n in count(2))
    found = next(w for w in chain([word], numbered) if w not in taken and not _RESERVED.fullmatch(w))
    taken.add(found)
    return found


def returning(drawn: Sketch) -> set[tuple[str, str]]:
    """Tail and head of the arrows that lead back to where the way has come from."""
    import networkx as nx  # a heavy import, and only drawing a graph needs it here

    on_the_way = {drawn.start.id}
    found: set[tuple[str, str]] = set()
    for tail, head, kind in nx.dfs_labeled_edges(_graph(drawn), drawn.start.id):
        if kind == "forward":
            on_the_way.add(head)
        elif kind == "reverse":
            on_the_way.discard(head)
        elif head in on_the_way:
            found.add((tail, head))

    return found


def direction(drawn: Sketch) -> Direction:
    """From left to right or from top to bottom: whichever leaves the boxes larger on a page."""
    import networkx as nx

    graph = _graph(drawn)
    graph.remove_edges_from(returning(drawn))
    # What nothing leads to is not on the way that loops were looked for on, so it may hold some of its own.
    layers = [len(layer) for layer in nx.topological_generations(nx.condensation(graph))]
    long, broad = len(layers), max(layers)
    across = _scale(long * (_WIDE + _LABEL), broad * _HIGH)
    down = _scale(broad * _WIDE, long * _HIGH)
    return "LR" if across >= down else "TB"


def _scale(wide: float, high: float) -> float:
    return min(1.0, _PAGE_WIDE / wide, _PAGE_HIGH / high)


def _graph(drawn: Sketch) -> nx.DiGraph[str]:
    import networkx as nx

    graph: nx.DiGraph[str] = nx.DiGraph()
    graph.add_edges_from(
        (arrow.tail.exit, arrow.head.entry) for part in drawn.all() for arrow in part.arrows()
    )
    # A step that nothing leads to is drawn as well.
    graph.add_nodes_from(box.id for part in drawn.all() for box in part.boxes.values() if box.inner is None)
    return graph
