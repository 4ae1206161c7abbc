"""`prune`: take old runs out of the journal, and their files out of the project."""

from __future__ import annotations

import asyncio
import shutil
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import typer

from agentflow.cli.definitions import opened, project_here
from agentflow.cli.listing import Choice
from agentflow.cli.output import DONE, count, err, out, print_json
from agentflow.cli.periods import moment, stamp
from agentflow.encoding import encode
from agentflow.exceptions import JournalConflict, JournalDamaged, ProjectError
from agentflow.journal import Journal, Pruned, RunRow

OVER = ("done", "failed", "rejected", "cancelled")
# So many runs are weighed; what others weigh is taken to be alike, by the number of their events.
WEIGHED = 200


def prune_runs(
    older_than: str,
    status: Sequence[str],
    workflow: str,
    *,
    is_dry: bool,
    is_sure: bool,
    as_json: bool,
) -> int:
    """Take out what was chosen, once a person is sure; gives the exit code."""
    if "running" in status:
        raise ProjectError(
            "a run that a process drives is never pruned", hint="cancel it: agentflow cancel RUN"
        )

    choice = replace(Choice.of(status or OVER, workflow), before=moment(older_than, "--older-than"))
    rows, size = asyncio.run(_found(choice))
    folders = [folder for row in rows if (folder := artifacts_of(project_here().root, row.run)) is not None]
    size += sum(_size(folder) for folder in folders)
    if not as_json:
        _say_what_goes(rows, size, choice, with_all=is_dry)

    if is_dry or not rows:
        removed = Pruned(runs=0, events=0, bytes=0)
    elif is_sure or _is_agreed(len(rows), as_json=as_json):
        removed = asyncio.run(_prune(choice, rows))
    else:
        out.print("nothing was taken out")
        return DONE

    if as_json:
        print_json(_data(rows, size, removed, is_dry=is_dry))
    elif removed.runs:
        out.print(
            f"took out {count(removed.runs, 'run')} with {count(removed.events, 'event')}; their heads are kept: agentflow runs --pruned"
        )

    return DONE


def _data(rows: Sequence[RunRow], size: int, removed: Pruned, *, is_dry: bool) -> dict[str, object]:
    return {
        "dry_run": is_dry,
        "found": {"runs": len(rows), "events": sum(row.events for row in rows), "bytes": size},
        "removed": {"runs": removed.runs, "events": removed.events, "bytes": removed.bytes},
        "run_ids": [row.run for row in rows],
    }


async def _found(choice: Choice) -> tuple[list[RunRow], int]:
    async with opened(read_only=True) as journal:
        rows = await choice.rows(journal)
        return rows, await _weight(journal, rows)


async def _weight(journal: Journal, rows: Sequence[RunRow]) -> int:
    """About how many bytes the events of runs take."""
    weighed = rows[:WEIGHED]
    events = sum(row.events for row in weighed)
    size = sum([await _weight_of(journal, row.run) for row in weighed])
    return size * sum(row.events for row in rows) // max(1, events)


async def _weight_of(journal: Journal, run: str) -> int:
    try:
        return sum(len(encode(event)) for event in await journal.read(run))
    except JournalDamaged:  # pruning is one way to be rid of it
        return 0


def _say_what_goes(rows: Sequence[RunRow], size: int, choice: Choice, *, with_all: bool) -> None:
    if not rows:
        out.print(f"nothing to prune: no run that is {', '.join(choice.status)} is that old")
        return

    if with_all:
        for row in rows:
            out.print(f"[dim]{row.run}  {row.status}  {stamp(row.updated)}  {row.events} events[/]")

    events = sum(row.events for row in rows)
    out.print(
        f"{count(len(rows), 'run')} with {count(events, 'event')}, about {_bytes(size)} with their files"
    )


def _bytes(size: int) -> str:
    return f"{size / 1e6:.1f} MB" if size >= 1e6 else f"{size / 1e3:.1f} kB"


def _is_agreed(number: int, *, as_json: bool) -> bool:
    if as_json or not sys.stdin.isatty():
        raise ProjectError(
            f"{count(number, 'run')} would be taken out for good",
            hint="add `--yes`, or `--dry-run` to only look",
        )

    return typer.confirm("Take them out for good?")


async def _prune(choice: Choice, rows: Sequence[RunRow]) -> Pruned:
    runs = [row.run for row in rows]
    async with opened() as journal:
        try:
            removed = await journal.prune(runs)
        except JournalConflict:
            # Somebody took one of them up since they were listed: what still fits goes.
            fitting = {row.run for row in await choice.rows(journal)}
            runs = [run for run in runs if run in fitting and await journal.holder(run) is None]
            removed = await journal.prune(runs)

    root = project_here().root
    for folder in filter(None, (artifacts_of(root, run) for run in runs)):
        try:
            shutil.rmtree(folder)
        except OSError as error:
            err.print(f"[yellow]`{folder}` stays:[/] {error.strerror or error}")

    return removed


def artifacts_of(root: Path, run: str) -> Path | None:
    """The folder of a run's files, where there is one; never one outside of `traces/artifacts`, whatever a run is called."""
    folder = root / "traces" / "artifacts" / run
    is_inside = Path(run).name == run and run not in ("", ".", "..")
    return folder if is_inside and folder.is_dir() and not folder.is_symlink() else None


def _size(folder: Path) -> int:
    return sum(path.lstat().st_size for path in folder.rglob("*") if path.is_file())
