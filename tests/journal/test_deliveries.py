"""What a collector is owed: runs of which it has not all, found without looking at those of which it has."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from agentflow import MemoryJournal, SqliteJournal
from agentflow.events import (
    ErrorInfo,
    Event,
    Payload,
    RunFailed,
    RunFinished,
    RunPaused,
    RunResumed,
    StepStarted,
)
from agentflow.journal import Delivered, Journal
from tests.journal.examples import started

RUNS, PLACES = ("a", "b"), ("here", "there")
KINDS: dict[str, Event] = {
    "step": StepStarted(seq=0, at=9, step="s"),
    "paused": RunPaused(seq=0, at=9),
    "resumed": RunResumed(seq=0, at=9, model="", version=""),
    "failed": RunFailed(seq=0, at=9, step="s", error=ErrorInfo(kind="E", message="")),
    "done": RunFinished(seq=0, at=9, output=Payload(1)),
}
# Events that are appended together, or how many of a run's events are noted as delivered, from the last one back.
ACTIONS = st.lists(
    st.tuples(
        st.sampled_from(RUNS),
        st.lists(st.sampled_from(sorted(KINDS)), min_size=1, max_size=3) | st.integers(0, 2),
        st.sampled_from(PLACES),
    ),
    max_size=14,
)


async def owed_after(journal: Journal, actions: Sequence[tuple[str, list[str] | int, str]]) -> list[object]:
    """What each place is owed after each action."""
    lengths: dict[str, int] = {}
    seen: list[object] = []
    for run, what, place in actions:
        length = lengths.get(run, 0)
        if isinstance(what, int):
            await journal.note_delivery(Delivered(run=run, place=place, upto=max(0, length - what)))
        else:
            first = [started(run, at=RUNS.index(run))] if not length else []
            events = [*first, *(KINDS[name] for name in what)]
            numbered = [replace(event, seq=length + n) for n, event in enumerate(events, 1)]
            await journal.append(run, numbered)
            lengths[run] = length + len(events)

        seen.append([sorted((d.run, d.upto) for d in await journal.deliveries(place)) for place in PLACES])
        seen.append([await journal.deliveries(place, run) for place in PLACES])

    await journal.close()
    return seen


@given(ACTIONS)
@settings(deadline=None, max_examples=40)
def test_what_is_owed_is_what_comparing_all_runs_gives(
    actions: Sequence[tuple[str, list[str] | int, str]],
) -> None:
    """However runs go on, stop and are delivered, in whatever order: a file tells what a journal in memory does, which compares."""
    with tempfile.TemporaryDirectory() as folder:
        file = asyncio.run(owed_after(SqliteJournal(Path(folder) / "j.db"), actions))

    assert file == asyncio.run(owed_after(MemoryJournal(), actions))
