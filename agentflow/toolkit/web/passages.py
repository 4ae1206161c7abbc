"""A page's text as passages, each with the place that it stands at."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

_HEADING = re.compile(r"(#{1,6}) +(.+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Passage:
    """Characters `start` to `end` of a text, under `headings` from the outermost to the innermost."""

    start: int
    end: int
    headings: tuple[str, ...]


def passages(text: str, *, size: int = 1500) -> Iterator[Passage]:
    """The parts of a Markdown text: none over `size` characters, each with the headings that it begins with."""
    headings: dict[int, str] = {}
    start: int | None = None
    end = 0
    has_body = False
    for first, last in _blocks(text, size):
        heading = _HEADING.fullmatch(text, first, last)
        if start is not None and ((heading and has_body) or last - start > size):
            yield Passage(start=start, end=end, headings=tuple(headings.values()))
            start, has_body = None, False

        if heading:
            level = len(heading[1])
            headings = {depth: name for depth, name in headings.items() if depth < level}
            headings[level] = heading[2].strip()
        else:
            has_body = True

        start, end = first if start is None else start, last

    if start is not None:
        yield Passage(start=start, end=end, headings=tuple(headings.values()))


def _blocks(text: str, size: int) -> Iterator[tuple[int, int]]:
    """Start and end of each run of lines without an empty line, cut to `size`."""
    start: int | None = None
    place = end = 0
    # Line by line: a pattern over the whole text takes quadratic time on a hostile page of spaces.
    for line in text.splitlines(keepends=True):
        if line.strip():
            start = place + len(line) - len(line.lstrip()) if start is None else start
            end = place + len(line.rstrip())
        elif start is not None:
            yield from _cut(text, start, end, size)
            start = None

        place += len(line)

    if start is not None:
        yield from _cut(text, start, end, size)


def _cut(text: str, start: int, end: int, size: int) -> Iterator[tuple[int, int]]:
    while end - start > size:
        space = max(text.rfind(" ", start, start + size), text.rfind("\n", start, start + size))
        at = space if space > start + size // 2 else start + size
        yield start, at
        start = at
        while text[start].isspace():
            start += 1

    yield start, end
