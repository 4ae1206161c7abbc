"""Labels in Graphviz's HTML-like notation: what stands in a box and on an edge."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

from agentflow.drawing.captions import note_lines, tag_lines, title_lines
from agentflow.drawing.palette import ASKED, FAINT, INK, RISK, RISK_FILL, TAG
from agentflow.drawing.sketch import Box

UNTRUSTED, ASKS = "untrusted source", "asks a person before a call"
NO_LABEL = '""'


def card(box: Box, *, align: str = "center") -> str:
    """The label of a step: its name, its kind and limits, what it reaches, and its marks."""
    step = box.step
    if step.kind == "gather":
        return rows([text(line, 9, "white") for line in title_lines(step)])

    lines = [text(line, 12, bold=True) for line in title_lines(step)]
    lines += [text(line, 9, FAINT) for line in note_lines(step)]
    plates = [_plate([text(line, 9) for line in tag_lines(step)], FAINT, TAG)]
    for mark in mark_lines(box):
        ink, fill = (RISK, RISK_FILL) if mark is UNTRUSTED else (ASKED, TAG)
        plates.append(_plate([text(mark, 9, ink, bold=True)], ink, fill))

    return rows(lines, plates, align=align)


def mark_lines(box: Box) -> list[str]:
    """What is said of a step beyond its spec."""
    return [UNTRUSTED] * box.is_untrusted + [ASKS] * box.asks


def edge_label(lines: Sequence[str]) -> str:
    """The label of an edge: its case and its bound, one under the other."""
    kept = [line for line in lines if line]
    return "<" + "<br/>".join(f" {_escaped(line)} " for line in kept) + ">" if kept else NO_LABEL


def rows(lines: Iterable[str], plates: Iterable[str] = (), *, align: str = "center") -> str:
    """Lines one under another, and below them small plates."""
    cells = [f'<tr><td align="{align}">{line}</td></tr>' for line in lines]
    cells += [f"<tr>{plate}</tr>" for plate in plates if plate]
    return '<<table border="0" cellborder="0" cellspacing="0" cellpadding="1">' + "".join(cells) + "</table>>"


def text(words: str, size: int, colour: str = INK, *, bold: bool = False) -> str:
    """One piece of text, escaped."""
    inside = f"<b>{_escaped(words)}</b>" if bold else _escaped(words)
    return f'<font point-size="{size}" color="{colour}">{inside}</font>'


def _plate(lines: Sequence[str], line: str, fill: str) -> str:
    inside = "<br/>".join(lines)
    return f'<td border="1" cellpadding="3" color="{line}" bgcolor="{fill}">{inside}</td>' if lines else ""


def _escaped(words: str) -> str:
    # Graphviz replaces `\N` and the like in what is left after entities, so a backslash is doubled.
    return escape(words).replace("\\", "\\\\")
