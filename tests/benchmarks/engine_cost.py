"""What the engine costs per step: `python tests/benchmarks/engine_cost.py [--json]`.

CPU microseconds per unit, median (min-max) of seven samples, beside floors measured in the same run.
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
from itertools import pairwise
from pathlib import Path
from typing import Any

from agentflow import MemoryJournal, Settings, SqliteJournal, Workflow, each, run, step
from agentflow.steps.function import FunctionStep
from agentflow.tracing.spans import spans_of

SAMPLES = 7


async def _same(number: int) -> int:
    return number


@step
async def split(number: int) -> list[int]:
    return list(range(number))


@step
async def same(number: int) -> int:
    return number


@step
async def count(numbers: list[int]) -> int:
    return len(numbers)


def chain(length: int) -> Workflow[int, int]:
    """A workflow of `length` steps in a row."""
    steps = [FunctionStep[int, int](_same) for _ in range(length)]
    for number, one in enumerate(steps):
        one.name = f"s{number}"

    return Workflow("chain", start=steps[0], end=steps[-1], edges=[a >> b for a, b in pairwise(steps)])


async def _tasks(number: int) -> None:
    for _ in range(number):
        await asyncio.create_task(_same(1))


def _commits(path: Path, number: int) -> None:
    db = sqlite3.connect(path, isolation_level=None)
    db.execute("pragma journal_mode=wal")
    db.execute("pragma synchronous=normal")
    db.execute("create table if not exists t (n integer primary key, d blob)")
    for _ in range(number):
        db.execute("begin immediate")
        db.execute("insert into t (d) values (?)", (b"x" * 200,))
        db.execute("commit")

    db.close()


async def measured(units: int, work: Callable[[], Awaitable[object]]) -> list[float]:
    """CPU microseconds per unit, of each sample, after one that does not count."""
    figures: list[float] = []
    for _ in range(SAMPLES + 1):
        begin = time.process_time()
        await work()
        figures.append((time.process_time() - begin) / units * 1e6)

    return figures[1:]


async def cases(folder: Path) -> dict[str, list[float]]:
    """All figures, by name."""
    hundred, thousand = chain(100), chain(1000)
    journal = SqliteJournal(folder / "journal.db")
    full = SqliteJournal(folder / "full.db", synchronous="FULL")
    loop = asyncio.get_running_loop()
    fan: dict[int, Workflow[int, int]] = {
        n: Workflow(
            f"fan{n}", start=split, end=count, edges=[split >> each(same, parallel=n, at_most=n) >> count]
        )
        for n in (1000, 10000)
    }

    async def with_spans() -> None:
        kept = MemoryJournal()
        result = await run(hundred, 1, settings=Settings(journal=kept)).result()
        spans_of(await kept.read(result.run_id))

    async def fresh() -> Any:
        return await loop.run_in_executor(None, lambda: chain(1000))

    return {
        "floor: a task per step": await measured(1000, lambda: _tasks(1000)),
        "floor: a SQLite commit (WAL, NORMAL)": await measured(
            300, lambda: asyncio.to_thread(_commits, folder / "floor.db", 300)
        ),
        "step, chain of 100, memory journal": await measured(100, lambda: run(hundred, 1).result()),
        "step, chain of 1,000, memory journal": await measured(1000, lambda: run(thousand, 1).result()),
        "step, chain of 100, with spans made": await measured(100, with_spans),
        "step, chain of 100, SQLite NORMAL": await measured(
            100, lambda: run(hundred, 1, settings=Settings(journal=journal)).result()
        ),
        "step, chain of 100, SQLite FULL": await measured(
            100, lambda: run(hundred, 1, settings=Settings(journal=full)).result()
        ),
        "branch, map of 1,000": await measured(1000, lambda: run(fan[1000], 1000).result()),
        "branch, map of 10,000": await measured(10000, lambda: run(fan[10000], 10000).result()),
        "build and check, per step of 1,000": await measured(1000, fresh),
    }


def main() -> int:
    """Print the figures as a table or as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    with tempfile.TemporaryDirectory() as folder:
        figures = asyncio.run(cases(Path(folder)))

    rows = {k: {"median": statistics.median(v), "min": min(v), "max": max(v)} for k, v in figures.items()}
    if parser.parse_args().json:
        sys.stdout.write(json.dumps(rows, indent=2) + "\n")
        return 0

    for name, row in rows.items():
        sys.stdout.write(f"{name:45} {row['median']:8.1f}  ({row['min']:.1f}-{row['max']:.1f}) us CPU\n")

    return 0


if __name__ == "__main__":
    sys.exit(main())
