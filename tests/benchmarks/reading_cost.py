"""What reading costs: `python -m tests.benchmarks.reading_cost [--json] [--runs 10000]`.

The figures over many runs (wall and CPU time), and the size and CPU time of the page of a run of few and of many events. The
runs are copies of one that plans, calls a tool and answers; times are medians of three.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from agentflow import (
    Answer,
    Evidence,
    MemoryJournal,
    Settings,
    SqliteJournal,
    Workflow,
    each,
    run,
    step,
    tool,
)
from agentflow.events import Event, OperationFinished, OperationStarted, Payload, RunStarted
from agentflow.reporting.page import page
from agentflow.reporting.stats import Stats

T = TypeVar("T")
TEXT = "A hotel in this city may cost 130 EUR a night, and 40 percent more while there is a fair. " * 8


@tool(effect="read", returns="untrusted")
async def search(query: str) -> list[Evidence]:
    """Search the files."""
    return [Evidence(text=f"{query} {n} {TEXT}", source=f"travel-{n}.md", start=0, end=9) for n in range(3)]


@step
async def count_up(number: int) -> list[int]:
    return list(range(number))


@step
async def look(number: int) -> list[Evidence]:
    return await search(f"hotels {number}")


@step
async def answer(found: list[list[Evidence]]) -> Answer:
    return Answer(text="A hotel may cost 130 EUR [1].", citations=found[0][:1])


reading = Workflow(
    "reading", start=count_up, end=answer, edges=[count_up >> each(look, at_most=5000, parallel=16) >> answer]
)


async def events_of(number: int, root: Path) -> tuple[list[Event], str]:
    """The events of a run over so many items, and its head."""
    journal = MemoryJournal()
    await run(reading, number, run_id="r", settings=Settings(journal=journal, root=root)).result()
    return await journal.read("r"), await journal.head("r")


def copy(events: Sequence[Event], number: int) -> list[Event]:
    """The events as those of another run, with a model call and some other times."""
    copied: list[Event] = []
    for seq, event in enumerate(events, 1):
        later = replace(event, at=event.at + seq * number % 997 * 1000, seq=seq)
        copied.append(replace(later, run=f"r{number}") if isinstance(later, RunStarted) else later)

    return copied


def with_models(events: Sequence[Event]) -> list[Event]:
    """Each tool call followed by a model call that used some tokens."""
    found: list[Event] = []
    for event in events:
        found.append(event)
        if isinstance(event, OperationFinished):
            begun = OperationStarted(
                at=event.at,
                step=event.step,
                operation=f"m{event.operation}",
                kind="chat",
                name="gpt",
                request=Payload({"messages": [TEXT]}),
            )
            used = {"input_tokens": 900, "output_tokens": 80, "usd": 0.002}
            found += [
                begun,
                OperationFinished(
                    at=event.at + 5,
                    step=event.step,
                    operation=begun.operation,
                    usage=used,
                    result=Payload([TEXT]),
                ),
            ]

    return found


async def measured(runs: int) -> dict[str, Any]:
    """The figures."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        small, large = await events_of(3, root), await events_of(250, root)
        template = with_models((await events_of(5, root))[0])
        journal = SqliteJournal(root / "journal.db")
        for number in range(runs):
            await journal.append(f"r{number}", copy(template, number))

        await journal.close()
        reader = SqliteJournal(root / "journal.db", read_only=True)
        rows = await reader.runs()
        names = [row.run for row in rows]
        wall, cpu, stats = _timed(lambda: Stats.of(rows, reader.skim(names)))
        size = (root / "journal.db").stat().st_size
        await reader.close()

    _, cpu_small, page_small = _timed(lambda: page(*small))
    _, cpu_large, page_large = _timed(lambda: page(*large))
    return {
        "stats_runs": stats.total.count,
        "stats_events": runs * len(template),
        "stats_journal_mb": round(size / 1e6),
        "stats_wall_s": round(wall, 2),
        "stats_cpu_s": round(cpu, 2),
        "page_small_events": len(small[0]),
        "page_small_kb": round(len(page_small.encode()) / 1000),
        "page_small_cpu_s": round(cpu_small, 3),
        "page_large_events": len(large[0]),
        "page_large_kb": round(len(page_large.encode()) / 1000),
        "page_large_cpu_s": round(cpu_large, 3),
    }


def _timed(work: Callable[[], T]) -> tuple[float, float, T]:
    """Medians of wall and CPU seconds, and the last result."""
    walls, cpus, value = [], [], work()
    for _ in range(3):
        wall, cpu = time.perf_counter(), time.process_time()
        value = work()
        walls.append(time.perf_counter() - wall)
        cpus.append(time.process_time() - cpu)

    return statistics.median(walls), statistics.median(cpus), value


def main() -> int:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    parser.add_argument("--runs", type=int, default=10_000, help="how many runs are counted")
    arguments = parser.parse_args()
    figures = asyncio.run(measured(arguments.runs))
    if arguments.json:
        print(json.dumps(figures, indent=2))
    else:
        print("\n".join(f"{name}: {value}" for name, value in figures.items()))

    return 0


if __name__ == "__main__":
    sys.exit(main())
