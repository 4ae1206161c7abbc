"""A page cut into the passages that can be quoted: paragraphs, list items and table rows, with their headings."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from agentflow.toolkit.browser.snapshot import Node

# fmt: off
_BLOCKS = frozenset({
    "alert", "article", "banner", "blockquote", "cell", "columnheader", "complementary", "contentinfo", "definition",
    "dialog", "figure", "form", "group", "heading", "iframe", "list", "listitem", "main", "navigation", "paragraph",
    "region", "row", "rowgroup", "rowheader", "search", "separator", "status", "table", "tabpanel", "term",
})
_CONTROLS = frozenset({
    "button", "checkbox", "combobox", "menuitem", "option", "radio", "searchbox", "slider", "spinbutton", "switch",
    "tab", "textbox",
})
# fmt: on
_FURNITURE = frozenset({"banner", "contentinfo", "navigation", "search"})
_NOTES = frozenset({"alert", "status"})
_NAMED = frozenset({"link", "img"})  # what is read out by its name when it holds no text
_TABLES = frozenset({"table", "grid", "treegrid"})
_SPACED = re.compile(r" ([.,;:!?)])(?= |$)")
_LONGEST_ITEM = 400
_LONGEST = 1500


@dataclass(frozen=True, slots=True, kw_only=True)
class Passage:
    """A text of a page; `place` is the path of headings above it. `note`: the page says it to its visitor."""

    text: str
    place: str = ""
    note: bool = False


def passages_of(root: Node) -> list[Passage]:
    """The passages of a page's main part (of all of it but its frame, if it names none), each once."""
    main = next((node for node in root.walk() if node.role == "main"), root)
    labels = frozenset(node.name for node in main.walk() if node.role in _CONTROLS)
    cutter = _Cutter(labels=labels)
    cutter.cut(main)
    cutter.end_heading(0)
    return list(dict.fromkeys(cutter.found))


@dataclass(slots=True, kw_only=True)
class _Cutter:
    """Walks a page in its order; `open` are the headings that stand above the present place."""

    labels: frozenset[str]
    found: list[Passage] = field(default_factory=list[Passage])
    open: list[tuple[int, str]] = field(default_factory=list[tuple[int, str]])
    empty: bool = False

    def cut(self, node: Node) -> None:
        if node.role in _FURNITURE or node.role in _CONTROLS:
            return

        if node.role == "heading":
            self.end_heading(node.level)
            self.open.append((node.level, node.name or node.inner_text()))
            self.empty = True
        elif node.role in _TABLES:
            self._rows(node)
        elif node.role == "listitem" and not _is_section(node):
            self._keep(self._joined(node.children) or node.inner_text())
        elif _holds_block(node):
            self._children(node.children)
        else:
            self._keep(self._spoken(node), note=node.role in _NOTES)

    def end_heading(self, level: int) -> None:
        """Leave the headings that a heading of `level` ends; one that nothing followed is a passage itself."""
        if self.empty and self.open and self.open[-1][0] >= level:
            text = self.open.pop()[1]
            self._keep(text)

        self.open = [row for row in self.open if row[0] < level]

    def _keep(self, text: str, *, note: bool = False) -> None:
        # The snapshot does not say whether a space stood between two elements; before a full stop there was none.
        text = _SPACED.sub(r"\1", " ".join(text.split()))
        if text:
            place = " > ".join(name for _, name in self.open)
            self.found.append(Passage(text=text[:_LONGEST], place=place, note=note))
            self.empty = False

    def _children(self, nodes: Iterable[Node]) -> None:
        """Cut siblings: inline neighbours are one text, and a term goes with its definition."""
        run: list[str] = []
        term = ""
        for node in nodes:
            if node.role == "term":
                term = node.inner_text()
            elif node.role == "definition" and term:
                self._keep(f"{term}: {node.inner_text()}")
                term = ""
            elif node.role in _BLOCKS or _holds_block(node):
                self._keep(" ".join(run))
                run = []
                self.cut(node)
            else:
                run.append(self._spoken(node))

        self._keep(" ".join(run))

    def _rows(self, table: Node) -> None:
        """One passage a row, each cell with the name of its column."""
        columns: list[str] = []
        for row in (node for node in table.walk() if node.role == "row"):
            names = [cell.inner_text() for cell in row.children if cell.role == "columnheader"]
            if names and len(names) == len(row.children):
                columns = names
            else:
                self._keep(_row(row, columns))

    def _joined(self, nodes: Sequence[Node]) -> str:
        between = " · " if any(node.role in _BLOCKS for node in nodes) else " "
        return between.join(filter(None, (self._spoken(node) for node in nodes)))

    def _spoken(self, node: Node) -> str:
        """The text of a node without controls and their labels, which are there to be used and not to be read."""
        if node.role in _CONTROLS or node.text in self.labels:
            return ""

        text = node.text or self._joined(node.children)
        return text or (node.name if node.role in _NAMED else "")


def _row(row: Node, columns: list[str]) -> str:
    cells = [(cell.role, cell.inner_text()) for cell in row.children]
    if len(cells) == 2 and cells[0][0] in {"rowheader", "term"}:
        return f"{cells[0][1]}: {cells[1][1]}"

    if len(columns) == len(cells):
        named = zip(columns, cells, strict=True)
        return ", ".join(f"{name}: {text}" if name else text for name, (_, text) in named)

    return ", ".join(text for _, text in cells if text)


def _is_section(item: Node) -> bool:
    below = [node.role for node in item.walk()][1:]
    return "heading" in below or "list" in below or len(item.inner_text()) > _LONGEST_ITEM


def _holds_block(node: Node) -> bool:
    return any(child.role in _BLOCKS or _holds_block(child) for child in node.children)
