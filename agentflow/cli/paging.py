"""`report`: a run as one HTML file."""

from __future__ import annotations

import asyncio
from pathlib import Path

from rich.markup import escape

from agentflow.app import load
from agentflow.cli.definitions import opened
from agentflow.cli.output import DONE, out, print_json
from agentflow.events import Event
from agentflow.exceptions import ProjectError
from agentflow.reporting.page import page

_TRIES = 20


def report_run(run_id: str, target: Path | None, *, as_json: bool) -> int:
    """Write the page of a run; gives the exit code."""
    events, head, driven = asyncio.run(_read(run_id))
    path = target if target is not None else Path(f"{run_id}.html")
    data = page(events, head, driven=driven).encode()
    if not path.parent.is_dir():
        raise ProjectError(f"there is no folder `{path.parent}`", hint="make it first, or name another file")

    try:
        path.write_bytes(data)
    except OSError as error:
        raise ProjectError(f"`{path}` cannot be written: {error.strerror or error}") from None

    if as_json:
        print_json({"run_id": run_id, "file": str(path), "bytes": len(data), "head": head})
    else:
        out.print(f"wrote {escape(str(path))} [dim]({len(data):,} bytes; open it in a browser)[/]")

    return DONE


async def _read(run_id: str) -> tuple[list[Event], str, bool]:
    """The events of a run, their head, and whether a process drives it, which may append while we read."""
    async with opened(read_only=True) as journal:
        events, head = await load(journal, run_id), await journal.head(run_id)
        for _ in range(_TRIES):
            before, events, head = head, await load(journal, run_id), await journal.head(run_id)
            if head == before:
                break

        return events, head, await journal.holder(run_id) is not None
