"""Documents to passages of about a paragraph, each inside one section and with its exact place."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from dataclasses import dataclass

from agentflow.toolkit.files.document import Document

_LABEL = 160  # characters that the name of a place has at most
_SLAB = 20_000  # characters given to the splitter at once
_GAP = re.compile(r"(?:\n[ \t]*){4,}")
_LONGEST_ROW = 20_000  # characters


@dataclass(frozen=True, slots=True, kw_only=True)
class Chunk:
    """A passage: characters `start` to `end` of its document, and what says where that is.

    `page` is the number of the page that it begins on. `context` is what is needed to understand the passage and stands before it: titles, the head of its table.
    """

    start: int
    end: int
    page: int | None = None
    heading: str = ""
    detail: str = ""
    context: str = ""


def chunks(document: Document, *, size: int = 900, overlap: int = 100) -> list[Chunk]:
    """The passages of `document`, each of at most `size` characters, sharing up to `overlap` with the next."""
    return list(
        _row_groups(document, size) if document.form == "table" else _passages(document, size, overlap)
    )


def _passages(document: Document, size: int, overlap: int) -> Iterator[Chunk]:
    from semantic_text_splitter import MarkdownSplitter, TextSplitter

    splitter = (MarkdownSplitter if document.form == "markdown" else TextSplitter)(size, overlap=overlap)
    for start, end, path in _sections(document):
        heading = _shortened(" > ".join(path))
        for slab, slab_end in _slabs(document.text, start, end):
            for offset, text in splitter.chunk_indices(document.text[slab:slab_end]):
                at = slab + offset
                yield _passage(document, at, at + len(text), heading, _table_head(document.text, start, at))


def _passage(document: Document, start: int, end: int, heading: str, head: str) -> Chunk:
    detail = [document.page(start, end), _columns(head, "|")]
    context = [document.title, heading, head]
    return Chunk(
        start=start,
        end=end,
        page=document.page_number(start),
        heading=heading,
        detail=", ".join(filter(None, detail)),
        context="\n".join(filter(None, context)),
    )


def _slabs(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    """`start` to `end` in parts, as the splitter's time grows with the square of the text and of its empty lines."""
    at = start
    for gap in [*(match.span() for match in _GAP.finditer(text, start, end)), (end, end)]:
        while gap[0] - at > _SLAB:
            cut = next(
                (c for mark in ("\n\n", "\n") if (c := text.rfind(mark, at + 1, at + _SLAB)) > 0), at + _SLAB
            )
            yield at, cut
            at = cut

        if gap[0] > at:
            yield at, gap[0]

        at = gap[1]


def _sections(document: Document) -> Iterator[tuple[int, int, tuple[str, ...]]]:
    """Start, end and heading path of each section; of one that says nothing, its heading is what it says."""
    headings = document.headings
    path: list[tuple[int, str]] = []
    yield 0, headings[0].start if headings else len(document.text), ()
    for number, heading in enumerate(headings):
        following = headings[number + 1] if number + 1 < len(headings) else None
        end = following.start if following else len(document.text)
        path = [(level, title) for level, title in path if level < heading.level]
        parents = [title for _, title in path]
        path.append((heading.level, heading.title))
        if document.text[heading.end : end].strip():
            yield heading.end, end, tuple(_below_title(document, [*parents, heading.title]))
        elif following is None or following.level <= heading.level:
            yield heading.start, heading.end, tuple(_below_title(document, parents))


def _below_title(document: Document, titles: list[str]) -> list[str]:
    """`titles` without a first one that only repeats the document's."""
    return titles[1:] if titles and document.title.startswith(titles[0]) else titles


def _table_head(text: str, section: int, at: int) -> str:
    """The head of the Markdown table that a passage starting at `at` begins inside of, if it does."""
    if not text.startswith("|", at):
        return ""

    before = max(text.rfind("\n\n", section, at), section)
    head = re.compile(r"(?m)^[ \t]*\|.*$").search(text, before, at)
    return head[0].strip() if head else ""


def _row_groups(document: Document, size: int) -> Iterator[Chunk]:
    rows = _rows(document.text)
    if not rows:
        return

    head = document.text[slice(*rows[0])].strip()
    columns = _columns(head, _delimiter(head))
    first = 0
    for number, (_, end) in enumerate(rows):
        following = rows[number + 1][1] if number + 1 < len(rows) else None
        if following is None or following - rows[first][0] > size:
            yield from _group(
                document, rows[first][0], end, f"rows {first + 1} to {number + 1}", head, columns, size
            )
            first = number + 1


def _group(
    document: Document, start: int, end: int, rows: str, head: str, columns: str, size: int
) -> Iterator[Chunk]:
    detail = f"{rows}, {columns}"
    context = "\n".join(filter(None, [document.title, head[:_LABEL] if start else ""]))
    text = document.text[start:end].rstrip("\n")
    # A single row may be longer than a passage; it is cut then, as the embedding would be.
    for at in range(start, start + len(text), 4 * size):
        stop = min(at + 4 * size, start + len(text))
        yield Chunk(start=at, end=stop, detail=detail, context=context)


def _rows(text: str) -> list[tuple[int, int]]:
    """Start and end of each row; line ends inside of quotes do not end one."""
    rows: list[tuple[int, int]] = []
    start = line = 0
    quoted = False
    while line < len(text):
        end = (text.find("\n", line) + 1) or len(text)
        quoted ^= text.count('"', line, end) % 2 == 1
        line = end
        # A row without an end is a stray quotation mark.
        if not quoted or end - start > _LONGEST_ROW or end == len(text):
            rows += [(start, end)] if text[start:end].strip() else []
            start, quoted = end, False

    return rows


def _delimiter(head: str) -> str:
    return max("\t;,", key=head.count)


def _columns(head: str, delimiter: str) -> str:
    cells = next(csv.reader([head[:_LONGEST_ROW]], delimiter=delimiter), [])
    names = [cell.strip() for cell in cells if cell.strip()]
    return _shortened(f"columns {', '.join(names)}") if names else ""


def _shortened(text: str) -> str:
    return text if len(text) <= _LABEL else text[: _LABEL - 1].rstrip() + "…"
