"""What the shapes, borders and lines of a large drawing mean, for those that are in it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

from agentflow.drawing.cards import rows, text
from agentflow.drawing.palette import ASKED, FAINT, INK, LOOKS, LOOP, RISK, TAG
from agentflow.drawing.sketch import Box, Sketch
from agentflow.spec import StepKind

_FROM = 8  # steps: a smaller drawing says enough in its boxes
_WORTH = 3  # entries: less than that explains itself
_ROW = 4  # entries beside one another
_MEANINGS: dict[StepKind, str] = {
    "function": "code",
    "planner": "a model plans tool calls",
    "agent": "a model with tools",
    "approval": "a person decides",
    "wait": "time passes",
    "gather": "waits for all",
    "workflow": "a workflow of its own",
}


def legend(drawn: Sketch) -> list[str]:
    """The statements of a legend below a drawing of many steps; none for a small one."""
    boxes = [box for part in drawn.all() for box in part.boxes.values()]
    entries = [*_kinds(boxes), *_others(drawn, boxes)]
    if len(boxes) < _FROM or len(entries) < _WORTH:
        return []

    lines = [
        'subgraph "cluster__legend" {',
        f'graph [label="", margin=10, style=filled, fillcolor="{TAG}", color="#d0d5da"]',
    ]
    lines += [f'"_legend{index}" [{entry}]' for index, entry in enumerate(entries)]
    names = [f"_legend{index}" for index in range(len(entries))]
    return [*lines, *_ranks(names), "}", f'"{drawn.end.id}" -> "{names[1]}" [style=invis]']


def _ranks(names: Sequence[str]) -> Iterator[str]:
    """Rows of entries, one under the other (columns, in a drawing that goes across)."""
    for first, below in zip(names, names[_ROW:], strict=False):
        yield f'"{first}" -> "{below}" [style=invis, weight=9]'

    for at in range(0, len(names), _ROW):
        row = names[at : at + _ROW]
        yield "{ rank=same; " + "; ".join(f'"{name}"' for name in row) + " }"
        yield from (f'"{left}" -> "{right}" [style=invis]' for left, right in pairwise(row))


def _kinds(boxes: Sequence[Box]) -> Iterator[str]:
    there = {box.step.kind for box in boxes}
    for kind, look in LOOKS.items():
        if kind not in there:
            continue

        ink = "white" if kind == "gather" else INK
        style = f'style="{look.style}", fillcolor="{look.fill}", color="{look.line}", penwidth={look.width}'
        yield f'shape={look.shape}, margin="{look.margin}", {style}, label={_label(kind, _MEANINGS[kind], ink)}'


def _others(drawn: Sketch, boxes: Sequence[Box]) -> Iterator[str]:
    """The border of what is run for each item, the marks, and the line of a loop."""
    frame = 'shape=box, margin="0.14,0.06", style=filled, fillcolor="white"'
    if any(box.step.map is not None for box in boxes):
        yield f'{frame}, peripheries=2, color="{FAINT}", label={_label("each", "runs for each item", INK)}'

    if any(box.is_untrusted for box in boxes):
        label = _label("untrusted source", "brings in what strangers wrote", RISK)
        yield f'{frame}, color="{RISK}", penwidth=2.2, label={label}'

    if any(box.asks for box in boxes):
        yield f'{frame}, color="{ASKED}", label={_label("asks a person", "before a tool is called", ASKED)}'

    if any(arrow.bounded for part in drawn.all() for arrow in part.arrows()):
        yield f"shape=plain, label={_label('- - - >', 'at most so often', LOOP)}"


def _label(name: str, meaning: str, ink: str) -> str:
    return rows([text(name, 9, ink, bold=True), text(meaning, 8, "white" if ink == "white" else FAINT)])
