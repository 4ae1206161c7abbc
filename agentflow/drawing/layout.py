"""A workflow in the DOT language, for Graphviz to lay out."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from itertools import count
from textwrap import wrap
from typing import Literal

from agentflow.drawing.captions import heading
from agentflow.drawing.cards import NO_LABEL, card, edge_label, rows, text
from agentflow.drawing.legend import legend
from agentflow.drawing.palette import FAINT, INK, LOOKS, LOOP, RISK, Look
from agentflow.drawing.sketch import Arrow, Box, Direction, Mark, Sketch, direction, returning, sketch
from agentflow.spec import WorkflowSpec

FONT = "Helvetica,Arial,sans-serif"  # what viewers have, in the widths that the layout is made with

_HEADING, _SLACK = 84, 10  # characters of a line above the drawing, and by how much such lines may differ
_MARK = f'fillcolor="{INK}", color="{INK}", fontcolor="white"'
_PILL = f'shape=box, style="filled,rounded", fontsize=10, height=0.25, margin="0.12,0.03", {_MARK}'
_DOT = f'label="", shape=circle, style=filled, width=0.1, height=0.1, {_MARK}'
_STRAIGHT = "3"  # how much rather the way forward is straight than the ways back
_RISKY = 2.2  # line width in points


def dot_text(spec: WorkflowSpec, *, untrusted: Collection[str] = (), asking: Collection[str] = ()) -> str:
    """The whole drawing as DOT; ids are those of the sketch, all else is escaped into labels."""
    drawn = sketch(spec, untrusted=untrusted, asking=asking)
    way = direction(drawn)
    paper = _Paper(way, returning(drawn))
    lines = ["digraph workflow {", *_defaults(drawn, way)]
    lines += [f'"{drawn.start.id}" [label="start", {_PILL}]', f'"{drawn.end.id}" [label="end", {_PILL}]']
    return "\n".join([*lines, *paper.content(drawn), *legend(drawn), "}"])


def _defaults(drawn: Sketch, way: Direction) -> Iterator[str]:
    title, *rest = heading(drawn.spec)
    small = [line for part in rest for line in _even(part)]
    label = rows([text(title, 16, bold=True), *(text(line, 10, FAINT) for line in small)], align="left")
    yield (
        f'graph [rankdir={way}, compound=true, bgcolor="white", pad=0.3, nodesep=0.35, ranksep=0.35, '
        f'fontname="{FONT}", labelloc=t, labeljust=l, label={label}]'
    )
    yield f'node [fontname="{FONT}", fontsize=12, fontcolor="{INK}", height=0.2, width=0.5]'
    yield f'edge [fontname="{FONT}", fontsize=10, fontcolor="{INK}", color="{FAINT}", arrowsize=0.7]'


def _even(words: str) -> list[str]:
    """`words` in as few lines as they need, all of about one length."""
    return wrap(words, len(words) // (1 + len(words) // _HEADING) + _SLACK)


class _Paper:
    """Writes the boxes and arrows of a workflow and of those inside of it, for one direction of the way."""

    def __init__(self, way: Direction, back: Collection[tuple[str, str]]) -> None:
        self._back = back
        self._side = "n" if way == "LR" else "e"
        self._labels = count()

    def content(self, drawn: Sketch) -> Iterator[str]:
        """The statements of a workflow, with its arrows and the labels of those that lead back."""
        for box in drawn.boxes.values():
            yield from self._box(box)

        yield from map(self._arrow, drawn.arrows())

    def _box(self, box: Box) -> Iterator[str]:
        if box.inner is None:
            yield _node(box)
            return

        style = _attributes(LOOKS["workflow"])
        if box.step.map is not None:
            yield f'subgraph "{_cluster(box)}" {{ graph [label="", margin=4, {style}]'

        label = f"label={card(box, align='left')}, labeljust=l"
        yield f'subgraph "cluster_{box.id}" {{ graph [{label}, margin=12, {style}]'
        yield f'"{box.inner.start.id}" [{_DOT}]'
        yield f'"{box.inner.end.id}" [{_DOT}, peripheries=2]'
        yield from self.content(box.inner)
        yield "}" if box.step.map is None else "}}"

    def _arrow(self, arrow: Arrow) -> str:
        ends = (arrow.tail.exit, arrow.head.entry)
        if ends not in self._back:
            known = _line(arrow) | {"label": edge_label(arrow.lines), "weight": _STRAIGHT}
            return _edge(ends, known | _borders(arrow))

        return self._loop(arrow) if arrow.tail is arrow.head else self._returning(arrow)

    def _loop(self, arrow: Arrow) -> str:
        side = self._side
        ports = {"tailport": side, "headport": side, "label": edge_label(arrow.lines)}
        return _edge((arrow.tail.exit, arrow.head.entry), _line(arrow) | ports)

    def _returning(self, arrow: Arrow) -> str:
        """An arrow back: it leaves and arrives at one side, clear of the way forward.

        It is given to Graphviz from its head to its tail and drawn the other way round, so that the ranks are those of
        the way forward: of a loop, Graphviz would turn round whichever arrow it likes. Its label is a node on the
        way, as Graphviz keeps only nodes inside of the border of a sub-workflow.
        """
        known = _line(arrow) | {"dir": "back"}
        first = {"tailport": self._side} | _border("ltail", arrow.head)
        last = {"headport": _port(arrow.tail, self._side)} | _border("lhead", arrow.tail)
        label = edge_label(arrow.lines)
        if label == NO_LABEL:
            return _edge((arrow.head.entry, arrow.tail.exit), known | first | last)

        words = f"_back{next(self._labels)}"
        return "\n".join(
            [
                f'"{words}" [shape=plain, fontsize=10, fontcolor="{LOOP if arrow.bounded else INK}", label={label}]',
                _edge((arrow.head.entry, words), known | first),
                _edge((words, arrow.tail.exit), known | last | {"arrowtail": "none"}),
            ]
        )


def _cluster(box: Box) -> str:
    """The outermost border of a sub-workflow: one that is run for each item has two."""
    return f"cluster__each_{box.id}" if box.step.map is not None else f"cluster_{box.id}"


def _node(box: Box) -> str:
    look = LOOKS[box.step.kind]
    shape = f'shape={look.shape}, margin="{look.margin}", peripheries={2 if box.step.map is not None else 1}'
    risk = f', color="{RISK}", penwidth={_RISKY}' if box.is_untrusted else ""
    return f'"{box.id}" [label={card(box)}, {shape}, {_attributes(look)}{risk}]'


def _attributes(look: Look) -> str:
    return f'style="{look.style}", fillcolor="{look.fill}", color="{look.line}", penwidth={look.width}'


def _line(arrow: Arrow) -> dict[str, str]:
    return {"color": LOOP, "fontcolor": LOOP, "style": "dashed"} if arrow.bounded else {}


def _edge(ends: tuple[str, str], known: Mapping[str, str]) -> str:
    inside = ", ".join(
        f"{key}={value}" if key == "label" else f'{key}="{value}"' for key, value in known.items()
    )
    return f'"{ends[0]}" -> "{ends[1]}" [{inside}]'


def _borders(arrow: Arrow) -> dict[str, str]:
    return _border("ltail", arrow.tail) | _border("lhead", arrow.head)


def _border(key: Literal["ltail", "lhead"], end: Box | Mark) -> dict[str, str]:
    """The border at which an arrow from or to a sub-workflow is cut off."""
    return {key: _cluster(end)} if isinstance(end, Box) and end.inner is not None else {}


def _port(tail: Box | Mark, side: str) -> str:
    # The right side of an approval slants, so an arrow from the middle of it would cross it.
    return "ne" if side == "e" and isinstance(tail, Box) and tail.step.kind == "approval" else side
