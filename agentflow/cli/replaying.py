"""`replay`: execute a run again from its record, and say where it goes another way."""

from __future__ import annotations

import asyncio
import sys
from contextlib import nullcontext, redirect_stdout
from dataclasses import asdict
from pathlib import Path
from typing import Any

from agentflow import app
from agentflow.cli.definitions import definition_of, events_of
from agentflow.cli.output import DONE, FAILED, count, escape, out, print_json


def replay_run(run_id: str, file: str | None, *, as_json: bool) -> int:
    """Execute a run again; gives 0 where it goes the same way, and 1 where it does not."""
    events = asyncio.run(events_of(run_id))
    definition = definition_of(events, file)
    root = definition.project.root if definition.project is not None else Path.cwd()
    # What steps print must not come between a reader and the one document on standard output.
    with redirect_stdout(sys.stderr) if as_json else nullcontext():
        replayed = asyncio.run(app.replay_events(definition.workflow, events, root=root))

    if as_json:
        print_json(_data(replayed, len(events)))
    else:
        _print(replayed, len(events))

    return DONE if replayed.same else FAILED


def _data(replayed: app.Replayed[Any], total: int) -> dict[str, Any]:
    divergence = replayed.divergence
    return {
        "run_id": replayed.run_id,
        "same": replayed.same,
        "status": replayed.status,
        "events": {"recorded": total, "replayed": len(replayed.events)},
        "steps": replayed.steps,
        "calls": replayed.calls,
        "taken": replayed.taken,
        "divergence": None if divergence is None else asdict(divergence),
    }


def _print(replayed: app.Replayed[Any], total: int) -> None:
    name, found = escape(replayed.run_id), replayed.divergence
    done = f"{count(replayed.steps, 'step')} executed, {count(replayed.calls, 'call')} served from the record"
    if found is None:
        out.print(f"[bold green]same[/]: run `{name}` goes as recorded, {count(total, 'event')}; {done}")
        if replayed.taken:
            out.print(
                f"[dim]{count(replayed.taken, 'output')} taken as recorded: their definition is not there any more[/]"
            )

        return

    where = " · ".join(filter(None, (f"event {found.seq} of {total}", found.step, found.call)))
    out.print(f"[bold red]{found.what} differs[/]: run `{name}`, {escape(where)}")
    out.print(f"  recorded  {escape(found.recorded)}")
    out.print(f"  now       {escape(found.came)}")
    if found.hint:
        out.print(f"[cyan]hint:[/] {escape(found.hint)}")

    out.print(f"[dim]{done}, up to there[/]")
