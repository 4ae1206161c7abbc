"""What a collector is owed: runs of which it has not all, found without looking at those of which it has."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

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

PLACES = ("here", "there")
KINDS: list[Event] = [
    StepStarted(seq=0, at=9, step="s"),
    RunPaused(seq=0, at=9),
    RunResumed(seq=0, at=9, model="", version=""),
    RunFailed(seq=0, at=9, step="s", error=ErrorInfo(kind="E", message="")),
    RunFinished(seq=0, at=9, output=Payload(1)),
]


async def owed(journal: Journal) -> list[list[tuple[str, int]]]:
    return [sorted((one.run, one.upto) for one in await journal.deliveries(place)) for place in PLACES]


async def test_what_is_owed_is_what_comparing_all_runs_gives(tmp_path: Path) -> None:
    """However runs go on, stop and are delivered, in whatever order: a file tells what a journal in memory does, which compares."""
    chance = random.Random(5)
    memory, file = MemoryJournal(), SqliteJournal(tmp_path / "j.db")
    lengths: dict[str, int] = {}
    for _ in range(1500):
        run, place = f"r{chance.randrange(6)}", chance.choice(PLACES)
        length = lengths.get(run, 0)
        delivered = Delivered(run=run, place=place, upto=max(0, length - chance.choice((0, 0, 1))))
        kinds = chance.choices(KINDS, k=chance.randint(1, 3))
        events = [started(run), *kinds] if not length else kinds
        numbered = [replace(event, seq=length + n) for n, event in enumerate(events, 1)]
        is_append = chance.random() < 0.5
        for journal in (memory, file):
            if is_append:
                await journal.append(run, numbered)
            else:
                await journal.note_delivery(delivered)

        lengths[run] = length + len(numbered) * is_append
        assert await owed(file) == await owed(memory)
        assert await file.deliveries(place, run) == await memory.deliveries(place, run)

    await file.close()
