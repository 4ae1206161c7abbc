"""What a question costs does not grow with the runs that are in the journal: SQLite's own steps are counted, not timed."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping
from itertools import product
from pathlib import Path
from typing import Any

from agentflow import Approval, Decision, Settings, SqliteJournal, Workflow, resume, run, step
from agentflow.app import Fork, fork
from agentflow.events import ErrorInfo, Event, Payload, RunFailed, RunFinished, RunPaused
from agentflow.journal import Delivered
from agentflow.journal.listing import COLUMNS
from tests.journal.examples import started

# Runs in the smaller journal and in the larger one; nanoseconds from one to the next.
FEW, MANY = 60, 900
APART = 1000
# How much more a question may cost at fifteen times the size.
MOST = 1.3
LATER = time.time_ns() + 3_600_000_000_000
STATUSES = ((), ("done",), ("failed",), ("waiting",), ("open",), ("running",), ("done", "failed", "waiting"))
WORKFLOWS = ("", "main", "first", "middle", "last", "none")

Ask = Callable[[SqliteJournal], Awaitable[object]]


@step
async def doubled(number: int) -> int:
    return 2 * number


sign = Approval("sign", of=int)
signed = Workflow("signed", start=doubled, end=sign, edges=[doubled >> sign])


def run_of(number: int, of: int) -> list[Event]:
    """Nearly all runs are done, and of one workflow; ten at each end, and ten in the middle, are not."""
    at = number * APART
    begins = {"first": 0, "middle": of // 2, "last": of - 10}
    workflow = next((name for name, begin in begins.items() if begin <= number < begin + 10), "main")
    first = started(f"r{number}", at=at, workflow=workflow)
    if workflow == "main" or number % 5 == 0:
        return [first, RunFinished(seq=2, at=at + 700, output=Payload(1))]

    ends: dict[int, list[Event]] = {
        1: [RunFailed(seq=2, at=at + 5 * APART, step="a", error=ErrorInfo(kind="E", message=""))],
        2: [RunPaused(seq=2, at=at + 700)],
    }
    return [first, *ends.get(number % 5, [])]


async def filled(path: Path, runs: int) -> SqliteJournal:
    """A journal of so many runs, all as pruned ones also; the last is driven, and of the first six a collector is owed one event."""
    journal = SqliteJournal(path)
    for number in range(runs):
        events = run_of(number, runs)
        await journal.append(f"r{number}", events)
        upto = len(events) - (number < 6)
        await journal.note_delivery(Delivered(run=f"r{number}", place="here", upto=upto))

    await journal.claim(f"r{runs - 1}", "me", LATER)
    await journal.send("r3", "?")
    renamed = COLUMNS.replace("run", "'p' || run", 1)
    journal._db.execute(
        f"insert into pruned ({COLUMNS}, rested, pruned_at) select {renamed}, rested, 0 from runs"
    )
    return journal


async def steps_of(journal: SqliteJournal, ask: Ask) -> int:
    """How many steps SQLite's virtual machine takes to answer."""
    steps = 0

    def step() -> None:
        nonlocal steps
        steps += 1

    journal._db.set_progress_handler(step, 1)
    await ask(journal)
    journal._db.set_progress_handler(None, 1)
    return steps


async def grown(folder: Path, asks: Mapping[str, Callable[[int], Ask]]) -> dict[str, tuple[int, int]]:
    """The questions whose cost grows with the number of runs, of which each is made, with the steps at both sizes."""
    counts: list[dict[str, int]] = []
    for runs in (FEW, MANY):
        journal = await filled(folder / f"{runs}.db", runs)
        counts.append({name: await steps_of(journal, ask(runs)) for name, ask in asks.items()})
        await journal.close()

    few, many = counts
    assert all(few.values())
    return {name: (few[name], many[name]) for name in asks if many[name] > MOST * few[name]}


def always(ask: Ask) -> Callable[[int], Ask]:
    """The same question at any size."""
    return lambda _: ask


def page(**filters: Any) -> Ask:
    return lambda journal: journal.runs(limit=5, **filters)


async def test_a_page_costs_what_it_lists(tmp_path: Path) -> None:
    """Whatever is asked for, by status, workflow and time, of runs and of pruned ones: at any size of the journal the same."""
    # Three runs before the end, in the middle, and five after the beginning.
    times: dict[str, Callable[[int], int | None]] = {
        "": lambda runs: None,
        "end": lambda runs: (runs - 3) * APART,
        "middle": lambda runs: runs // 2 * APART + 100,
        "beginning": lambda runs: 5 * APART,
    }

    def asking(
        status: tuple[str, ...], workflow: str, after: str, before: str, pruned: bool
    ) -> Callable[[int], Ask]:
        return lambda runs: page(
            status=status,
            workflow=workflow,
            after=times[after](runs),
            before=times[before](runs),
            pruned=pruned,
        )

    combinations = list(product(STATUSES, WORKFLOWS, times, times, (False, True)))
    assert await grown(tmp_path, {str(one): asking(*one) for one in combinations}) == {}


async def test_what_else_is_asked_of_a_journal_costs_the_same_at_any_size(tmp_path: Path) -> None:
    """Reading, proving, driving, asking, beginning, ending, delivering and pruning one run look at no other."""
    asks: dict[str, Ask] = {
        "read": lambda journal: journal.read("r7"),
        "head": lambda journal: journal.head("r7"),
        "trail": lambda journal: journal.trail("r7"),
        "trail of a pruned run": lambda journal: journal.trail("pr7"),
        "skim": lambda journal: _skimmed(journal, "r7"),
        "claim": lambda journal: journal.claim("r7", "me", LATER),
        "holder": lambda journal: journal.holder("r7"),
        "renew": lambda journal: journal.renew([("r7", "me")], LATER),
        "release": lambda journal: journal.release("r7", "me"),
        "send": lambda journal: journal.send("r8", 1),
        "requested": lambda journal: journal.requested(),
        "requests": lambda journal: journal.requests("r8"),
        "take": lambda journal: journal.take("r3", 1),
        "begin": lambda journal: journal.append("new", [started("new", at=5)]),
        "end": lambda journal: journal.append("new", [RunFinished(seq=2, at=9, output=Payload(1))]),
        "what is owed": lambda journal: journal.deliveries("here"),
        "what one is owed": lambda journal: journal.deliveries("here", "r7"),
        "note": lambda journal: journal.note_delivery(Delivered(run="r7", place="here", upto=2)),
        "prune": lambda journal: journal.prune(["r9"]),
    }
    assert await grown(tmp_path, {name: always(ask) for name, ask in asks.items()}) == {}


async def _taken_up(journal: SqliteJournal) -> None:
    run_id = (await run(signed, 2, settings=Settings(journal=journal)).result()).run_id
    again = await resume(signed, run_id, settings=Settings(journal=journal))
    again.decide(None, Decision(approved=True, by="ann"))
    assert await again == 4


async def _forked(journal: SqliteJournal) -> None:
    run_id = (await run(signed, 2, settings=Settings(journal=journal)).result()).run_id
    other = await fork(signed, run_id, Fork(at="doubled"), settings=Settings(journal=journal))
    assert (await other.result()).status == "waiting"


async def test_taking_up_a_run_and_forking_it_cost_the_same_at_any_size(tmp_path: Path) -> None:
    """From its beginning to its end, with a person in between, and once more from its first step."""
    asks = {"taken up": always(_taken_up), "forked": always(_forked)}
    assert await grown(tmp_path, asks) == {}


async def _skimmed(journal: SqliteJournal, run: str) -> None:
    for _ in journal.skim([run]):
        pass


async def test_no_list_looks_at_all_rows_or_sorts_them(tmp_path: Path) -> None:
    """Each query on rows names an index by which it finds them; only those that changed since a time, but began before, are sorted."""
    journal = await filled(tmp_path / "j.db", FEW)
    asked: list[str] = []
    journal._db.set_trace_callback(asked.append)
    for status, workflow, after, before in product(STATUSES, ("", "main"), (None, 9), (None, 5000)):
        await journal.runs(status=status, workflow=workflow, after=after, before=before)

    journal._db.set_trace_callback(None)
    queries = {query for query in asked if "from runs" in query}
    plans = {
        query: [row[3] for row in journal._db.execute(f"explain query plan {query}")] for query in queries
    }
    scanned = {line for plan in plans.values() for line in plan if line.startswith("SCAN runs")}
    sorted_ = {query for query, plan in plans.items() if any("TEMP B-TREE" in line for line in plan)}
    assert scanned == {"SCAN runs USING INDEX runs_by_start"}
    assert sorted_ == {query for query in queries if "_rest where" in query}
    assert len(sorted_) > 2
    await journal.close()
