"""How a SQLite journal bears up: with many runs in it, up to a million events; and with many events in one run."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from agentflow import Approval, Decision, MemoryJournal, Settings, SqliteJournal, Workflow, each, resume, run
from agentflow.app import replay_events
from agentflow.audit.rows import verify_rows
from agentflow.events import Event, RunStarted
from agentflow.reporting.stats import Stats
from tests.benchmarks.case import Case
from tests.benchmarks.floors import expects
from tests.benchmarks.flows import chain, count, gated, same, split

STEPS = 10
LISTED = 20  # runs on the first page of a list, for which one more is asked to see whether there are more
PRUNED = 5  # runs that are pruned together
TAKEN = 20  # runs that are taken up in a sample: one alone would be little more than noise


async def events_of_one() -> list[Event]:
    """The events of a finished run of `STEPS` steps."""
    journal = MemoryJournal()
    await run(chain(STEPS), 0, run_id="r", settings=Settings(journal=journal))
    return await journal.read("r")


def as_another(events: Sequence[Event], number: int) -> list[Event]:
    """The same events as those of another run, a second later for each number."""
    copied: list[Event] = []
    for event in events:
        later = replace(event, at=event.at + number * 10**9, seq=event.seq)
        copied.append(replace(later, run=f"r{number}", seq=1) if isinstance(later, RunStarted) else later)

    return copied


async def full_of(events: int, folder: Path) -> SqliteJournal:
    """A journal that holds so many events of finished runs; made once for a folder, from the next smaller one."""
    file = folder / f"runs-{events}.db"
    if not file.exists():
        making = _begun(file, folder / f"runs-{events // 10}.db")
        await _filled(making, events)
        making.rename(file)

    return SqliteJournal(_copied(file))


def _begun(file: Path, smaller: Path) -> Path:
    making = file.with_suffix(".making")
    if smaller.exists():
        shutil.copy(smaller, making)

    return making


def _copied(file: Path) -> Path:
    """A copy, as what is measured writes into it."""
    own = file.with_suffix(".used")
    for old in own.parent.glob(f"{own.name}*"):
        old.unlink()

    return Path(shutil.copy(file, own))


async def _filled(file: Path, events: int) -> None:
    journal, template = SqliteJournal(file), await events_of_one()
    for number in range(len(await journal.runs()), events // len(template)):
        await journal.append(f"r{number}", as_another(template, number))

    await journal.close()


async def append_another(size: int, folder: Path) -> Case:
    """One more run of ten steps, each durable, in a journal of so many events; a figure is of a step."""
    workflow, settings = chain(STEPS), Settings(journal=await full_of(size, folder))

    async def once() -> int:
        return await run(workflow, 0, settings=settings)

    return Case(run=once, units=STEPS, check=expects(STEPS))


async def list_newest(size: int, folder: Path) -> Case:
    """The first page of `agentflow runs`; a figure is of a page."""
    journal = await full_of(size, folder)

    async def once() -> int:
        return len(await journal.runs(limit=LISTED + 1))

    return Case(run=once, units=1, check=expects(LISTED + 1))


async def list_waiting(size: int, folder: Path) -> Case:
    """The first page of `agentflow runs --status waiting`, where as many wait; a figure is of a page."""
    journal, workflow = await full_of(size, folder), gated()
    for _ in range(LISTED):
        await run(workflow, 0, settings=Settings(journal=journal)).result()

    async def once() -> int:
        return len(await journal.runs(status=("waiting",), limit=LISTED + 1))

    return Case(run=once, units=1, check=expects(LISTED))


async def list_since(size: int, folder: Path) -> Case:
    """`agentflow runs --since` a moment after which there is one page of runs; a figure is of a page."""
    journal = await full_of(size, folder)
    moment = (await journal.runs(limit=LISTED))[-1].updated

    async def once() -> int:
        return len(await journal.runs(after=moment, limit=LISTED + 1))

    return Case(run=once, units=1, check=expects(LISTED))


async def list_until(size: int, folder: Path) -> Case:
    """`agentflow runs --until` a moment before which there is one page of runs; a figure is of a page."""
    journal = await full_of(size, folder)
    moment = (await journal.runs())[-LISTED - 1].updated

    async def once() -> int:
        return len(await journal.runs(before=moment, limit=LISTED + 1))

    return Case(run=once, units=1, check=expects(LISTED))


async def list_workflow(size: int, folder: Path) -> Case:
    """`agentflow runs --workflow` of one that few runs are of, all of them old; a figure is of a page."""
    journal, template = await full_of(size, folder), await events_of_one()
    for number in range(LISTED):
        first, *rest = as_another(template, -number)
        assert isinstance(first, RunStarted)
        await journal.append(
            f"rare{number}", [replace(first, run=f"rare{number}", workflow="rare", seq=1), *rest]
        )

    async def once() -> int:
        return len(await journal.runs(workflow="rare", limit=LISTED + 1))

    return Case(run=once, units=1, check=expects(LISTED))


async def read_one(size: int, folder: Path) -> Case:
    """The events of one run, read and their chain checked; a figure is of a run."""
    journal = await full_of(size, folder)
    expected = len(await events_of_one())

    async def once() -> int:
        return len(await journal.read("r7"))

    return Case(run=once, units=1, check=expects(expected))


async def resume_one(size: int, folder: Path) -> Case:
    """A run that waits for a person, taken up, answered and finished; a figure is of a run."""
    settings, workflow = Settings(journal=await full_of(size, folder)), gated()
    waiting: list[str] = []

    async def before() -> None:
        for _ in range(TAKEN):
            waiting.append((await run(workflow, 0, settings=settings).result()).run_id)

    async def once() -> int:
        again = await resume(workflow, waiting.pop(), settings=settings)
        again.decide(None, Decision(approved=True, by="benchmark"))
        return await again

    return Case(run=once, units=1, check=expects(2), before=before, inner=TAKEN)


async def trail_of_one(size: int, folder: Path) -> Case:
    """The record of one run found to be what was written, as `agentflow audit verify RUN` does it; a figure is of a run."""
    journal = await full_of(size, folder)

    async def once() -> str:
        trail = await journal.trail("r7")
        assert trail is not None
        return verify_rows(trail).state

    return Case(run=once, units=1, check=expects("ok"))


async def owed_to_one(size: int, folder: Path) -> Case:
    """What a collector is owed that has all runs but one page of them; a figure is of a page."""
    journal = await full_of(size, folder)
    rows = await journal.runs()
    with journal._file.transaction():
        journal._db.executemany(
            "insert into deliveries values (?,'here',?,'{}',?)",
            [(row.run, 0 if n < LISTED else row.events, n < LISTED) for n, row in enumerate(rows)],
        )

    async def once() -> int:
        return len(await journal.deliveries("here"))

    return Case(run=once, units=1, check=expects(LISTED))


async def prune_some(size: int, folder: Path) -> Case:
    """The oldest runs taken out, and the room given back; a figure is of a run."""
    journal = await full_of(size, folder)
    runs = [row.run for row in await journal.runs()]

    async def once() -> int:
        return (await journal.prune([runs.pop() for _ in range(PRUNED)])).runs

    return Case(run=once, units=PRUNED, check=expects(PRUNED), inner=1)


async def figures_of_all(size: int, folder: Path) -> Case:
    """What `agentflow stats` does; a figure is of one of the runs in the journal."""
    journal = await full_of(size, folder)
    runs = len(await journal.runs())

    async def once() -> int:
        rows = await journal.runs()
        return Stats.of(rows, journal.skim([row.run for row in rows])).total.count

    return Case(run=once, units=runs, check=expects(runs), inner=1)


def long_flow(items: int) -> Workflow[int, int]:
    """A map over so many items, and a person who approves of their number."""
    sign = Approval("sign", of=int)
    mapped = each(same, parallel=8, at_most=items)
    return Workflow("long", start=split, end=sign, edges=[split >> mapped >> count >> sign])


async def long_run(events: int, folder: Path) -> tuple[Workflow[int, int], SqliteJournal]:
    """A run `r` of about so many events that waits for its last step; made once for a folder."""
    items = events // 2 - 4
    file, workflow = folder / f"long-{events}.db", long_flow(items)
    if not file.exists():
        making = SqliteJournal(file.with_suffix(".making"))
        await run(workflow, items, run_id="r", settings=Settings(journal=making)).result()
        await making.close()
        file.with_suffix(".making").rename(file)

    return workflow, SqliteJournal(file)


async def resume_long(size: int, folder: Path) -> Case:
    """A run of so many events read, its chain checked, folded, and given back; a figure is of an event."""
    workflow, journal = await long_run(size, folder)

    async def once() -> int:
        again = await resume(workflow, "r", settings=Settings(journal=journal))
        await again.give_back()
        return len(again.runner.waiting())

    return Case(run=once, units=size, check=expects(1))


async def verify_long(size: int, folder: Path) -> Case:
    """A run of so many events found to be what was written; a figure is of an event."""
    _, journal = await long_run(size, folder)

    async def once() -> str:
        trail = await journal.trail("r")
        assert trail is not None
        return verify_rows(trail).state

    return Case(run=once, units=size, check=expects("ok"))


async def replay_long(size: int, folder: Path) -> Case:
    """A run of so many events executed again from its record; a figure is of an event."""
    workflow, journal = await long_run(size, folder)

    async def once() -> Any:
        return (await replay_events(workflow, await journal.read("r"))).divergence

    return Case(run=once, units=size, check=expects(None))
