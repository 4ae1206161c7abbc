"""A document from the pages of a PDF: running heads removed, lines joined to paragraphs, headings found."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from agentflow.toolkit.files.document import Document, Heading, clean, usable_title

_EDGE = 3  # lines at the top and the bottom of a page in which a running head may stand
_FULL = 0.75  # a line at least this long, as a share of the page's width, goes on in the next one
_WRAPPED = 30  # characters that a heading's line has at least if it goes on in the next one
_LONGEST = 90  # characters of a heading
_WINDOW = 2000  # lines to look through for a heading that may not be there
_LEAST = 6  # level of a heading
_MANY = 3  # headings with a number tell that the document numbers its headings
_CLOSING = tuple(".,;:!")
_NUMBERED = re.compile(r"(?:\d+(?:\.\d+)*|[A-Z]\d*|[IVX]+)[.)]?\s")
_BULLET = re.compile(r"\s*[•▪◦‣·*–-]\s")
_ITEM = re.compile(r"\s*(?:[•▪◦‣·*–-]\s|\(?\d{1,3}[.)]\s|[a-z][.)]\s)")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Line:
    text: str
    page: int
    full: bool = False
    level: int = 0  # of the heading that it is; 0 for text


def assemble(pages: Sequence[str], headings: Sequence[tuple[int, str]], *, title: str = "") -> Document:
    """One document from the plain text of each page; `headings` are the (level, title) of those known, in order."""
    text = ""
    starts: dict[int, int] = {}
    found: list[Heading] = []
    before: _Line | None = None
    for line in _with_headings(list(_lines(pages)), headings):
        text += _gap(before, line)
        starts.setdefault(line.page, len(text))
        if line.level:
            end = len(text) + len(line.text)
            found.append(Heading(start=len(text), end=end, level=line.level, title=line.text))

        text += line.text
        before = line

    first = next((heading.title for heading in found if heading.level == 1), "")
    named = tuple((start, f"page {page}") for page, start in starts.items())
    return Document(text=text, title=usable_title(title) or first, headings=tuple(found), pages=named)


def _lines(pages: Sequence[str]) -> Iterator[_Line]:
    split = [[line.strip() for line in clean(page).split("\n") if line.strip()] for page in pages]
    heads = _running_heads(split)
    for number, lines in enumerate(split, start=1):
        lengths = sorted(map(len, lines))
        width = lengths[len(lengths) * 9 // 10] if lengths else 0
        for place, line in enumerate(lines):
            at_edge = place < _EDGE or place >= len(lines) - _EDGE
            if not (at_edge and _without_numbers(line) in heads):
                yield _Line(text=line, page=number, full=len(line) >= max(_FULL * width, 40))


def _running_heads(pages: Sequence[Sequence[str]]) -> set[str]:
    """Lines that stand, but for their numbers, at the edge of most pages."""
    counts = Counter[str]()
    for lines in pages:
        counts.update({_without_numbers(line) for line in (*lines[:_EDGE], *lines[-_EDGE:])})

    return {line for line, count in counts.items() if count >= max(3, 0.6 * len(pages))}


def _without_numbers(line: str) -> str:
    return re.sub(r"\d+", "0", line)


def _with_headings(lines: Sequence[_Line], headings: Sequence[tuple[int, str]]) -> Iterator[_Line]:
    """`lines`, those that together say a heading made one line."""
    at = 0
    squeezed = [_squeezed(line.text) for line in lines]
    numbered = sum(bool(_NUMBERED.match(title)) for _, title in headings) >= _MANY
    for place, (level, title) in enumerate(headings):
        start, end = _find(squeezed, at, _squeezed(title))
        if not end:
            continue

        yield from lines[at:start]
        at = end
        if not _is_heading(title, lines[end : end + 1]):
            yield from lines[start:end]
            continue

        # A short line before the last is not the first half of a heading but what stood above it.
        first = max((n + 1 for n in range(start, end - 1) if len(lines[n].text) < _WRAPPED), default=start)
        yield from (replace(line, level=0 if start else level) for line in lines[start:first])
        said = " ".join(line.text for line in lines[first:end])
        # Between numbered headings one without a number is a lesser one, such as the head of a table.
        lesser = numbered and place and not _NUMBERED.match(said)
        yield _Line(text=said, page=lines[first].page, level=_LEAST if lesser else level)

    yield from lines[at:]


def _is_heading(title: str, following: Sequence[_Line]) -> bool:
    """Sentences and list items in bold or large type are taken for headings by the parser, but are none."""
    goes_on = bool(following) and following[0].text[0].islower()
    return not (goes_on or len(title) > _LONGEST or _BULLET.match(title) or title.rstrip()[-1:] in _CLOSING)


def _find(lines: Sequence[str], at: int, wanted: str) -> tuple[int, int]:
    """Start and end of the next lines that say `wanted` and no more; the end is 0 if there are none."""
    for start in range(at, min(at + _WINDOW, len(lines))):
        said = ""
        for end in range(start, len(lines)):
            said += lines[end]
            if said == wanted:
                return start, end + 1

            if not wanted.startswith(said):
                break

    return at, 0


def _squeezed(text: str) -> str:
    return "".join(filter(str.isalnum, text)).casefold()


def _gap(before: _Line | None, line: _Line) -> str:
    if before is None:
        return ""

    if before.level or line.level:
        return "\n\n"

    ends = before.text[-1] in ".!?:" and not line.text[0].islower()
    if before.full and not _ITEM.match(line.text) and not (ends and len(before.text) < 60):
        return " "

    return "\n"
