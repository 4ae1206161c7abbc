"""A workflow in the DOT language, for Graphviz to lay out."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from textwrap import wrap

from agentflow.drawing.captions import heading
from agentflow.drawing.cards import card, edge_label, rows, text
from agentflow.drawing.legend import legend
from agentflow.drawing.palette import FAINT, INK, LOOKS, LOOP, RISK, Look
from agentflow.drawing.sketch import Arrow, Box, Direction, Mark, Sketch, direction, returning, sketch
from agentflow.spec import WorkflowSpec

FONT = "Helvetica,Arial,sans-serif"  # what viewers have, in the widths that the layout is made with

_HEADING, _SLACK = 84, 10  # characters of a line above the drawing, and by how much such lines may differ
_MARK = f'fillcolor="{INK}", color="{INK}", fontcolor="white"'
_PILL = f'shape=box, style="filled,rounded", fontsize=10, height=0.25, margin="0.12,0.03", {_MARK}'
_DOT = f'label="", shape=circle, style=filled, width=0.1, height=0.1, {_MARK}'
_RISKY = 2.2  # line width in points


def dot_text(spec: WorkflowSpec, *, untrusted: Collection[str] = (), asking: Collection[str] = ()) -> str:
    """The whole drawing as DOT; ids are those of the sketch, all else is escaped into labels."""
    drawn = sketch(spec, untrusted=untrusted, asking=asking)
    way = direction(drawn)
    lines = ["digraph workflow {", *_defaults(drawn, way)]
    lines += [f'"{drawn.start.id}" [label="start", {_PILL}]', f'"{drawn.end.id}" [label="end", {_PILL}]']
    lines += [line for box in drawn.boxes.values() for line in _box(box)]
    return "\n".join([*lines, *_arrows(drawn, way), *legend(drawn), "}"])


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


def _box(box: Box) -> Iterator[str]:
    if box.inner is None:
        yield _node(box)
        return

    style = _attributes(LOOKS["workflow"])
    if box.step.map is not None:
        yield f'subgraph "{_cluster(box)}" {{ graph [label="", margin=4, {style}]'

    yield f'subgraph "cluster_{box.id}" {{ graph [label={card(box, align="left")}, labeljust=l, margin=12, {style}]'
    yield f'"{box.inner.start.id}" [{_DOT}]'
    yield f'"{box.inner.end.id}" [{_DOT}, peripheries=2]'
    for inside in box.inner.boxes.values():
        yield from _box(inside)

    yield "}" if box.step.map is None else "}}"


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


def _arrows(drawn: Sketch, way: Direction) -> Iterator[str]:
    back = returning(drawn)
    for arrow in (arrow for part in drawn.all() for arrow in part.arrows()):
        known = {"color": LOOP, "fontcolor": LOOP, "style": "dashed"} if arrow.bounded else {}
        ends = (arrow.tail.exit, arrow.head.entry)
        yield _returning(arrow, known, way) if ends in back else _edge(arrow, ends, known | _borders(arrow))


def _returning(arrow: Arrow, known: dict[str, str], way: Direction) -> str:
    """An arrow back: it leaves and arrives at one side, clear of the way forward.

    It is given to Graphviz from its head to its tail and drawn the other way round, so that the ranks are those of
    the way forward: of a loop, Graphviz would turn round whichever arrow it likes.
    """
    side = "n" if way == "LR" else "e"
    if arrow.tail is arrow.head:
        return _edge(arrow, (arrow.tail.exit, arrow.head.entry), known | {"tailport": side, "headport": side})

    known |= {"dir": "back", "weight": "0", "tailport": side, "headport": _port(arrow.tail, side)}
    borders = _borders(Arrow(tail=arrow.head, head=arrow.tail))
    return _edge(arrow, (arrow.head.entry, arrow.tail.exit), known | borders)


def _edge(arrow: Arrow, ends: tuple[str, str], known: dict[str, str]) -> str:
    rest = "".join(f', {key}="{value}"' for key, value in known.items())
    return f'"{ends[0]}" -> "{ends[1]}" [label={edge_label(arrow.lines)}{rest}]'


def _borders(arrow: Arrow) -> dict[str, str]:
    """The borders at which an arrow from or to a sub-workflow is cut off."""
    ends = {"ltail": arrow.tail, "lhead": arrow.head}
    return {key: _cluster(end) for key, end in ends.items() if isinstance(end, Box) and end.inner is not None}


def _port(tail: Box | Mark, side: str) -> str:
    # The right side of an approval slants, so an arrow from the middle of it would cross it.
    return "ne" if side == "e" and isinstance(tail, Box) and tail.step.kind == "approval" else side
