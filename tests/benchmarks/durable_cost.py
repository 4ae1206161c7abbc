"""What durability costs: `python -m tests.benchmarks.durable_cost [--json]`.

CPU and wall microseconds per durable step beside a raw SQLite commit of as many rows, interleaved in one run; events and
bytes per step; and how long it takes to fold and resume a run of 10,000 events. Medians (min-max) of seven samples.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sqlite3
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Literal

from agentflow import Approval, Decision, Settings, SqliteJournal, Workflow, each, resume, run
from agentflow.app import compile_workflow
from agentflow.engine.recovery import recover
from agentflow.engine.runner import Runner
from agentflow.spec import to_data
from tests.benchmarks.engine_cost import chain, count, same, split

SAMPLES, STEPS, ITEMS = 7, 100, 4997
Sync = Literal["NORMAL", "FULL"]


sign = Approval("sign", of=int)
long = Workflow(
    "long",
    start=split,
    end=sign,
    edges=[split >> each(same, parallel=8, at_most=ITEMS) >> count >> sign],
)


class Raw:
    """Commits of one row each, as plain as they can be: the floor."""

    def __init__(self, path: Path, sync: Sync) -> None:
        self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self._db.execute("pragma journal_mode=wal")
        self._db.execute(f"pragma synchronous={sync}")
        self._db.execute("create table t (n integer primary key, d blob)")

    async def commits(self) -> None:
        for _ in range(STEPS):
            self._db.execute("begin immediate")
            self._db.execute("insert into t (d) values (?)", (b"x" * 200,))
            self._db.execute("commit")


async def timed(work: Callable[[], Awaitable[object]], units: int) -> tuple[float, float]:
    """CPU and wall microseconds per unit."""
    cpu, wall = time.process_time(), time.perf_counter()
    await work()
    return (time.process_time() - cpu) / units * 1e6, (time.perf_counter() - wall) / units * 1e6


async def steps(folder: Path) -> dict[str, list[tuple[float, float]]]:
    """A durable step and a raw commit, in turn, so that both see the same machine."""
    workflow = chain(STEPS)
    cases: dict[str, Callable[[], Awaitable[object]]] = {}
    for sync in ("NORMAL", "FULL"):
        raw = Raw(folder / f"raw-{sync}.db", sync)
        journal = SqliteJournal(folder / f"{sync}.db", synchronous=sync)
        cases[f"raw commit, {sync}"] = raw.commits
        cases[f"durable step, {sync}"] = lambda kept=journal: run(  # type: ignore[misc]
            workflow, 1, settings=Settings(journal=kept)
        ).result()

    figures: dict[str, list[tuple[float, float]]] = {name: [] for name in cases}
    for sample in range(SAMPLES + 1):
        for name, work in cases.items():
            figure = await timed(work, STEPS)
            if sample:
                figures[name].append(figure)

    return figures


async def size(folder: Path) -> dict[str, float]:
    """Events, and bytes of the file, per step of a chain."""
    journal = SqliteJournal(folder / "size.db")
    workflow = chain(1000)
    await run(workflow, 1, run_id="r", settings=Settings(journal=journal)).result()
    events = len(await journal.read("r"))
    await journal.close()
    spec = len(json.dumps(to_data(workflow.spec)))
    return {"events": events / 1000, "bytes": ((folder / "size.db").stat().st_size - spec) / 1000}


async def resumed(folder: Path) -> dict[str, list[float]]:
    """Seconds to read, to fold and to finish a run of 10,000 events that waits for its last step."""
    figures: dict[str, list[float]] = {"read": [], "fold": [], "resume to the end": []}
    for sample in range(SAMPLES):
        journal = SqliteJournal(folder / f"long{sample}.db")
        settings = Settings(journal=journal)
        await run(long, ITEMS, run_id="r", settings=settings).result()
        begin = time.perf_counter()
        events = await journal.read("r")
        figures["read"].append(time.perf_counter() - begin)
        begin = time.perf_counter()
        recover(Runner(compile_workflow(long), journal, "r"), events)
        figures["fold"].append(time.perf_counter() - begin)
        begin = time.perf_counter()
        again = await resume(long, "r", settings=settings)
        again.decide(None, Decision(approved=True))
        assert await again == ITEMS
        figures["resume to the end"].append(time.perf_counter() - begin)
        figures.setdefault("events", []).append(float(len(events)))
        await journal.close()

    return figures


def spread(values: list[float]) -> dict[str, float]:
    return {"median": statistics.median(values), "min": min(values), "max": max(values)}


async def measured(folder: Path) -> dict[str, Any]:
    """All figures."""
    figures = await steps(folder)
    per_step = {
        name: {"cpu_us": spread([cpu for cpu, _ in f]), "wall_us": spread([wall for _, wall in f])}
        for name, f in figures.items()
    }
    long_run = {name: spread(values) for name, values in (await resumed(folder)).items()}
    return {"steps": per_step, "size": await size(folder), "resume": long_run}


def main() -> int:
    """Print the figures as a table or as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    wanted = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=Path.cwd() / "traces") as folder:
        figures = asyncio.run(measured(Path(folder)))

    if wanted.json:
        sys.stdout.write(json.dumps(figures, indent=2) + "\n")
        return 0

    for name, row in figures["steps"].items():
        cpu, wall = row["cpu_us"], row["wall_us"]
        sys.stdout.write(
            f"{name:24} {cpu['median']:8.1f} us CPU ({cpu['min']:.1f}-{cpu['max']:.1f})"
            f"  {wall['median']:8.1f} us wall ({wall['min']:.1f}-{wall['max']:.1f})\n"
        )

    for sync in ("NORMAL", "FULL"):
        pair = figures["steps"][f"durable step, {sync}"], figures["steps"][f"raw commit, {sync}"]
        ratios = [pair[0][what]["median"] / pair[1][what]["median"] for what in ("cpu_us", "wall_us")]
        sys.stdout.write(f"step / raw commit, {sync:6} {ratios[0]:6.1f} x CPU, {ratios[1]:.1f} x wall\n")

    sys.stdout.write(
        f"per step: {figures['size']['events']:.1f} events, {figures['size']['bytes']:.0f} bytes\n"
    )
    events = figures["resume"].pop("events")["median"]
    for name, row in figures["resume"].items():
        sys.stdout.write(
            f"{name}, {events:,.0f} events: {row['median']:.3f} s ({row['min']:.3f}-{row['max']:.3f})\n"
        )

    return 0


if __name__ == "__main__":
    sys.exit(main())
