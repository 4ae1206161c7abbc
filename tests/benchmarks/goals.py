"""What is wanted of each workload, and where the figures of it stand: the rows of the document's table."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tests.benchmarks.table import number

Row = Mapping[str, Any]


class Figures:
    """The rows of a run, found by workload, subject and size."""

    def __init__(self, rows: Sequence[Row]) -> None:
        self._rows = {(row["workload"], row["subject"], row["size"]): row for row in rows}

    def of(self, workload: str, subject: str, size: int) -> Row:
        return self._rows[workload, subject, size]

    def cpu(self, workload: str, subject: str, *sizes: int) -> list[float]:
        """Median microseconds of CPU a unit, at each size."""
        return [float(self.of(workload, subject, size)["cpu_us"]["median"]) for size in sizes]

    def wall(self, workload: str, subject: str, size: int) -> float:
        """Median microseconds of wall time a unit."""
        return float(self.of(workload, subject, size)["wall_us"]["median"])


Told = Callable[[Figures], str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Goal:
    """One row: what is measured, how agentflow and the floor stand, what is wanted, and by which name peers are known."""

    what: str
    ours: Told
    floor: Told
    wanted: str
    peers: str = ""


def _cpu(workload: str, subject: str, *sizes: int) -> Told:
    return lambda figures: _text(figures.cpu(workload, subject, *sizes))


def _text(values: Sequence[float]) -> str:
    return " / ".join(number(value) for value in values)


def _growth(workload: str, subject: str, size: int) -> Told:
    return lambda figures: number(figures.of(workload, subject, size)["growth_mb"])


def _note(workload: str, subject: str, name: str, *sizes: int) -> Told:
    return lambda figures: _text([figures.of(workload, subject, size)["notes"][name] for size in sizes])


def _seconds(subject: str) -> Told:
    return lambda figures: f"{figures.wall('W7', subject, 1_000) * 10_000 / 1e6:.2f}"


def _milliseconds(subject: str) -> Told:
    return lambda figures: number(figures.cpu("W8", subject, 1)[0] / 1e3)


def _added(traced: tuple[str, str, int], plain: tuple[str, str, int]) -> Told:
    return lambda figures: number(figures.cpu(*traced)[0] - figures.cpu(*plain)[0])


def _full(figures: Figures) -> str:
    step, commit = figures.wall("W5", "agentflow, FULL", 100), figures.wall("W5", "commit, FULL", 100)
    return f"{number(step)} ({step / commit:.2f} x)"


def _turns(figures: Figures) -> str:
    ours, bare = figures.cpu("W4", "agentflow", 20, 200), figures.cpu("W4", "bare SDK", 20, 200)
    ratios = " / ".join(f"{a / b:.2f} x" for a, b in zip(ours, bare, strict=True))
    return f"{_text(ours)} ({ratios})"


def _nothing(_: Figures) -> str:
    return ""


GOALS = (
    Goal(
        what="W1 chain, a step at 10 / 100 / 1,000",
        ours=_cpu("W1", "agentflow", 10, 100, 1_000),
        floor=_cpu("W1", "task", 10, 100, 1_000),
        wanted="20, the same within 20 %",
        peers="W1",
    ),
    Goal(
        what="W2 fan-out, a branch at 1,000 / 10,000",
        ours=_cpu("W2", "agentflow", 1_000, 10_000),
        floor=_cpu("W2", "gather", 1_000, 10_000),
        wanted="20 at both",
        peers="W2",
    ),
    Goal(
        what="W2 memory of 10,000 branches, MB",
        ours=_growth("W2", "agentflow", 10_000),
        floor=_growth("W2", "gather", 10_000),
        wanted="40",
        peers="W2 memory",
    ),
    Goal(
        what="W3 loop, an iteration",
        ours=_cpu("W3", "agentflow", 1_000),
        floor=_cpu("W3", "await", 1_000),
        wanted="20",
        peers="W3",
    ),
    Goal(
        what="W4 agent, a turn of 20 / 200 (beside the bare SDK)",
        ours=_turns,
        floor=_cpu("W4", "bare SDK", 20, 200),
        wanted="1.15 x the bare SDK; at 200 at most 1.5 x that at 20",
        peers="W4",
    ),
    Goal(
        what="W5 durable step, NORMAL, at 100 / 1,000",
        ours=_cpu("W5", "agentflow, NORMAL", 100, 1_000),
        floor=_cpu("W5", "commit, NORMAL", 100),
        wanted="60",
        peers="W5 NORMAL",
    ),
    Goal(
        what="W5 durable step, FULL, wall (beside a raw commit)",
        ours=_full,
        floor=lambda figures: number(figures.wall("W5", "commit, FULL", 100)),
        wanted="1.5 x a raw commit",
        peers="W5 FULL",
    ),
    Goal(
        what="W5 bytes a step at 10 / 100 / 1,000",
        ours=_note("W5", "agentflow, NORMAL", "bytes_per_unit", 10, 100, 1_000),
        floor=_nothing,
        wanted="300 and payload, whatever the graph's size",
        peers="W5 bytes",
    ),
    Goal(
        what="W6 build and check, in line, a step of 1,000 / 10,000",
        ours=_cpu("W6", "agentflow, in line", 1_000, 10_000),
        floor=_cpu("W6", "graphlib, in line", 1_000, 10_000),
        wanted="10, linear",
        peers="W6 in line",
    ),
    Goal(
        what="W6 the same, and compiled to what runs",
        ours=_cpu("W6", "agentflow, in line, ready to run", 1_000, 10_000),
        floor=_nothing,
        wanted="",
    ),
    Goal(
        what="W6 build and check, random acyclic, a step of 1,000 / 10,000",
        ours=_cpu("W6", "agentflow, random", 1_000, 10_000),
        floor=_cpu("W6", "graphlib, random", 1_000, 10_000),
        wanted="15, linear",
        peers="W6 random",
    ),
    Goal(
        what="W7 1,000 runs of 10 steps of 50 ms, wall seconds",
        ours=_seconds("agentflow"),
        floor=_seconds("sleep"),
        wanted="0.65",
        peers="W7",
    ),
    Goal(
        what="W7 memory, MB",
        ours=_growth("W7", "agentflow", 1_000),
        floor=_growth("W7", "sleep", 1_000),
        wanted="15",
        peers="W7 memory",
    ),
    Goal(
        what="W8 import of all that defines and runs a workflow, ms",
        ours=_milliseconds("agentflow, imported"),
        floor=_milliseconds("asyncio imported"),
        wanted="100",
        peers="W8",
    ),
    Goal(
        what="W8 memory after it, MB",
        ours=_note("W8", "agentflow, imported", "process_mb", 1),
        floor=_note("W8", "asyncio imported", "process_mb", 1),
        wanted="35",
        peers="W8 memory",
    ),
    Goal(
        what="W8 the same with a workflow of one step checked and run, ms",
        ours=_milliseconds("agentflow, one step run"),
        floor=_nothing,
        wanted="",
    ),
    Goal(
        what="W9 what a span adds to a step",
        ours=_added(("W9", "agentflow, spans", 100), ("W1", "agentflow", 100)),
        floor=_cpu("W9", "SDK span", 100),
        wanted="25",
        peers="W9",
    ),
    Goal(
        what="W9 what no collector adds to a step",
        ours=_added(("W9", "agentflow, no collector", 100), ("W1", "agentflow", 100)),
        floor=_cpu("W9", "no SDK", 100),
        wanted="2",
    ),
    Goal(
        what="W9A what two spans add to a turn",
        ours=_added(("W9A", "agentflow, spans", 20), ("W4", "agentflow", 20)),
        floor=_nothing,
        wanted="60",
        peers="W9A",
    ),
)
