"""What can be done to a run without driving it: look at what it waits for, cancel it, leave an answer."""

from __future__ import annotations

import time
from typing import Any

from agentflow.app import requests
from agentflow.app.compose import Settings, runner_of
from agentflow.app.lease import Lease
from agentflow.app.result import user_name
from agentflow.app.resuming import OVER, load, refuse_over
from agentflow.audit.heads import Head, Heads
from agentflow.encoding import chain_of
from agentflow.engine.people import Waiting
from agentflow.engine.recovery import recover
from agentflow.engine.runner import Runner
from agentflow.events import RunCancelled, RunStarted
from agentflow.exceptions import RunBusy
from agentflow.journal import Journal
from agentflow.workflow import Workflow


async def cancel(
    journal: Journal, run_id: str, *, reason: str = "cancelled", by: str = "", heads: Heads | None = None
) -> None:
    """End a run for good, whoever drives it; returns once that is recorded, or was taken by the one that drives it.

    What is running is stopped: a tool that awaits something learns it at once, a plain function in a thread only at its end.
    """
    by = by or user_name()
    while True:
        refuse_over(run_id, await load(journal, run_id))
        if await requests.deliver(journal, run_id, requests.cancellation(reason, by)):
            return

        if await _cancelled_here(journal, run_id, reason, by):
            if heads is not None:
                await keep_head(journal, run_id, heads)

            return


async def keep_head(journal: Journal, run_id: str, heads: Heads) -> Head:
    """Have the head of a run kept as it is now; raises `JournalDamaged` where its events are not what was written."""
    events = await load(journal, run_id)
    first = events[0]
    return heads.keep(
        run=run_id,
        workflow=first.workflow if isinstance(first, RunStarted) else "",
        count=len(events),
        head=await journal.head(run_id),
        chain=chain_of(first),
    )


async def _cancelled_here(journal: Journal, run_id: str, reason: str, by: str) -> bool:
    lease = Lease(journal, run_id)
    try:
        await lease.take()
    except RunBusy:
        return False  # somebody took it up at this moment: ask them

    try:
        last = (await load(journal, run_id))[-1]
        if last.type not in OVER:
            event = RunCancelled(seq=last.seq + 1, at=time.time_ns(), reason=reason, by=by)
            await journal.append(run_id, [event])
    finally:
        await lease.give_back()

    return True


async def waiting_in(workflow: Workflow[Any, Any], run_id: str, settings: Settings) -> list[Waiting]:
    """What a run waits for people to say, read from its journal."""
    return (await _folded(workflow, run_id, settings)).waiting()


async def is_due(workflow: Workflow[Any, Any], run_id: str, settings: Settings) -> bool:
    """Whether something has come up in a run that nobody drives: a point in time has passed, or somebody left an answer."""
    runner = await _folded(workflow, run_id, settings)
    now = time.time_ns()
    due = any(a.due and a.due <= now for a in runner.state.active.values())
    return due or bool(await runner.journal.requests(run_id))


async def _folded(workflow: Workflow[Any, Any], run_id: str, settings: Settings) -> Runner:
    runner = runner_of(workflow, run_id, settings)
    recover(runner, await load(settings.journal, run_id))
    return runner
