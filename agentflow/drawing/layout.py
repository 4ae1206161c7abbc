"""A workflow in the DOT language, for Graphviz to lay out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from html import escape
from textwrap import wrap

from agentflow.drawing.captions import heading, note_lines, tag_lines, title_lines
from agentflow.drawing.palette import FAINT, INK, LOOKS, LOOP, TAG, Look
from agentflow.drawing.sketch import Arrow, Box, Direction, Mark, Sketch, direction, returning, sketch
from agentflow.spec import WorkflowSpec

FONT = "Helvetica,Arial,sans-serif"  # what viewers have, in the widths that the layout is made with

_HEADING, _SLACK = 84, 10  # characters of a line above the drawing, and by how much such lines may differ
_MARK = f'fillcolor="{INK}", color="{INK}", fontcolor="white"'
_PILL = f'shape=box, style="filled,rounded", fontsize=10, height=0.25, margin="0.12,0.03", {_MARK}'
_DOT = f'label="", shape=circle, style=filled, width=0.1, height=0.1, {_MARK}'


def dot_text(spec: WorkflowSpec) -> str:
    """The whole drawing as DOT; ids are those of the sketch, all else is escaped into labels."""
    drawn = sketch(spec)
    way = direction(drawn)
    lines = ["digraph workflow {", *_defaults(drawn, way)]
    lines += [f'"{drawn.start.id}" [label="start", {_PILL}]', f'"{drawn.end.id}" [label="end", {_PILL}]']
    lines += [line for box in drawn.boxes.values() for line in _box(box)]
    return "\n".join([*lines, *_arrows(drawn, way), "}"])


def _defaults(drawn: Sketch, way: Direction) -> Iterator[str]:
    title, *rest = heading(drawn.spec)
    small = [line for part in rest for line in _even(part)]
    label = _rows([_text(title, 16, bold=True), *(_text(line, 10, FAINT) for line in small)], align="left")
    yield (
        f'graph [rankdir={way}, compound=true, bgcolor="white", pad=0.3, nodesep=0.35, ranksep=0.35, '
        f'fontname="{FONT}", labelloc=t, labeljust=l, label={label}]'
    )
    yield f'node [fontname="{FONT}", fontsize=12, fontcolor="{INK}", height=0.2, width=0.5]'
    yield f'edge [fontname="{FONT}", fontsize=10, fontcolor="{INK}", color="{FAINT}", arrowsize=0.7]'


def _even(text: str) -> list[str]:
    """`text` in as few lines as it needs, all of about one length."""
    return wrap(text, len(text) // (1 + len(text) // _HEADING) + _SLACK)


def _box(box: Box) -> Iterator[str]:
    if box.inner is None:
        yield _node(box)
        return

    style = _attributes(LOOKS["workflow"])
    if box.step.map is not None:
        yield f'subgraph "{_cluster(box)}" {{ graph [label="", margin=4, {style}]'

    yield f'subgraph "cluster_{box.id}" {{ graph [label={_card(box, align="left")}, labeljust=l, margin=12, {style}]'
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
    return f'"{box.id}" [label={_card(box)}, {shape}, {_attributes(look)}]'


def _attributes(look: Look) -> str:
    return f'style="{look.style}", fillcolor="{look.fill}", color="{look.line}", penwidth={look.width}'


def _card(box: Box, *, align: str = "center") -> str:
    step = box.step
    if step.kind == "gather":
        return _rows([_text(line, 9, "white") for line in title_lines(step)])

    rows = [_text(line, 12, bold=True) for line in title_lines(step)]
    rows += [_text(line, 9, FAINT) for line in note_lines(step)]
    return _rows(rows, [_text(line, 9) for line in tag_lines(step)], align=align)


def _arrows(drawn: Sketch, way: Direction) -> Iterator[str]:
    back = returning(drawn)
    for arrow in (arrow for part in drawn.all() for arrow in part.arrows()):
        ends = (arrow.tail.exit, arrow.head.entry)
        known = _borders(arrow)
        if arrow.bounded:
            known |= {"color": LOOP, "fontcolor": LOOP, "style": "dashed"}

        if ends in back:
            # What goes back leaves and arrives at one side, clear of the way forward.
            side = "n" if way == "LR" else "e"
            known |= {"tailport": _port(arrow.tail, side), "headport": side}

        rest = "".join(f', {key}="{value}"' for key, value in known.items())
        yield f'"{ends[0]}" -> "{ends[1]}" [label={_label(arrow.lines)}{rest}]'


def _borders(arrow: Arrow) -> dict[str, str]:
    """The borders at which an arrow from or to a sub-workflow is cut off."""
    ends = {"ltail": arrow.tail, "lhead": arrow.head}
    return {key: _cluster(end) for key, end in ends.items() if isinstance(end, Box) and end.inner is not None}


def _port(tail: Box | Mark, side: str) -> str:
    # The right side of an approval slants, so an arrow from the middle of it would cross it.
    return "ne" if side == "e" and isinstance(tail, Box) and tail.step.kind == "approval" else side


def _label(lines: Sequence[str]) -> str:
    kept = [line for line in lines if line]
    return "<" + "<br/>".join(f" {_escaped(line)} " for line in kept) + ">" if kept else '""'


def _rows(rows: Iterable[str], tagged: Sequence[str] = (), *, align: str = "center") -> str:
    """An HTML-like label: rows one under another, and a small plate with the tagged ones."""
    cells = [f'<tr><td align="{align}">{row}</td></tr>' for row in rows]
    if tagged:
        plate = f'<td border="1" cellpadding="3" color="{FAINT}" bgcolor="{TAG}">{"<br/>".join(tagged)}</td>'
        cells.append(f"<tr>{plate}</tr>")

    return '<<table border="0" cellborder="0" cellspacing="0" cellpadding="1">' + "".join(cells) + "</table>>"


def _text(text: str, size: int, colour: str = INK, *, bold: bool = False) -> str:
    words = _escaped(text)
    words = f"<b>{words}</b>" if bold else words
    return f'<font point-size="{size}" color="{colour}">{words}</font>'


def _escaped(text: str) -> str:
    # Graphviz replaces `\N` and the like in what is left after entities, so a backslash is doubled.
    return escape(text).replace("\\", "\\\\")
