"""What the check costs: `python -m tests.benchmarks.check_cost [--json]`.

Building and checking workflows of many shapes, in microseconds of CPU per step (per node of a random graph, whose joins
are steps of their own beside); what is asked for after that: the compiled graph, the bound and the warnings; the memory of
a workflow; the whole process of `agentflow check` on this project and on one of 10,000 steps, in seconds.

Timed is all from the first step to the workflow that was checked: `step.named(...)` for each step, or a new function; `>>`
and `gather`; and `Workflow(...)`, which raises what is wrong. One function stands in all steps, as the peers are measured,
or a function of its own in each: what is done once for each function is reading its signature and, where it takes a context,
its source. The random graph is that of the peers: one to three of the 50 nodes before lead to each, and what is left is
joined at the end. Beside it a floor: networkx is given the same edges, asked whether they go round, and walks them in order.
"""

from __future__ import annotations

import argparse
import gc
import json
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import time
import tracemalloc
from collections.abc import Callable, Sequence
from functools import cache, partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import networkx as nx

from agentflow import Workflow, each, gather, step
from agentflow.app import compile_workflow
from agentflow.bounds import worst_case
from agentflow.path import Path as Way
from agentflow.spec import EdgeSpec, StepSpec, WorkflowSpec
from agentflow.steps.function import FunctionStep

ROOT = Path(__file__).parents[2]
PROCESSES, SAMPLES = 15, 7
SIZES = (1_000, 10_000)
Ways = list[Way[Any, Any]]


@step
async def same(number: int) -> int:
    return number


@step
async def two(numbers: tuple[int, int]) -> int:
    return sum(numbers)


@step
async def three(numbers: tuple[int, int, int]) -> int:
    return sum(numbers)


@step
async def many(numbers: tuple[int, ...]) -> int:
    return sum(numbers)


@step
async def several(number: int) -> list[int]:
    return [number]


@step
async def total(numbers: list[int]) -> int:
    return sum(numbers)


@step
async def choose(number: int) -> int | str:
    return number


@step
async def again(text: str) -> int:
    return int(text)


def chain(count: int) -> Workflow[int, int]:
    """Steps one after the other, each an edge of its own."""
    steps = [same.named(f"s{n}") for n in range(count)]
    return _in_line("chain", steps)


def functions(count: int) -> Workflow[int, int]:
    """The same, each step a function of its own."""
    return _in_line("functions", [_function(n) for n in range(count)])


def _function(number: int) -> FunctionStep[int, int]:
    async def work(value: int) -> int:
        return value

    work.__name__ = f"s{number}"
    return step(work)


def _in_line(name: str, steps: Sequence[FunctionStep[int, int]]) -> Workflow[int, int]:
    edges = [one >> other for one, other in pairwise(steps)]
    return Workflow(name, start=steps[0], end=steps[-1], edges=edges)


@cache
def parents(count: int) -> list[list[int]]:
    """For each node but the first the one to three of the 50 before it that lead to it, by a fixed seed; last, what is left."""
    numbers = random.Random(7)
    found, left = list[list[int]](), dict.fromkeys(range(count))
    for n in range(1, count):
        first = max(0, n - 50)
        found.append(numbers.sample(range(first, n), min(numbers.choice((1, 2, 3)), n - first)))
        for source in found[-1]:
            left.pop(source, None)

    return [*found, list(left)]


def joins_at_random(count: int) -> Workflow[int, int]:
    """The random graph of the peers, each node with several before it behind a gather."""
    kinds: dict[int, FunctionStep[Any, int]] = {1: same, 2: two, 3: three}
    steps, edges = [same.named("s0")], Ways()
    *before, left = parents(count)
    for n, sources in enumerate(before, 1):
        steps.append(kinds[len(sources)].named(f"s{n}"))
        edges.append(_all([steps[source] for source in sources]) >> steps[n])

    end = many.named("end")
    edges.append(_all([steps[n] for n in left]) >> end)
    return Workflow("joins", start=steps[0], end=end, edges=edges)


def _all(steps: Sequence[FunctionStep[Any, int]]) -> Way[Any, Any]:
    join: Any = gather
    return join(*steps) if len(steps) > 1 else steps[0]


def floor(count: int) -> None:
    """The nodes and edges of the same graph in networkx, which looks whether they go round and walks them in order."""
    graph: Any = nx.DiGraph()
    graph.add_nodes_from(range(count))
    graph.add_edges_from((source, n) for n, before in enumerate(parents(count)[:-1], 1) for source in before)
    assert nx.is_directed_acyclic_graph(graph)
    assert sum(1 for _ in nx.topological_sort(graph)) == count


def loops(count: int) -> Workflow[int, int]:
    """Three steps at a time: one that chooses, one that leads back to it, one behind."""
    last, edges = same.named("s0"), Ways()
    first = last
    for n in range(count // 3):
        turn, back, on = choose.named(f"turn{n}"), again.named(f"back{n}"), same.named(f"on{n}")
        edges += [last >> turn, turn.on(str, at_most=3) >> back >> turn, turn.on(int) >> on]
        last = on

    return Workflow("loops", start=first, end=last, edges=edges)


def maps(count: int) -> Workflow[int, int]:
    """Three steps at a time: a list, a map over it, its sum."""
    first, edges = same.named("s0"), Ways()
    last: FunctionStep[Any, int] = first
    for n in range(count // 3):
        mapped, end = each(same.named(f"item{n}")), total.named(f"total{n}")
        edges.append(last >> several.named(f"list{n}") >> mapped >> end)
        last = end

    return Workflow("maps", start=first, end=last, edges=edges)


def branches(count: int) -> Workflow[int, int]:
    """One step that leads to all but one of the others, which are joined by one gather."""
    first, end = same.named("s0"), many.named("end")
    joined = _all([same.named(f"branch{n}") for n in range(count - 2)])
    return Workflow("branches", start=first, end=end, edges=[first >> joined >> end])


def nested(count: int) -> Workflow[int, int]:
    """Workflows of ten steps in line."""
    inner = [_in_line(f"inner{n}", [same.named(f"s{i}") for i in range(10)]) for n in range(count // 10)]
    edges = [one >> other for one, other in pairwise(inner)]
    return Workflow("nested", start=inner[0], end=inner[-1], edges=edges)


def looped_joins(count: int) -> Workflow[int, int]:
    """The random graph, with a choice in each branch and all of it in a bounded loop."""
    kinds: dict[int, FunctionStep[Any, int]] = {1: same, 2: two, 3: three}
    last, edges = [same.named("s0")], Ways()
    *before, left = parents(count // 4)
    for n, sources in enumerate(before, 1):
        here, turn, meet = (
            kinds[len(sources)].named(f"s{n}"),
            choose.named(f"turn{n}"),
            same.named(f"meet{n}"),
        )
        edges += [_all([last[source] for source in sources]) >> here >> turn, turn.on(int) >> meet]
        edges.append(turn.on(str) >> again.named(f"text{n}") >> meet)
        last.append(meet)

    end, turn, out = many.named("all"), choose.named("turn"), same.named("out")
    edges.append(_all([last[n] for n in left]) >> end >> turn)
    edges += [turn.on(str, at_most=3) >> again.named("back") >> last[0], turn.on(int) >> out]
    return Workflow("looped", start=last[0], end=out, edges=edges)


SHAPES: dict[str, Callable[[int], Workflow[int, int]]] = {
    "in line": chain,
    "in line, a function each": functions,
    "random joins": joins_at_random,
    "loops": loops,
    "maps": maps,
    "branches of one join": branches,
    "workflows of 10": nested,
    "random joins and cases in a loop": looped_joins,
}


def circles(count: int) -> WorkflowSpec:
    """Steps each of which leads on, and back to one some steps before, a bounded number of times."""
    steps = tuple(StepSpec(id=f"s{n}", kind="function", gives="int | str") for n in range(count))
    edges = [EdgeSpec(source=f"s{n}", target=f"s{n + 1}", on="int") for n in range(count - 1)]
    edges += [
        EdgeSpec(source=f"s{n}", target=f"s{max(0, n - n % 7)}", on="str", at_most=1 + n % 5)
        for n in range(count - 1)
    ]
    return WorkflowSpec(name="w", start="s0", end=f"s{count - 1}", steps=steps, edges=tuple(edges))


PROJECT = """from itertools import pairwise
from agentflow import Workflow, step

@step(timeout=1)
async def same(number: int) -> int:
    return number

steps = [same.named(f"s{n}") for n in range(10_000)]
large = Workflow("large", start=steps[0], end=steps[-1], edges=[a >> b for a, b in pairwise(steps)])
"""


def processes(what: str, folder: Path, times: int = PROCESSES) -> dict[str, list[float]]:
    """Wall and CPU seconds of `agentflow check` on a project, a process each."""
    wall, cpu = list[float](), list[float]()
    command = [sys.executable, "-m", "agentflow", "check"]
    for _ in range(times):
        before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
        subprocess.run(command, cwd=folder, check=True, stdout=subprocess.DEVNULL)
        wall.append(time.perf_counter() - began)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        cpu.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)

    return {f"check of {what}, wall s": wall, f"check of {what}, CPU s": cpu}


def large_project() -> dict[str, list[float]]:
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "workflows").mkdir()
        (Path(folder) / "workflows" / "large.py").write_text(PROJECT)
        return processes("a project of 10,000 steps", Path(folder), SAMPLES)


def timed(work: Callable[[], object], per: float = 1) -> list[float]:
    """CPU seconds of some runs, divided by `per`; garbage of other work is collected before."""
    found: list[float] = []
    for _ in range(SAMPLES):
        gc.collect()
        began = time.process_time()
        work()
        found.append((time.process_time() - began) / per)

    return found


def shapes() -> dict[str, list[float]]:
    """Building and checking each shape at each size, the sizes one after the other in each sample."""
    found: dict[str, list[float]] = {}
    for count in SIZES:
        found[f"floor, random joins, {count:,}, us"] = timed(partial(floor, count), count / 1e6)

    for name, build in SHAPES.items():
        for count in SIZES:
            found[f"build and check, {name}, {count:,}, us"] = timed(partial(build, count), count / 1e6)

    return found


def later(name: str, count: int) -> dict[str, list[float]]:
    """What is asked for after the check, each of a new workflow, in microseconds of CPU per step."""
    asked: dict[str, Callable[[Workflow[int, int]], object]] = {
        "compiled": compile_workflow,
        "bound": lambda workflow: workflow.bound,
        "warnings": lambda workflow: workflow.warnings(),
        "digest": lambda workflow: workflow.digest,
    }
    found: dict[str, list[float]] = {f"{what}, {name}, {count:,}, us": [] for what in asked}
    for _ in range(SAMPLES):
        workflow = SHAPES[name](count)
        for what, ask in asked.items():
            began = time.process_time()
            ask(workflow)
            found[f"{what}, {name}, {count:,}, us"].append((time.process_time() - began) / count * 1e6)

    return found


def memory(name: str, count: int) -> dict[str, list[float]]:
    """The bytes per step that a workflow keeps, and those at most while it is built."""
    gc.collect()
    tracemalloc.start()
    workflow = SHAPES[name](count)
    kept, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert workflow.spec.steps
    return {
        f"kept, {name}, {count:,}, bytes": [kept / count],
        f"at most, {name}, {count:,}, bytes": [most / count],
    }


def measured() -> dict[str, list[float]]:
    found = shapes()
    for name in ("in line", "random joins"):
        for count in SIZES:
            found |= later(name, count) | memory(name, count)

    found["bound of 10,000 steps in line, CPU s"] = timed(partial(worst_case, chain(10_000).spec))
    for count in (20, 200, 2_000):
        found[f"bound of {count:,} steps in circles, CPU s"] = timed(partial(worst_case, circles(count)))

    return found | processes("this project", ROOT) | large_project()


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
        print(f"{name:68} {row['median']:9.3f}  p95 {row['p95']:9.3f}")


if __name__ == "__main__":
    main()
