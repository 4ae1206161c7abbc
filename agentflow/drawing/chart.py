"""A workflow as Mermaid text: it shows in Markdown on most platforms, and needs no program here."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence

from agentflow.drawing.captions import heading, note_lines, tag_lines, title_lines
from agentflow.drawing.palette import INK, LOOKS
from agentflow.drawing.sketch import Arrow, Box, Direction, Sketch, direction, sketch
from agentflow.spec import WorkflowSpec

# What Mermaid would read as syntax, as HTML or as Markdown, in its own notation for characters.
_ESCAPES = str.maketrans({char: f"#{ord(char)};" for char in '"#<>&`\\*{}'})
# What it acts on even so: `\n`, `$$` for formulas, `fa:fa-` for icons, lists; an invisible joiner takes them apart.
_ACTIVE = re.compile(r"(?<=\\)(?=n)|(?<=\$)(?=\$)|(?<=:)(?=fa-)|^(?=[-+]|\d+[.)])")
_JOINER = "\u2060"
_INDENT = "    "


def mermaid(spec: WorkflowSpec) -> str:
    """The flowchart of a workflow; equal specs give equal text."""
    drawn = sketch(spec)
    way = direction(drawn)
    lines = ["---", f"title: {json.dumps(' · '.join(heading(spec)), ensure_ascii=False)}", "---"]
    lines += [f"flowchart {way}", *(_INDENT + line for line in _body(drawn, way))]
    return "\n".join(lines)


def _body(drawn: Sketch, way: Direction) -> Iterator[str]:
    yield f'{drawn.start.id}(["start"])'
    yield from (line for box in drawn.boxes.values() for line in _box(box, way))
    yield f'{drawn.end.id}(["end"])'
    yield from (_arrow(arrow) for part in drawn.all() for arrow in part.arrows())
    yield from _styles(drawn)


def _box(box: Box, way: Direction) -> Iterator[str]:
    if box.inner is None:
        yield _node(box)
        return

    # Mermaid leaves room for one line above a subgraph.
    yield f"subgraph {box.id}[{_quoted([' · '.join(_lines(box))])}]"
    yield f"{_INDENT}direction {way}"
    yield f'{_INDENT}{box.inner.start.id}((" "))'
    for inside in box.inner.boxes.values():
        yield from (_INDENT + line for line in _box(inside, way))

    yield f'{_INDENT}{box.inner.end.id}(((" ")))'
    yield "end"


def _node(box: Box) -> str:
    step = box.step
    doubled = step.map is not None and step.kind == "function"
    left, right = LOOKS["workflow" if doubled else step.kind].brackets
    return f"{box.id}{left}{_quoted(_lines(box))}{right}"


def _lines(box: Box) -> list[str]:
    return [*title_lines(box.step), *note_lines(box.step), *tag_lines(box.step)]


def _quoted(lines: Sequence[str]) -> str:
    return '"' + "<br/>".join(_ACTIVE.sub(_JOINER, line).translate(_ESCAPES) for line in lines) + '"'


def _label(lines: Sequence[str]) -> str:
    kept = [line for line in lines if line]
    return f"|{_quoted(kept)}|" if kept else ""


def _arrow(arrow: Arrow) -> str:
    line = "-.->" if arrow.bounded else "-->"
    return f"{arrow.tail.id} {line}{_label(arrow.lines)} {arrow.head.id}"


def _styles(drawn: Sketch) -> Iterator[str]:
    """One class for each kind that is there, and a heavy border for what is run for each item."""
    boxes = [box for part in drawn.all() for box in part.boxes.values()]
    for kind, look in LOOKS.items():
        ids = [box.id for box in boxes if box.step.kind == kind]
        if ids:
            ink = "#ffffff" if kind == "gather" else INK
            yield f"classDef {kind} fill:{look.fill},stroke:{look.line},stroke-width:{look.width}px,color:{ink}"
            yield f"class {','.join(ids)} {kind}"

    mapped = [box.id for box in boxes if box.step.map is not None]
    if mapped:
        yield "classDef each stroke-width:3px"
        yield f"class {','.join(mapped)} each"

    yield f"classDef mark fill:{INK},stroke:{INK},color:#ffffff"
    yield f"class {','.join(mark.id for part in drawn.all() for mark in (part.start, part.end))} mark"
