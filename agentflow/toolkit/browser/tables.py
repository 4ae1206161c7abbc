"""A table of a page as typed rows."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from agentflow.exceptions import ToolError
from agentflow.toolkit.browser.snapshot import clean

if TYPE_CHECKING:
    from playwright.async_api import Locator

MOST_ROWS = 2_000
Cell: TypeAlias = "str | int | float | None"
Kind = Literal["integer", "number", "date", "text"]

_INTEGER = re.compile(r"[+-]?(\d+|\d{1,3}(,\d{3})+)")
_NUMBER = re.compile(r"[+-]?(\d+|\d{1,3}(,\d{3})+)(\.\d+)?")
# Rows as lists of [text, is it a heading], with cells that span several repeated; also of grids made with roles.
_READ = """(element, most) => {
  const is = (e, tags, roles) => tags.includes(e.tagName) || roles.includes(e.getAttribute('role'));
  const tables = 'table, [role=table], [role=grid], [role=treegrid]';
  const table = element.closest(tables) ?? element.querySelector(tables);
  if (!table) return null;
  const own = e => e.closest(tables) === table;
  const shown = e => e.checkVisibility({ visibilityProperty: true }) && !e.closest('[aria-hidden=true]');
  const rows = [], spans = [];
  for (const row of Array.from(table.querySelectorAll('tr, [role=row]')).filter(e => own(e) && shown(e)).slice(0, most)) {
    const cells = [];
    const fill = () => { while (spans[cells.length]?.left > 0) {
      const span = spans[cells.length]; span.left -= 1; cells.push(span.cell); } };
    const found = 'td, th, [role=cell], [role=gridcell], [role=columnheader], [role=rowheader]';
    for (const cell of Array.from(row.querySelectorAll(found)).filter(own)) {
      fill();
      const value = [(cell.innerText ?? cell.textContent).trim(), is(cell, ['TH'], ['columnheader'])];
      for (let n = Math.min(cell.colSpan || 1, 100); n > 0; n--) {
        if (cell.rowSpan > 1) spans[cells.length] = { left: Math.min(cell.rowSpan, 1000) - 1, cell: value };
        cells.push(value);
      }
    }
    fill();
    if (cells.length) rows.push(cells);
  }
  return rows;
}"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """A column by its heading, and what all its cells are."""

    name: str
    kind: Kind


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Typed rows; a cell that is empty is None, a date is text in the form 2026-01-31."""

    columns: list[Column]
    rows: list[list[Cell]]


async def table_of(element: Locator, milliseconds: float) -> Table:
    """The table that `element` is, stands in, or holds; raises `ToolError` where there is none."""
    rows: list[list[tuple[str, bool]]] | None = await element.evaluate(_READ, MOST_ROWS, timeout=milliseconds)
    if not rows:
        raise ToolError("there is no table with rows at this reference", hint="give the reference of a table")

    return typed(rows)


def typed(rows: Sequence[Sequence[Sequence[Any]]]) -> Table:
    """Rows of (text, is it a heading) with the kinds of their columns; headings are the first row, if all of it are."""
    has_head = all(heading for _, heading in rows[0])
    body = [[clean(str(text)) for text, _ in row] for row in (rows[1:] if has_head else rows)]
    width = max(len(row) for row in rows)
    names = [clean(str(text)) for text, _ in rows[0]] if has_head else []
    names += [f"column {number}" for number in range(len(names) + 1, width + 1)]
    padded = [row + [""] * (width - len(row)) for row in body]
    kinds: list[Kind] = [_kind([row[n] for row in padded]) for n in range(width)]
    return Table(
        columns=[Column(name=name, kind=kind) for name, kind in zip(names, kinds, strict=True)],
        rows=[[_cell(text, kind) for text, kind in zip(row, kinds, strict=True)] for row in padded],
    )


def _kind(texts: Sequence[str]) -> Kind:
    """What all the texts that are not empty are."""
    held = [text for text in texts if text]
    known: Sequence[tuple[Kind, Callable[[str], bool]]] = [
        ("integer", lambda text: _INTEGER.fullmatch(text) is not None and not _is_code(text)),
        ("number", lambda text: _NUMBER.fullmatch(text) is not None and not _is_code(text)),
        ("date", _is_date),
    ]
    for kind, fits in known:
        if held and all(map(fits, held)):
            return kind

    return "text"


def _is_code(text: str) -> bool:
    """Digits that begin with a nought, such as a postcode, are no number."""
    return len(text) > 1 and text[0] == "0" and text[1].isdigit()


def _is_date(text: str) -> bool:
    try:
        return date.fromisoformat(text).isoformat() == text
    except ValueError:
        return False


def _cell(text: str, kind: Kind) -> Cell:
    if not text:
        return None

    if kind == "integer":
        return int(text.replace(",", ""))

    return float(text.replace(",", "")) if kind == "number" else text
