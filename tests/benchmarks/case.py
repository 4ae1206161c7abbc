"""One thing to measure, and the samples of it: CPU and wall time a unit, each of as many runs as fill some milliseconds."""

from __future__ import annotations

import gc
import inspect
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

# Seconds of CPU that a sample is to take at least: what is shorter is less than the clock's and the machine's noise.
FILL = 0.02
MOST_RUNS = 1000


def _nothing() -> Mapping[str, float]:
    return {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """What is timed is `run` alone; `check` refuses a wrong result.

    A figure is of one of `units`. `before` is done untimed before each sample, whose runs are `inner`, or else as many as
    fill `FILL`. `cpu` tells the seconds of CPU so far, where they are not those of this process. `notes` are further figures,
    asked for at the end.
    """

    run: Callable[[], Awaitable[Any]]
    units: int
    check: Callable[[Any], None]
    before: Callable[[], Awaitable[None]] | None = None
    inner: int | None = None
    cpu: Callable[[], float] = time.process_time
    notes: Callable[[], Mapping[str, float] | Awaitable[Mapping[str, float]]] = _nothing


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """Microseconds a unit."""

    cpu_us: float
    wall_us: float


async def sampled(case: Case, runs: int) -> Sample:
    """One sample of `runs` runs, with the garbage of earlier ones gone."""
    if case.before is not None:
        await case.before()

    result = None
    gc.collect()
    cpu, wall = case.cpu(), time.perf_counter()
    for _ in range(runs):
        result = await case.run()

    wall, cpu = time.perf_counter() - wall, case.cpu() - cpu
    case.check(result)
    scale = 1e6 / case.units / runs
    return Sample(cpu_us=cpu * scale, wall_us=wall * scale)


async def warmed(case: Case) -> int:
    """Run once or twice, and say how many runs a sample is to have."""
    once = await sampled(case, 1)
    if case.inner is not None:
        return case.inner

    if once.cpu_us * case.units < FILL * 1e6 * 5:
        once = await sampled(case, 1)  # the first loads what is loaded when it is first needed

    # By CPU time, as on a busy machine the clock runs on while others work.
    return max(1, min(MOST_RUNS, round(FILL * 1e6 / max(once.cpu_us * case.units, 1))))


async def noted(case: Case) -> Mapping[str, float]:
    """The further figures of a case."""
    notes = case.notes()
    return await notes if inspect.isawaitable(notes) else notes
