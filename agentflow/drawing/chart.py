"""A workflow as Mermaid text: it shows in Markdown on most platforms, and needs no program here."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator, Sequence

from agentflow.drawing.captions import heading, note_lines, tag_lines, title_lines
from agentflow.drawing.cards import mark_lines
from agentflow.drawing.palette import INK, LOOKS, RISK
from agentflow.drawing.sketch import Arrow, Box, Direction, Sketch, direction, sketch
from agentflow.spec import StepKind, WorkflowSpec

# What Mermaid would read as syntax, as HTML or as Markdown, in its own notation for characters.
_ESCAPES = str.maketrans({char: f"#{ord(char)};" for char in '"#<>&`\\*{}'})
# What it acts on even so: `\n`, `$$` for formulas, `fa:fa-` for icons, lists; an invisible joiner takes them apart.
_ACTIVE = re.compile(r"(?<=\\)(?=n)|(?<=\$)(?=\$)|(?<=:)(?=fa-)|^(?=[-+]|\d+[.)])")
_JOINER = "\u2060"
_INDENT = "    "
_VEIL = "#8080801a"  # over whatever the page has, light or dark; the page says what colour text on it has
_EDGE = "#7d8790"  # seen on light and on dark pages


def mermaid(spec: WorkflowSpec, *, untrusted: Collection[str] = (), asking: Collection[str] = ()) -> str:
    """The flowchart of a workflow; equal specs give equal text.

    `untrusted` are the steps that take in what strangers wrote, `asking` those that ask a person before a tool is
    called; both are marked. A step of a sub-workflow is written as `handle/send`.
    """
    drawn = sketch(spec, untrusted=untrusted, asking=asking)
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
    return [*title_lines(box.step), *note_lines(box.step), *tag_lines(box.step), *mark_lines(box)]


def _quoted(lines: Sequence[str]) -> str:
    return '"' + "<br/>".join(_ACTIVE.sub(_JOINER, line).translate(_ESCAPES) for line in lines) + '"'


def _label(lines: Sequence[str]) -> str:
    kept = [line for line in lines if line]
    return f"|{_quoted(kept)}|" if kept else ""


def _arrow(arrow: Arrow) -> str:
    line = "-.->" if arrow.bounded else "-->"
    return f"{arrow.tail.id} {line}{_label(arrow.lines)} {arrow.head.id}"


def _styles(drawn: Sketch) -> Iterator[str]:
    """One class for each kind that is there, a heavy border for what is run for each item, a red one for strangers' words."""
    boxes = [box for part in drawn.all() for box in part.boxes.values()]
    for kind, look in LOOKS.items():
        ids = [box.id for box in boxes if box.step.kind == kind]
        if ids:
            border = f"stroke:{look.line},stroke-width:{look.width}px"
            yield f"classDef {kind} fill:{_fill(kind)},{border}{_ink(kind)}"
            yield f"class {','.join(ids)} {kind}"

    mapped = [box.id for box in boxes if box.step.map is not None]
    if mapped:
        yield "classDef each stroke-width:3px"
        yield f"class {','.join(mapped)} each"

    untrusted = [box.id for box in boxes if box.is_untrusted]
    if untrusted:
        yield f"classDef untrusted stroke:{RISK},stroke-width:3px"
        yield f"class {','.join(untrusted)} untrusted"

    yield f"classDef mark fill:{INK},stroke:{_EDGE},color:#ffffff"
    yield f"class {','.join(mark.id for part in drawn.all() for mark in (part.start, part.end))} mark"


def _fill(kind: StepKind) -> str:
    return _VEIL if kind == "workflow" else LOOKS[kind].fill


def _ink(kind: StepKind) -> str:
    """Dark text on light fills; a sub-workflow is part of the page, with the page's own text and lines on it."""
    return "" if kind == "workflow" else f",color:{'#ffffff' if kind == 'gather' else INK}"
