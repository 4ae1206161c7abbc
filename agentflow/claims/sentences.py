"""An answer's text, taken apart: sentences with the marks that belong to them, and what stands in quotation marks."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

MARK = re.compile(r"\[(\d{1,3}(?:\s*,\s*\d{1,3})*)\]")
# The end of a sentence, with the marks that follow it: `... in June. [2][3]`.
_END = re.compile(r"(?:[.!?…][\"”’»)\]]*(?:\s*\[\d[\d,\s]*\])*(?=\s|$))|\n+")
_LONGEST = 2000  # characters
_ABBREVIATED = re.compile(
    r"\b(?:e\.g|i\.e|etc|cf|vs|no|Nr|bzw|z\.B|approx|Mr|Mrs|Ms|Dr|St|p|pp)\.$", re.IGNORECASE
)
_QUOTED = (
    re.compile(r"“([^“”\n]+)”"),
    re.compile(r"„([^„“”\n]+)[“”]"),
    re.compile(r"«([^«»\n]+)»"),
    re.compile(r"(?<![\w\"])\"([^\"\n]+)\"(?!\w)"),
    # Marked as verbatim: a quoted block of Markdown, or said so.
    re.compile(r"^[ \t]*>[ \t]?(.+)$", re.MULTILINE),
    re.compile(r"\b(?:verbatim|quote|wörtlich)\s*:\s*(?![“„«\"])([^\n]+)", re.IGNORECASE),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """A part of the answer's text; `start` and `end` are character offsets, `marks` the citations it names."""

    text: str
    start: int
    end: int
    marks: Sequence[int] = ()


def sentences(text: str) -> list[Span]:
    """The sentences of a text, each with the marks in it and right behind it.

    One without marks has those of the next that has some, where both stand in one paragraph: they stand for all of it.
    """
    found: list[Span] = []
    at = 0
    for match in _END.finditer(text):
        if _ABBREVIATED.search(text[at : match.start() + 1]):
            continue

        found += _span(text, at, match.end())
        at = match.end()

    found += _span(text, at, len(text))
    for number in range(len(found) - 2, -1, -1):
        one, other = found[number], found[number + 1]
        if not one.marks and "\n" not in text[one.end : other.start]:
            found[number] = replace(one, marks=other.marks)

    return found


def _span(text: str, start: int, end: int) -> list[Span]:
    found: list[Span] = []
    while start < end:
        # What goes on without an end is taken apart at a space: no pattern need look at more than that.
        stop = (
            end
            if end - start <= _LONGEST
            else max(text.rfind(" ", start, start + _LONGEST), start + _LONGEST // 2)
        )
        piece = text[start:stop]
        if kept := piece.strip():
            first = start + len(piece) - len(piece.lstrip())
            found.append(Span(text=kept, start=first, end=first + len(kept), marks=tuple(marks_in(kept))))

        start = stop

    return found


def marks_in(text: str) -> Iterator[int]:
    """The numbers of the citations that a text names."""
    for match in MARK.finditer(text):
        yield from map(int, match[1].split(","))


def quotes(text: str) -> list[Span]:
    """What stands in quotation marks, or is marked as verbatim; of overlapping ones the first kind counts."""
    found: list[Span] = []
    for pattern in _QUOTED:
        for match in pattern.finditer(text):
            start, end = match.span(1)
            if all(end <= other.start or start >= other.end for other in found):
                found.append(Span(text=match[1], start=start, end=end))

    return sorted(found, key=lambda span: span.start)


# Kinds of quotation marks, apostrophes, dashes and spaces are the same to a reader.
_ALIKE = str.maketrans(
    {**dict.fromkeys("“”„«»", '"'), **dict.fromkeys("‘’‚`", "'"), **dict.fromkeys("‐‑‒–—−", "-")}
)


def plain(text: str) -> str:
    """A text as it is compared: one kind of white space, quotation mark and dash, and no capitals."""
    return " ".join(text.translate(_ALIKE).split()).casefold()


def unmarked(text: str) -> str:
    """A text without the marks of citations."""
    return MARK.sub("", text)


def is_joined(words: int, has_head: Callable[[int], bool], has_tail: Callable[[int], bool]) -> bool:
    """Whether a text of so many words is a beginning that is known and an end that is known, each of two words or more.

    What is known of a beginning is known of each shorter one, and so of ends: the longest of both decide, found by halving.
    """
    if words < 4:
        return False

    cuts = range(2, words - 1)
    longest = bisect_left(cuts, True, key=lambda n: not has_head(n))
    shortest = bisect_left(cuts, True, key=has_tail)
    return shortest < longest
