"""What a journal says when it refuses something, the same in every kind of journal."""

from __future__ import annotations

from agentflow.exceptions import JournalConflict, UnknownName
from agentflow.journal import Journal
from agentflow.journal.owner import describe

# Among so many of the newest runs the one is looked for that a misspelt name may stand for.
_NAMED = 1000


def continued_elsewhere(run: str, known: int, came: int) -> JournalConflict:
    return JournalConflict(
        f"run `{run}` was continued elsewhere: it has {known} events, and event {came} came"
    )


def was_pruned(run: str) -> JournalConflict:
    return JournalConflict(f"run `{run}` was pruned from this journal", hint="begin a run with another id")


def is_driven(run: str, owner: str) -> JournalConflict:
    return JournalConflict(
        f"run `{run}` cannot be pruned: {describe(owner)} drives it",
        hint="wait until it has ended, or cancel it",
    )


async def unknown_run(journal: Journal, run: str) -> UnknownName:
    """That there is no such run, with those that may be meant."""
    return UnknownName("run", run, [row.run for row in await journal.runs(limit=_NAMED)])
