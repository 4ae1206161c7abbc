"""`runs`: what is in the journal."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, Self

from rich.table import Table
from rich.text import Text

from agentflow.cli.definitions import opened
from agentflow.cli.output import DONE, out, plain, print_json
from agentflow.cli.periods import moment, stamp
from agentflow.events import (
    ApprovalAsked,
    ApprovalGiven,
    Event,
    OperationDoubted,
    OperationResolved,
    StepFailed,
    StepFinished,
)
from agentflow.exceptions import JournalDamaged, ProjectError
from agentflow.journal import Journal, RunRow
from agentflow.tracing.ids import hex_trace_id

STATUSES = ("done", "failed", "rejected", "cancelled", "interrupted", "waiting", "running", "open")
COLOURS = {
    "done": "green",
    "failed": "red",
    "rejected": "red",
    "damaged": "red",
    "waiting": "cyan",
    "interrupted": "yellow",
    "running": "blue",
    "open": "yellow",
}
# A longer run is not read only to say what it waits for.
READ = 2000


@dataclass(frozen=True, kw_only=True)
class Choice:
    """Which runs are meant."""

    status: Collection[str] = ()
    workflow: str = ""
    after: int | None = None
    before: int | None = None

    @classmethod
    def of(
        cls, status: Sequence[str], workflow: str, *, since: str | None = None, until: str | None = None
    ) -> Self:
        """What was asked for on the command line; raises `ProjectError` where that means nothing."""
        if unknown := [name for name in status if name not in STATUSES]:
            raise ProjectError(f"there is no status `{unknown[0]}`", hint=f"there are: {', '.join(STATUSES)}")

        return cls(
            status=tuple(status),
            workflow=workflow,
            after=moment(since, "--since") if since is not None else None,
            before=moment(until, "--until") if until is not None else None,
        )

    @property
    def is_narrow(self) -> bool:
        """Whether some runs are left out."""
        return self != Choice()

    async def rows(self, journal: Journal, *, limit: int | None = None, pruned: bool = False) -> list[RunRow]:
        """The runs that are meant, the newest first."""
        return await journal.runs(
            status=self.status,
            workflow=self.workflow,
            after=self.after,
            before=self.before,
            limit=limit,
            pruned=pruned,
        )


def list_runs(choice: Choice, limit: int, *, pruned: bool, as_json: bool) -> int:
    """Print the runs of the journal; gives the exit code."""
    if limit < 1:
        raise ProjectError(f"`--limit {limit}` lists nothing", hint="give a number from 1 on")

    rows, waits = asyncio.run(_rows(choice, limit, pruned=pruned))
    shown = rows[:limit]
    if as_json:
        print_json({"runs": [_row_data(row, waits) for row in shown], "more": len(rows) > limit})
    elif not shown:
        kind = "pruned runs" if pruned else "runs"
        out.print(f"no such {kind}" if choice.is_narrow else f"no {kind} yet")
    else:
        _print_rows(shown, waits, pruned=pruned)
        if len(rows) > limit:
            out.print(f"[dim]there are more: agentflow runs --limit {limit * 5}[/]")

    return DONE


async def _rows(choice: Choice, limit: int, *, pruned: bool) -> tuple[list[RunRow], dict[str, list[str]]]:
    """The rows, one more than `limit` where there are more, and what those that wait are waiting for."""
    async with opened(read_only=True) as journal:
        rows = await choice.rows(journal, limit=limit + 1, pruned=pruned)
        waits = {
            row.run: await _waits(journal, row.run)
            for row in rows[:limit]
            if row.status == "waiting" and row.events <= READ and not pruned
        }
        return rows, waits


async def _waits(journal: Journal, run: str) -> list[str]:
    try:
        return waited_for(await journal.read(run))
    except JournalDamaged:  # which is for those to say that are about this run alone
        return []


def waited_for(events: Sequence[Event]) -> list[str]:
    """What a run waits for people to say, in short, from its events alone: no definition is needed."""
    open_: dict[tuple[str, str], str] = {}
    for event in events:
        match event:
            case ApprovalAsked(step=step, digest=digest, tool=tool):
                open_[step, digest] = f"{step}:{tool}" if tool else step
            case OperationDoubted(step=step, operation=operation, name=name):
                open_[step, operation] = f"{step}:{name} in doubt"
            case ApprovalGiven(step=step, digest=about) | OperationResolved(step=step, operation=about):
                open_.pop((step, about), None)
            case StepFinished(step=step) | StepFailed(step=step, final=True):
                open_ = {key: name for key, name in open_.items() if key[0] != step}
            case _:
                pass

    return list(open_.values())


def _row_data(row: RunRow, waits: dict[str, list[str]]) -> dict[str, Any]:
    data = plain(row)
    known = {"waits_for": waits[row.run]} if row.run in waits else {}
    return {"run_id": data.pop("run"), **data, **known, "trace_id": hex_trace_id(row.run)}


def _print_rows(rows: Sequence[RunRow], waits: dict[str, list[str]], *, pruned: bool) -> None:
    table = Table(box=None, pad_edge=False)
    for name in ("run", "workflow", "status", "started", "took", "events", *(("head",) if pruned else ())):
        # The id is what other commands take: it is never cut.
        table.add_column(
            name,
            justify="right" if name in ("took", "events") else "left",
            no_wrap=name not in ("workflow", "status"),
        )

    for row in rows:
        took = f"{(row.updated - row.started) / 1e9:.1f} s"
        status = Text(row.status, style=COLOURS.get(row.status, ""))
        if waits.get(row.run):
            status.append(f": {_short(waits[row.run])}")

        head = (row.head[:16],) if pruned else ()
        table.add_row(row.run, row.workflow, status, stamp(row.started), took, str(row.events), *head)

    out.print(table)


def _short(names: Sequence[str]) -> str:
    said = [f"{name} ({number} times)" if number > 1 else name for name, number in Counter(names).items()]
    more = f" and {len(said) - 2} more" if len(said) > 2 else ""
    return ", ".join(said[:2]) + more
