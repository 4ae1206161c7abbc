"""What a file says: its text, and where its headings and pages stand in it. Offsets are characters."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

Form = Literal["markdown", "plain", "table"]
# No pattern here may take more than linear time: the texts come from anywhere.
_HEADING = re.compile(r"(?m)^ {0,3}(#{1,6})[ \t]+(\S.{,300})$|^(?!\s|[#>|*+-])(.{1,300})\n={3,}[ \t]*$")
_PLAIN_HEADING = re.compile(
    r"(?m)^(?P<underlined>\S.*)\n(?P<line>[=~^-])(?P=line){2,}[ \t]*$"
    r"|(?:(?<=\n\n)|\A)(?P<capitals>(?:(?:\d[\d.]*[ \t]+)?[A-Z][A-Z0-9 ,;:&'/()-]{3,70}(?:\n|\Z)){1,3})"
)
_FENCE = re.compile(r"(?ms)^ {0,3}(`{3,}|~{3,}).*?(?:^ {0,3}\1[ \t]*$|\Z)")
_FRONT_MATTER = re.compile(r"\A---\n(.*?)\n(?:---|\.\.\.)\n", re.DOTALL)
_FRONT_TITLE = re.compile(r"(?m)^title:(.+)$")
_MARKUP = re.compile(r"[*_`]{1,3}(?=\S)(.+?)(?<=\S)[*_`]{1,3}|!?\[([^\]]*)\]\([^)]*\)")
_UNFIT = str.maketrans(dict.fromkeys([*range(9), 11, *range(14, 32), 0xFEFF, 0xFFFE, 0xFFFF]))
_JUNK_TITLE = re.compile(
    r"(?i)microsoft |untitled|document\s?\d*$|powerpoint|presentation\s?\d*$|.*\.\w{3,4}$"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Heading:
    """A line that opens a section; its own line is `start` to `end`."""

    start: int
    end: int
    level: int
    title: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """A text to search. `pages` are (start, name) such as (1200, "page 2"), in order."""

    text: str
    form: Form = "markdown"
    title: str = ""
    headings: tuple[Heading, ...] = ()
    pages: tuple[tuple[int, str], ...] = ()

    def page_number(self, start: int) -> int | None:
        """The number of the page, slide or the like that `start` lies on; pages without text have no name."""
        names = [name for at, name in self.pages if at <= start] or [name for _, name in self.pages[:1]]
        return int(names[-1].split()[-1]) if names else None

    def page(self, start: int, end: int) -> str:
        """The name of the page that `start` lies on; of the first and last for a passage over several."""
        names = [name for at, name in self.pages if at < end]
        first = sum(at <= start for at, _ in self.pages) - 1
        inside = names[max(first, 0) :]
        return (
            ""
            if not inside
            else inside[0]
            if len(inside) == 1
            else f"{inside[0]} to {inside[-1].split()[-1]}"
        )


def markdown(text: str, *, title: str = "") -> Document:
    """A document whose headings are marked in its text."""
    text = clean(text)
    headings = tuple(_headings(text))
    return Document(text=text, title=_title(text, title, headings), headings=headings)


def slides(texts: Iterable[str], *, unit: str, title: str = "") -> Document:
    """A document of several pages of Markdown, each called `unit` and its number."""
    pages: list[tuple[int, str]] = []
    joined = ""
    for number, text in enumerate(map(clean, texts), start=1):
        pages.append((len(joined), f"{unit} {number}"))
        joined += text.strip() + "\n\n"

    whole = markdown(joined.rstrip(), title=title)
    return Document(text=whole.text, title=whole.title, headings=whole.headings, pages=tuple(pages))


def plain(text: str) -> Document:
    """A document without marks; lines that are underlined or in capitals are its headings."""
    text = clean(text)
    headings = tuple(_plain_headings(text))
    title = headings[0].title if headings and not text[: headings[0].start].strip() else ""
    return Document(text=text, form="plain", title=title, headings=headings)


def table(text: str) -> Document:
    """A table as comma or tab separated values."""
    return Document(text=clean(text), form="table")


def clean(text: str) -> str:
    """`text` with one kind of line end and no control characters, which SQLite and JSON would trip over."""
    return text.replace("\r\n", "\n").replace("\r", "\n").translate(_UNFIT)


def usable_title(title: str) -> str:
    """`title` as written by a person, or nothing where a program has put its own."""
    return "" if _JUNK_TITLE.match(title.strip()) else " ".join(clean(title).split())


def _headings(text: str) -> Iterator[Heading]:
    fences = [match.span() for match in _FENCE.finditer(text)]
    front = _FRONT_MATTER.match(text)
    for match in _HEADING.finditer(text, front.end() if front else 0):
        marked = (match[2] or match[3]).rstrip().rstrip("#")
        title = _MARKUP.sub(lambda m: m[1] or m[2] or "", marked).strip()
        if title and not any(start <= match.start() < end for start, end in fences):
            level = len(match[1] or "#")
            yield Heading(start=match.start(), end=match.end(), level=level, title=title)


def _plain_headings(text: str) -> Iterator[Heading]:
    for match in _PLAIN_HEADING.finditer(text):
        underlined = match["underlined"]
        title = " ".join((underlined or match["capitals"]).split())
        level = 1 if not text[: match.start()].strip() or match["line"] == "=" else 2
        end = match.start() + len(match[0].rstrip())
        yield Heading(start=match.start(), end=end, level=level, title=title)


def _title(text: str, given: str, headings: tuple[Heading, ...]) -> str:
    front = _FRONT_MATTER.match(text)
    named = _FRONT_TITLE.search(front[1]) if front else None
    first = headings[0].title if headings and headings[0].level == 1 else ""
    return named[1].strip(" \t\"'") if named else usable_title(given) or first
