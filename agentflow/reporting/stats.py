"""Figures over many runs: how many went well, how long they took, what they used; by workflow, step, tool and model."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from math import ceil

from agentflow.journal import RunRow
from agentflow.journal.skimming import Skimmed
from agentflow.reporting.account import node_of

# How a run can be over, for good or until somebody takes it up.
_ENDED = ("done", "failed", "rejected", "cancelled")
# The error of what was let go without having failed.
_LET_GO = "CancelledError"


@dataclass(slots=True)
class Tally:
    """What came of many of one kind: runs of a workflow, or executions of a step, calls of a tool or a model.

    `took` holds the nanoseconds of each that ended.
    """

    count: int = 0
    ok: int = 0
    failed: int = 0
    took: list[int] = field(default_factory=list[int])
    model_calls: int = 0
    tool_calls: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    usd: float = 0.0
    errors: Counter[str] = field(default_factory=Counter[str])

    @property
    def success(self) -> float | None:
        """The share of those that ended which went well; None where none has ended."""
        ended = self.ok + self.failed
        return self.ok / ended if ended else None

    @property
    def tokens(self) -> int:
        return self.input_tokens + self.output_tokens

    def seconds(self, share: float) -> float | None:
        """The time within which that share of them ended (nearest rank); None where none has ended."""
        if not self.took:
            return None

        self.took.sort()
        return self.took[max(0, ceil(share * len(self.took)) - 1)] / 1e9

    def ended(self, took: int, error: str) -> None:
        """Count one that ended."""
        self.took.append(took)
        self.ok += not error
        self.failed += bool(error)
        if error:
            self.errors[error] += 1

    def used(self, skimmed: Skimmed) -> None:
        """Add what a model call used."""
        usage = skimmed.usage or {}
        self.input_tokens += int(usage.get("input_tokens") or 0)
        self.output_tokens += int(usage.get("output_tokens") or 0)
        self.usd += float(usage.get("usd") or 0)


Tallies = dict[str, Tally]


@dataclass(slots=True)
class Stats:
    """The figures. Steps are named with their workflow, as `research/plan`."""

    total: Tally = field(default_factory=Tally)
    statuses: Counter[str] = field(default_factory=Counter[str])
    workflows: Tallies = field(default_factory=Tallies)
    steps: Tallies = field(default_factory=Tallies)
    tools: Tallies = field(default_factory=Tallies)
    models: Tallies = field(default_factory=Tallies)

    @classmethod
    def of(cls, rows: Sequence[RunRow], skimmed: Iterable[Skimmed]) -> Stats:
        """The figures of runs, in one pass over what their steps and operations come to."""
        stats = cls()
        for row in rows:
            stats._run(row)

        counting = _Counting(stats, {row.run: row.workflow for row in rows})
        for one in skimmed:
            counting.add(one)

        return stats

    def _run(self, row: RunRow) -> None:
        self.statuses[row.status] += 1
        for tally in (self.total, self.workflows.setdefault(row.workflow, Tally())):
            tally.count += 1
            if row.status in _ENDED:
                tally.ended(row.updated - row.started, "" if row.status == "done" else row.status)


class _Counting:
    """One pass over the steps and operations of runs, which come run by run."""

    def __init__(self, stats: Stats, workflows: dict[str, str]) -> None:
        self._stats, self._workflows = stats, workflows
        self._run = ""
        self._steps: dict[str, int] = {}
        self._operations: dict[tuple[str, str], Skimmed] = {}

    def add(self, one: Skimmed) -> None:
        if one.run != self._run:
            # What has not ended in its run never will.
            self._run, self._steps, self._operations = one.run, {}, {}

        if one.type == "step.started":
            self._steps[one.step] = one.at
            self._step(one.step).count += 1
        elif one.type == "operation.started":
            self._operations[one.step, one.operation] = one
        elif one.type == "operation.finished":
            self._operation_ended(one)
        elif (began := self._steps.pop(one.step, None)) is not None:
            self._step(one.step).ended(one.at - began, one.error)

    def _step(self, activation: str) -> Tally:
        name = f"{self._workflows[self._run]}/{node_of(activation)}"
        return self._stats.steps.setdefault(name, Tally())

    def _operation_ended(self, one: Skimmed) -> None:
        begun = self._operations.pop((one.step, one.operation), None)
        if begun is None or begun.kind not in ("chat", "tool"):
            return

        is_model = begun.kind == "chat"
        around = (self._stats.total, self._stats.workflows[self._workflows[self._run]], self._step(one.step))
        for tally in around:
            tally.model_calls += is_model
            tally.tool_calls += not is_model
            tally.used(one)

        own = (self._stats.models if is_model else self._stats.tools).setdefault(begun.name, Tally())
        own.count += 1
        own.used(one)
        if one.error != _LET_GO:
            own.ended(one.at - begun.at, one.error)
