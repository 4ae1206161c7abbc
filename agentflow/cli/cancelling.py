"""`cancel`: end a run for good."""

from __future__ import annotations

import asyncio

from agentflow import app
from agentflow.app.resuming import OVER
from agentflow.cli.definitions import events_of, opened, project_here
from agentflow.cli.output import DONE, FAILED, escape, out, print_json
from agentflow.journal import Journal, said_by

# Seconds: how long a process that drives the run has to record that it is cancelled, and how often that is looked for.
PATIENCE, POLL = 10.0, 0.1


def cancel_run(run_id: str, reason: str, *, as_json: bool) -> int:
    """Cancel a run, whoever drives it; gives the exit code."""
    return asyncio.run(_cancel(run_id, reason, as_json=as_json))


async def _cancel(run_id: str, reason: str, *, as_json: bool) -> int:
    # Looked for first, so that no journal is made.
    await events_of(run_id)
    heads = project_here().heads()
    async with opened() as journal:
        try:
            async with asyncio.timeout(PATIENCE):
                await app.cancel(journal, run_id, reason=reason, heads=heads)
                status = await _end(journal, run_id)
        except TimeoutError:
            status = "asked"

    if as_json:
        print_json({"run_id": run_id, "cancelled": status == "cancelled", "status": status})
    elif status == "cancelled":
        out.print(f"run `{escape(run_id)}` is cancelled")
    elif status == "asked":
        out.print(
            f"run `{escape(run_id)}` was asked to stop, but that is not confirmed after {PATIENCE:g} s\n"
            f"[cyan]hint:[/] see what became of it: agentflow show {escape(run_id)}"
        )
    else:
        out.print(f"run `{escape(run_id)}` ended before it could be cancelled: {status}")

    return DONE if status == "cancelled" else FAILED


async def _end(journal: Journal, run_id: str) -> str:
    """How a run that was told to end did end."""
    while True:
        last = (await app.load(journal, run_id))[-1]
        if last.type in (*OVER, "run.failed"):
            return said_by(last)

        # The one that records it is another process.
        await asyncio.sleep(POLL)
