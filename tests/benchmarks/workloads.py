"""agentflow's own workloads, by the names under which its peers were measured: W1 to W9."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Awaitable, Callable, Mapping
from itertools import count
from pathlib import Path
from typing import Any, Literal

from agentflow import MemoryJournal, Settings, SqliteJournal, Workflow, run
from agentflow.app import compile_workflow
from agentflow.spec import to_data
from tests.benchmarks import check_cost
from tests.benchmarks.case import Case
from tests.benchmarks.floors import expects
from tests.benchmarks.flows import chain, fan, loop, sleeping


async def _settled() -> None:
    """Have loaded what is loaded by the first run of a process, so that it is not counted as memory of a workload."""
    assert await run(chain(1), 0) == 1


def _runs(workflow: Workflow[Any, Any], value: Any) -> Callable[[], Awaitable[Any]]:
    """A run to its end, kept in memory, with nobody who listens."""

    async def once() -> Any:
        return await run(workflow, value)

    return once


async def w1_chain(size: int, folder: Path) -> Case:
    """Steps in a row."""
    return Case(run=_runs(chain(size), 0), units=size, check=expects(size))


async def w2_fan(size: int, folder: Path) -> Case:
    """One step, branches at once, one step that adds up."""
    await _settled()
    return Case(run=_runs(fan(size), size), units=size, check=expects(size * (size - 1) // 2))


async def w3_loop(size: int, folder: Path) -> Case:
    """One step, visited again and again."""
    return Case(run=_runs(loop(size), 0), units=size, check=expects(size))


async def w5_normal(size: int, folder: Path) -> Case:
    """Durable steps that survive the process."""
    return await _durable(size, folder, "NORMAL")


async def w5_full(size: int, folder: Path) -> Case:
    """Durable steps that survive a power cut."""
    return await _durable(size, folder, "FULL")


async def _durable(size: int, folder: Path, sync: Literal["NORMAL", "FULL"]) -> Case:
    workflow, ids = chain(size), count()
    journal = SqliteJournal(folder / f"w5-{sync}-{size}.db", synchronous=sync)
    settings = Settings(journal=journal)

    async def once() -> Any:
        return await run(workflow, 0, settings=settings)

    async def notes() -> Mapping[str, float]:
        # Each round is a process of its own in the same folder.
        file = folder / f"w5-{sync}-{size}-{os.getpid()}-{next(ids)}-bytes.db"
        return await bytes_of(workflow, size, file)

    return Case(run=once, units=size, check=expects(size), inner=1, notes=notes)


async def bytes_of(workflow: Workflow[int, int], steps: int, file: Path) -> Mapping[str, float]:
    """Bytes a step of the file that one run makes, without the definition, which stands there once; and events a step."""
    empty = file.with_suffix(".empty")
    await _written(empty, None)
    await _written(file, workflow)
    size = _size(file) - _size(empty)
    reading = SqliteJournal(file, read_only=True)
    events = len(await reading.read("r"))
    await reading.close()
    spec = len(json.dumps(to_data(workflow.spec)))
    return {"bytes_per_unit": (size - spec) / steps, "events_per_unit": events / steps}


async def _written(file: Path, workflow: Workflow[int, int] | None) -> None:
    journal = SqliteJournal(file)
    if workflow is not None:
        await run(workflow, 0, run_id="r", settings=Settings(journal=journal))

    await journal.close()


def _size(file: Path) -> int:
    return file.stat().st_size


async def w6_linear(size: int, folder: Path) -> Case:
    """A chain built from one function, and checked."""
    return _built(size, check_cost.chain)


async def w6_random(size: int, folder: Path) -> Case:
    """A random acyclic graph, whose last step joins what is left, built and checked."""
    return _built(size, check_cost.joins_at_random)


async def w6_ready(size: int, folder: Path) -> Case:
    """A chain built, checked, and compiled to what runs."""

    def ready(size: int) -> Workflow[Any, Any]:
        workflow = check_cost.chain(size)
        compile_workflow(workflow)
        return workflow

    return _built(size, ready)


def _built(size: int, build: Callable[[int], Workflow[Any, Any]]) -> Case:
    async def run() -> int:
        return len(build(size).spec.steps)

    def check(steps: int) -> None:
        assert steps >= size, f"{steps} steps came, not {size}"

    return Case(run=run, units=size, check=check)


async def w7_sleeping(size: int, folder: Path) -> Case:
    """As many runs at once, each of ten steps that sleep for 50 ms."""
    await _settled()
    workflow = sleeping(10)

    async def once() -> int:
        return sum(await asyncio.gather(*(run(workflow, 0).output() for _ in range(size))))

    return Case(run=once, units=size * 10, check=expects(size * 10), inner=1)


async def w8_import(size: int, folder: Path) -> Case:
    """A fresh process that loads all that is needed to define and run a workflow of plain steps."""
    from tests.benchmarks.importing import importing

    return importing("from agentflow import MemoryJournal, Settings, Workflow, each, gather, run, step")


async def w8_run(size: int, folder: Path) -> Case:
    """The same, and a workflow of one step defined, checked and run."""
    from tests.benchmarks.importing import importing

    return importing("from tests.benchmarks.smallest import main; main()")


async def w9_spans(size: int, folder: Path) -> Case:
    """Steps in a row, with spans made as they are exported, batched and kept in memory."""
    from tests.benchmarks.watching import Watching

    workflow, watching = chain(size), Watching()
    settings = Settings(observers=(watching,))

    async def once() -> Any:
        watching.kept.clear()
        return await run(workflow, 0, settings=settings)

    def check(came: int) -> None:
        assert (came, len(watching.kept.get_finished_spans())) == (size, size + 1)

    return Case(run=once, units=size, check=check)


async def w9_none(size: int, folder: Path) -> Case:
    """Steps in a row whose launcher was given no collector: what being able to tell costs."""
    from agentflow.cli.telemetry import Telemetry

    workflow = chain(size)

    async def once() -> Any:
        one = run(workflow, 0, settings=Settings(journal=MemoryJournal()))
        telemetry = Telemetry(one, {}, {}, folder)
        await telemetry.begin()
        came = await one
        await telemetry.close("done")
        return came

    return Case(run=once, units=size, check=expects(size))
