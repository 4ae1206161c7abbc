"""What a question about a table is read into: its columns, the parts of a program, periods of time."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from agentflow.exceptions import ModelCannot

_HINT = "name columns and values as the table does, or connect a language model: set OPENAI_API_KEY or OPENAI_BASE_URL, or pass --model"
_UNITS = re.compile(r"eur|usd|gbp|pct|percent|id|no|nr|num|name|the|of|in|is|has")


@dataclass(frozen=True, slots=True)
class Column:
    name: str
    type: str
    samples: tuple[str, ...]
    distinct: int

    @property
    def cell(self) -> str:
        return f"row[{json.dumps(self.name, ensure_ascii=False)}]"

    @property
    def words(self) -> list[str]:
        spaced = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", self.name).replace("_", " ").lower()
        return [w for w in re.findall(r"[^\W\d]+", spaced) if not _UNITS.fullmatch(w)]

    @property
    def is_id(self) -> bool:
        return self.type == "text" and bool(re.search(r"(?:^|_)(?:id|no|nr|number)$", self.name.lower()))

    @property
    def additive(self) -> bool:
        """Does a total of it mean something? One of prices or of percentages does not."""
        return not re.search(r"price|pct|percent|rate|rating|age|score|share|temperature", self.name.lower())


@dataclass(frozen=True, slots=True)
class Part:
    """A labelled piece of code: a group's key, a filter's condition, or what a total is divided by."""

    label: str
    code: str
    time: bool = False
    place: int = 0


@dataclass(frozen=True, slots=True)
class Period:
    label: str
    year: str
    first: int
    last: int

    def key(self, month: int) -> str:
        return f'"{self.year}-{month:02}"' if self.year else f'"{month:02}"'

    def cut(self, cell: str) -> str:
        return f"{cell}[:7]" if self.year else f"{cell}[5:7]"

    def inside(self, cell: str, end: Period | None = None) -> str:
        """The condition of lying in this period, or between its start and the end of `end`."""
        if end is None and self.last - self.first == 11:
            return f'{cell}[:4] == "{self.year}"'

        start, stop = self.key(self.first), (end or self).key((end or self).last)
        return f"{self.cut(cell)} == {start}" if start == stop else f"{start} <= {self.cut(cell)} <= {stop}"

    @property
    def bucket(self) -> str:
        return {2: "quarter", 11: "year"}.get(self.last - self.first, "month")


@dataclass(slots=True)
class Reading:
    """What has been understood so far, and the `text` that is left to place."""

    question: str
    asked: str
    text: str
    columns: Sequence[Column]
    aggregate: str = ""
    measure: Column | None = None
    rows: str = ""  # what the rows are called where the question counts them
    per: Part | None = None
    groups: list[Part] = field(default_factory=list[Part])
    filters: list[Part] = field(default_factory=list[Part])
    chosen: dict[str, list[str]] = field(default_factory=dict[str, "list[str]"])
    named: list[str] = field(default_factory=list[str])  # values that the program must find first
    only: list[str] = field(default_factory=list[str])  # the values whose share is asked for
    flag: Column | None = None  # the column of yes and no that is filtered on
    periods: list[Period] = field(default_factory=list[Period])
    within: str = ""  # the group inside which a ranking is made
    limit: int = 0
    ranked: str = ""
    superlative: bool = False
    share: bool = False
    growth: bool = False
    versus: bool = False
    confidence: float = 0.92

    def take(self, pattern: str) -> re.Match[str] | None:
        """The first match of `pattern` as whole words, blanked out of the text."""
        match = re.search(rf"(?<!\w)(?:{pattern})(?!\w)", self.text)
        if match:
            start, end = match.span()
            self.text = self.text[:start] + ";" * (end - start) + self.text[end:]

        return match

    def of(self, kind: str) -> list[Column]:
        return [c for c in self.columns if c.type == kind]

    @property
    def date(self) -> str:
        """The code of a row's date."""
        dates = [c for c in self.of("date") if all(re.match(r"\d{4}-\d\d", s) for s in c.samples)]
        if not dates:
            raise cannot("the time in the question", "no column holds dates written as YYYY-MM-DD")

        return dates[0].cell

    @property
    def in_time(self) -> bool:
        return any(g.time for g in self.groups)

    def group(self, label: str, code: str, *, time: bool = False, place: int = 0) -> None:
        if label not in {g.label for g in self.groups}:
            self.groups.append(Part(label, code, time, place))


def cannot(part: str, why: str) -> ModelCannot:
    return ModelCannot(f"the embedded model cannot write a program for {part}: {why}", hint=_HINT)
