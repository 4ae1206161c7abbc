"""Costs that are counted, not timed: calls, tasks, commits, bytes. They are the same on every machine."""

from __future__ import annotations

import asyncio
import gc
import sys
import tracemalloc
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any

from agentflow import MemoryJournal, Settings, SqliteJournal, Workflow, run
from agentflow.events import Event
from tests.benchmarks.plan import job_of

# Whose calls are counted, by job.
CALLS = {
    "a step of a chain": "W1/agentflow/1000",
    "a step of a short chain": "W1/agentflow/10",
    "a branch": "W2/agentflow/1000",
    "an iteration": "W3/agentflow/1000",
    "a turn": "W4/agentflow/20",
    "a durable step": "W5/agentflow, NORMAL/1000",
    "a step built and checked": "W6/agentflow, in line/1000",
    "a step with its span": "W9/agentflow, spans/100",
}
WAITING, HELD = ("approval, in memory", "timer, in memory"), 200


class Appending(MemoryJournal):
    """Counts how often events are appended, which in a file is a commit each."""

    def __init__(self) -> None:
        super().__init__()
        self.appends = 0

    async def append(self, run: str, events: Sequence[Event], *, durable: bool = False) -> None:
        self.appends += 1
        await super().append(run, events, durable=durable)


async def calls_of(work: Callable[[], Awaitable[object]]) -> int:
    """How many functions are called, of Python and of C, once all is loaded."""
    await work()
    called = 0

    def count(_: Any, event: str, __: Any) -> None:
        nonlocal called
        called += event in ("call", "c_call")

    # A collection in between would call what others have left.
    gc.collect()
    gc.disable()
    sys.setprofile(count)
    try:
        await work()
    finally:
        sys.setprofile(None)
        gc.enable()

    return called


async def calls_per_unit(job: str, folder: Path) -> float:
    """How many functions are called for a unit of a job."""
    known = job_of(job)
    case = await known.made()(known.size, folder)
    return await calls_of(case.run) / case.units


async def counts(folder: Path) -> dict[str, float]:
    """All that is held to what was recorded: calls a unit, and bytes that a waiting run takes."""
    calls = {f"calls, {name}": await calls_per_unit(job, folder) for name, job in CALLS.items()}
    held = {f"bytes, {case}": await held_bytes(case, HELD) for case in WAITING}
    return {name: round(value, 1) for name, value in (calls | held).items()}


async def tasks_of(work: Callable[[], Awaitable[object]]) -> int:
    """How many tasks are made."""
    loop, made = asyncio.get_running_loop(), 0

    def make(
        loop: asyncio.AbstractEventLoop, coro: Coroutine[Any, Any, Any], **options: Any
    ) -> asyncio.Task[Any]:
        nonlocal made
        made += 1
        return asyncio.Task(coro, loop=loop, **options)

    loop.set_task_factory(make)  # type: ignore[arg-type]
    try:
        await work()
    finally:
        loop.set_task_factory(None)

    return made


async def appends_of(workflow: Workflow[Any, Any], value: Any) -> int:
    """How often a run appends."""
    journal = Appending()
    await run(workflow, value, settings=Settings(journal=journal))
    return journal.appends


async def bytes_of_rows(workflow: Workflow[Any, Any], value: Any, folder: Path) -> list[int]:
    """The bytes of each row of a run's events, in order: data, hash and kind."""
    journal = SqliteJournal(folder / "j.db")
    await run(workflow, value, run_id="r", settings=Settings(journal=journal))
    rows = journal._db.execute("select length(data) + length(hash) + length(type) from events order by seq")
    found = [size for (size,) in rows]
    await journal.close()
    return found


async def held_bytes(case: str, runs: int) -> float:
    """Bytes that a waiting run takes as Python counts them, over so many in a memory journal."""
    from tests.benchmarks.holding import Held

    await Held(case, 1, MemoryJournal()).settle()
    held = Held(case, runs, MemoryJournal())
    gc.collect()
    tracemalloc.start()
    try:
        await held.begin()
        gc.collect()
        taken, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    await held.end()
    return taken / runs
