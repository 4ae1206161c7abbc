"""`show --follow`: a run as it goes on in another process, until it ends or stops."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from agentflow.app import load
from agentflow.cli.definitions import opened
from agentflow.cli.output import DONE, FAILED, INTERRUPTED, WAITING, err, out
from agentflow.cli.summary import escape, print_heading, print_problems
from agentflow.cli.view import RunView
from agentflow.events import Event
from agentflow.journal import Journal
from agentflow.reporting.account import Account

# Seconds between looks at the journal; a look where nothing is new reads one row.
_PERIOD = 0.25
# Looks without a driver before a run counts as let go: one that is just being taken up has none for a moment.
_ALONE = 8
_ENDS = frozenset({"run.finished", "run.failed", "run.cancelled", "run.paused", "run.interrupted"})
_CODES = {"done": DONE, "waiting": WAITING, "interrupted": INTERRUPTED}


def follow_run(run_id: str) -> int:
    """Show a run live, then how it stands; gives the exit code of the run. Ctrl-C ends the watching only."""
    try:
        return asyncio.run(_follow(run_id))
    except KeyboardInterrupt:
        err.print(
            f"\n[dim]no longer watching; the run is left alone: agentflow show {escape(run_id)} --follow[/]"
        )
        return INTERRUPTED


async def _follow(run_id: str) -> int:
    events: list[Event] = []
    async with opened(read_only=True) as journal:
        with RunView(out, live=out.is_terminal) as view:
            async for event in _events(journal, run_id):
                view(event)
                events.append(event)

        account, head = Account.of(events), await journal.head(run_id)

    out.print()
    print_heading(account, head)
    print_problems(account)
    if account.status == "open":
        out.print("[yellow]no process drives this run any more[/]")

    return _CODES.get(account.status, FAILED)


async def _events(journal: Journal, run_id: str) -> AsyncIterator[Event]:
    """The events of a run as they come, from its first on."""
    seen, head, alone = 0, "", 0
    while True:
        now = await journal.head(run_id)
        if now != head or not seen:
            events = await load(journal, run_id)
            for event in events[seen:]:
                yield event

            seen, head, alone = len(events), now, 0
            if events[-1].type in _ENDS:
                return

        driven = await journal.holder(run_id) is not None
        alone = 0 if driven else alone + 1
        if alone > _ALONE:
            return

        await asyncio.sleep(_PERIOD)
