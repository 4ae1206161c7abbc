"""What executing a run again costs: `python -m tests.benchmarks.replay_cost [--json]`.

Runs of some 1,000 events in memory, read back from their JSON before each replay; CPU and wall, median and p95 of the
samples, per run and per event, beside what the first run itself cost. CPU is what to compare on a machine that is shared.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import sys
import time
from collections.abc import Sequence
from typing import Any

from agentflow import Context, MemoryJournal, Settings, Workflow, each, run, step, tool
from agentflow.app import replay_events
from agentflow.encoding import decode, encode
from agentflow.events import Event
from agentflow.tools import call

SAMPLES = 15


@tool(effect="read", returns="trusted")
async def look(number: int) -> int:
    """Look a number up."""
    return number + 1


@step
async def split(number: int) -> list[int]:
    return list(range(number))


@step
async def plain(number: int) -> int:
    return number


@step
async def calling(number: int, ctx: Context) -> int:
    found: int = await call(look, {"number": number})
    return found


@step
async def total(numbers: list[int]) -> int:
    return sum(numbers)


def flows() -> dict[str, tuple[Workflow[int, int], int]]:
    """By name: a workflow, and the input that makes it some 1,000 events."""
    steps: Workflow[int, int] = Workflow(
        "steps", start=split, end=total, edges=[split >> each(plain, at_most=1000, parallel=1) >> total]
    )
    calls: Workflow[int, int] = Workflow(
        "calls", start=split, end=total, edges=[split >> each(calling, at_most=1000, parallel=1) >> total]
    )
    beside: Workflow[int, int] = Workflow(
        "beside", start=split, end=total, edges=[split >> each(calling, at_most=1000, parallel=20) >> total]
    )
    return {
        "steps, one after the other": (steps, 496),
        "steps with a tool call": (calls, 248),
        "20 such at a time": (beside, 248),
    }


def measure() -> list[dict[str, Any]]:
    """One row for each kind of run."""
    rows: list[dict[str, Any]] = []
    for name, (workflow, number) in flows().items():
        journal = MemoryJournal()
        begun = time.process_time()
        asyncio.run(_made(workflow, number, journal))
        made = time.process_time() - begun
        lines = [encode(event) for event in asyncio.run(journal.read("r"))]
        samples = [_replayed(workflow, [decode(line) for line in lines]) for _ in range(SAMPLES)]
        rows.append(
            {"run": name, "events": len(lines), "made_cpu_ms": made * 1e3, **_figures(samples, len(lines))}
        )

    return rows


async def _made(workflow: Workflow[int, int], number: int, journal: MemoryJournal) -> None:
    await run(workflow, number, run_id="r", settings=Settings(journal=journal)).result()


def _replayed(workflow: Workflow[int, int], events: Sequence[Event]) -> tuple[float, float]:
    """CPU and wall, in milliseconds."""
    cpu, wall = time.process_time(), time.perf_counter()
    came = asyncio.run(replay_events(workflow, events))
    spent = (time.process_time() - cpu) * 1e3, (time.perf_counter() - wall) * 1e3
    assert came.same, str(came.divergence)
    return spent


def _figures(samples: Sequence[tuple[float, float]], events: int) -> dict[str, float]:
    cpu, wall = ([sample[n] for sample in samples] for n in (0, 1))
    return {
        "cpu_ms": statistics.median(cpu),
        "cpu_ms_p95": statistics.quantiles(cpu, n=20)[-1],
        "wall_ms": statistics.median(wall),
        "wall_ms_p95": statistics.quantiles(wall, n=20)[-1],
        "cpu_us_per_event": statistics.median(cpu) * 1e3 / events,
    }


def main(arguments: Sequence[str]) -> None:
    """Measure, and print what came of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    rows = measure()
    if parser.parse_args(arguments).json:
        print(json.dumps(rows, indent=2))
        return

    for row in rows:
        print(
            f"{row['run']:<28} {row['events']:>5} events  replay {row['cpu_ms']:.0f} ms CPU (p95 {row['cpu_ms_p95']:.0f}), "
            f"{row['wall_ms']:.0f} ms wall (p95 {row['wall_ms_p95']:.0f}); {row['cpu_us_per_event']:.0f} us CPU an event; "
            f"the run itself {row['made_cpu_ms']:.0f} ms CPU"
        )


if __name__ == "__main__":
    main(sys.argv[1:])
