"""MiniWoB++ through the tools of the browser: `python -m tests.benchmarks.miniwob [--seeds 2] [--tasks NAME ...] [--json]`.

How many of the 130 tasks the scripted policies do with each seed; how many the embedded model does by itself, given the goal and the
same tools; and what an action costs: wall milliseconds (p50, p95) by tool, and memory of the browser's processes (PSS,
so that what they share counts once).
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import sys
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from agentflow.exceptions import AgentflowError
from agentflow.toolkit.browser import Browser
from tests.miniwob.desk import Desk, Office, office, pages, served
from tests.miniwob.policies import POLICIES

TASK_SECONDS = 30


@dataclass
class Figures:
    """What was measured: tasks by how often they were done, and milliseconds by tool."""

    done: dict[str, int] = field(default_factory=dict[str, int])
    milliseconds: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    peak_mb: float = 0.0


@dataclass
class TimedDesk(Desk):
    figures: Figures = field(default_factory=Figures)

    async def do(self, tool: str, **arguments: Any) -> Any:
        began = time.perf_counter()
        result = await super().do(tool, **arguments)
        self.figures.milliseconds[tool].append((time.perf_counter() - began) * 1000)
        return result


async def by_policies(desks: Office, tasks: Sequence[str], seeds: int) -> Figures:
    figures = Figures()

    async def policy(task: str, desk: Desk) -> None:
        await POLICIES[task](TimedDesk(goal=desk.goal, tools=desk.tools, root=desk.root, figures=figures))

    for task in tasks:
        tries = [await tried(desks, task, seed, partial(policy, task)) for seed in range(1, seeds + 1)]
        figures.done[task] = sum(tries)
        figures.peak_mb = max(figures.peak_mb, memory_mb())

    return figures


async def by_embedded(desks: Office, tasks: Sequence[str]) -> Figures:
    """The embedded model with the same tools: it reads the goal, and is shown what the tools return."""
    from agentflow.models.agent import AgentCall, AgentSpec, run_agent
    from agentflow.models.pool import ModelPool

    pool = ModelPool({})
    spec = AgentSpec(
        name="visitor", instructions="Do the task.", tools=tuple(desks.tools.values()), max_turns=8
    )
    figures = Figures()

    async def ask(desk: Desk) -> None:
        # Outside of a run the calls of its tools are only made.
        await run_agent(AgentCall(spec=spec, text=desk.goal), pool)

    for task in tasks:
        figures.done[task] = int(await tried(desks, task, 1, ask))

    await pool.aclose()
    return figures


async def tried(desks: Office, task: str, seed: int, work: Callable[[Desk], Awaitable[None]]) -> bool:
    """Whether the task was done; what goes wrong on the way is a task that was not done."""
    try:
        async with asyncio.timeout(TASK_SECONDS):
            await work(await desks.desk(task, seed))
    except (
        AgentflowError,
        AssertionError,
        LookupError,
        ValueError,
        TimeoutError,
        StopIteration,
        RuntimeError,
    ) as error:
        print(f"  {task} {seed}: {type(error).__name__}: {str(error)[:100]}", file=sys.stderr)

    return await desks.is_solved()


def memory_mb() -> float:
    """Megabytes of the Chromium processes below this one; 0 where the system does not tell."""
    return sum(map(_pss_kb, _below(Path("/proc/self").resolve().name))) / 1024


def _below(process: str) -> Iterator[str]:
    with suppress(OSError):
        for children in Path(f"/proc/{process}/task").glob("*/children"):
            for child in children.read_text().split():
                yield child
                yield from _below(child)


def _pss_kb(process: str) -> int:
    with suppress(OSError):
        name = Path(f"/proc/{process}/comm").read_text()
        if name.startswith("chrom"):
            rows = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
            return sum(int(row.split()[1]) for row in rows if row.startswith("Pss:"))

    return 0


def summary(scripted: Figures, embedded: Figures, seeds: int) -> dict[str, Any]:
    every = {
        tool: {"calls": len(ms), "p50_ms": round(statistics.median(ms), 1), "p95_ms": round(_p95(ms), 1)}
        for tool, ms in sorted(scripted.milliseconds.items())
    }
    return {
        "tasks": len(list((pages() / "miniwob").glob("*.html"))),
        "policies": len(scripted.done),
        "seeds": seeds,
        "done_with_every_seed": sum(times == seeds for times in scripted.done.values()),
        "episodes_done": sum(scripted.done.values()),
        "not_always_done": {t: n for t, n in scripted.done.items() if n < seeds},
        "embedded_tried": len(embedded.done),
        "embedded_done": sorted(task for task, times in embedded.done.items() if times),
        "actions": every,
        "browser_mb": round(scripted.peak_mb),
    }


def _p95(values: Sequence[float]) -> float:
    return sorted(values)[min(len(values) - 1, int(len(values) * 0.95))]


async def measured(tasks: Sequence[str], seeds: int) -> dict[str, Any]:
    every = sorted(path.stem for path in (pages() / "miniwob").glob("*.html"))
    with served() as reach:
        async with Browser(reach) as browser, office(browser) as desks:
            scripted = await by_policies(desks, [task for task in tasks if task in POLICIES], seeds)
            embedded = await by_embedded(desks, every if set(tasks) == set(POLICIES) else tasks)

    return summary(scripted, embedded, seeds)


def told(found: dict[str, Any]) -> str:
    lines = [
        f"{found['done_with_every_seed']} of {found['tasks']} tasks done by a policy with each of {found['seeds']} seeds",
        f"{found['policies']} tasks have a policy; {found['episodes_done']} episodes were done",
        f"not always: {found['not_always_done'] or 'none'}",
        f"{len(found['embedded_done'])} of {found['embedded_tried']} done by the embedded model: {', '.join(found['embedded_done'])}",
        f"memory of the browser at most {found['browser_mb']} MB (PSS)",
    ]
    for tool, row in found["actions"].items():
        lines.append(f"{tool:12} {row['calls']:5} calls  p50 {row['p50_ms']:7} ms  p95 {row['p95_ms']:7} ms")

    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--tasks", nargs="*", default=list(POLICIES))
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    found = asyncio.run(measured(given.tasks, given.seeds))
    print(json.dumps(found) if given.json else told(found))


if __name__ == "__main__":
    main()
