"""What a journal says when it refuses something, the same in every kind of journal."""

from __future__ import annotations

from agentflow.exceptions import JournalConflict
from agentflow.journal.owner import describe


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
