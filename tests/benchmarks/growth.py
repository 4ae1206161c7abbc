"""How costs grow: what one unit costs at ten times the size, from the rows of a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

# What a unit may cost at ten times the size, at most.
LIMIT = 1.3


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """What grows, and the rows that show it; a floor is there to compare with."""

    title: str
    workload: str
    subject: str
    axis: str
    is_floor: bool = False


SERIES = (
    Series(title="a step of a chain", workload="W1", subject="agentflow", axis="steps"),
    Series(title="a branch of a fan-out", workload="W2", subject="agentflow", axis="branches"),
    Series(title="an iteration of a loop", workload="W3", subject="agentflow", axis="iterations"),
    Series(title="a turn of an agent", workload="W4", subject="agentflow", axis="turns"),
    Series(title="a turn of the bare SDK", workload="W4", subject="bare SDK", axis="turns", is_floor=True),
    Series(title="a durable step", workload="W5", subject="agentflow, NORMAL", axis="steps"),
    Series(title="a step built and checked", workload="W6", subject="agentflow, in line", axis="steps"),
    Series(
        title="a step built and checked, random graph",
        workload="W6",
        subject="agentflow, random",
        axis="steps",
    ),
    Series(
        title="an event of a run taken up", workload="long run", subject="resume", axis="events of the run"
    ),
    Series(title="an event verified", workload="long run", subject="verify", axis="events of the run"),
    Series(title="an event replayed", workload="long run", subject="replay", axis="events of the run"),
    *(
        Series(title=title, workload="journal", subject=subject, axis="events in the journal")
        for title, subject in (
            ("a step of one more run", "one more run"),
            ("a page of runs", "runs"),
            ("a page of runs that wait", "runs --status waiting"),
            ("a page of runs since a moment", "runs --since"),
            ("a page of runs until a moment", "runs --until"),
            ("a page of runs of a workflow that has few", "runs --workflow"),
            ("a page of runs that a collector is owed", "owed to a collector"),
            ("one run read", "read one"),
            ("one run taken up and finished", "resume one"),
            ("one run verified", "verify one"),
            ("a run pruned", "prune"),
            ("figures over all runs, a run", "stats"),
        )
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Growth:
    """The sizes of a series, the microseconds of CPU of a unit at each, and the worst factor for ten times the size."""

    series: Series
    sizes: tuple[int, ...]
    cpu_us: tuple[float, ...]
    factor: float

    @property
    def is_within(self) -> bool:
        """Whether a unit costs no more than it may."""
        return self.series.is_floor or self.factor <= LIMIT


def growths(rows: Sequence[Mapping[str, Any]]) -> list[Growth]:
    """Of each series with two sizes or more, how it grows."""
    found: list[Growth] = []
    for series in SERIES:
        points = sorted(
            (row["size"], row["cpu_us"]["median"])
            for row in rows
            if (row["workload"], row["subject"]) == (series.workload, series.subject) and "cpu_us" in row
        )
        if len(points) > 1:
            sizes, costs = zip(*points, strict=True)
            found.append(Growth(series=series, sizes=sizes, cpu_us=costs, factor=factor(points)))

    return found


def factor(points: Sequence[tuple[int, float]]) -> float:
    """How many times more a unit costs at the next larger size, at worst; the smallest size may be the dearest."""
    return max(after / before for (_, before), (_, after) in pairwise(points))
