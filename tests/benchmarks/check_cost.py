"""What the check costs: `python -m tests.benchmarks.check_cost [--json]`.

The whole process of `agentflow check` on this project, in seconds of wall time and CPU; building and checking a chain of
steps, in microseconds of CPU per step; bounds of chains and of cycles, in seconds of CPU. Medians and 95th percentiles.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from pathlib import Path

from agentflow import Workflow, step
from agentflow.bounds import worst_case
from agentflow.spec import EdgeSpec, StepSpec, WorkflowSpec
from agentflow.steps.function import FunctionStep

ROOT = Path(__file__).parents[2]
PROCESSES, SAMPLES = 15, 7


@step
async def same(number: int) -> int:
    return number


def chain(count: int) -> Workflow[int, int]:
    """A workflow of steps one after the other, each an edge of its own."""
    steps: list[FunctionStep[int, int]] = []
    for n in range(count):
        steps.append(FunctionStep(same.function))
        steps[-1].name = f"s{n}"

    edges = [one >> other for one, other in pairwise(steps)]
    return Workflow("chain", start=steps[0], end=steps[-1], edges=edges)


def circles(count: int) -> WorkflowSpec:
    """Steps each of which leads on, and back to one some steps before, a bounded number of times."""
    steps = tuple(StepSpec(id=f"s{n}", kind="function", gives="int | str") for n in range(count))
    edges = [EdgeSpec(source=f"s{n}", target=f"s{n + 1}", on="int") for n in range(count - 1)]
    edges += [
        EdgeSpec(source=f"s{n}", target=f"s{max(0, n - n % 7)}", on="str", at_most=1 + n % 5)
        for n in range(count - 1)
    ]
    return WorkflowSpec(name="w", start="s0", end=f"s{count - 1}", steps=steps, edges=tuple(edges))


def processes() -> dict[str, list[float]]:
    """Wall and CPU seconds of `agentflow check` on this project, a process each."""
    wall, cpu = list[float](), list[float]()
    command = [sys.executable, "-m", "agentflow", "check"]
    for _ in range(PROCESSES):
        before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
        subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
        wall.append(time.perf_counter() - began)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        cpu.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)

    return {"check of this project, wall s": wall, "check of this project, CPU s": cpu}


def timed(work: Callable[[], object], per: float = 1) -> list[float]:
    """CPU seconds of some runs, divided by `per`."""
    found: list[float] = []
    for _ in range(SAMPLES):
        began = time.process_time()
        work()
        found.append((time.process_time() - began) / per)

    return found


def measured() -> dict[str, list[float]]:
    found = processes()
    for count in (1_000, 10_000):
        found[f"build and check {count:,} steps, CPU us a step"] = timed(partial(chain, count), count / 1e6)

    spec = chain(10_000).spec
    found["bound of 10,000 steps in line, CPU s"] = timed(partial(worst_case, spec))
    for count in (20, 200, 2_000):
        found[f"bound of {count:,} steps in circles, CPU s"] = timed(partial(worst_case, circles(count)))

    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    result = {
        name: {"median": statistics.median(values), "p95": sorted(values)[int(len(values) * 0.95)]}
        for name, values in measured().items()
    }
    if arguments.json:
        print(json.dumps(result, indent=1))
        return

    for name, row in result.items():
        print(f"{name:48} {row['median']:9.3f}  p95 {row['p95']:9.3f}")


if __name__ == "__main__":
    main()
