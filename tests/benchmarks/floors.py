"""The floors: what the least that could do the same costs. Nothing of agentflow is loaded here."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from tests.benchmarks.case import Case

# Bytes of the row of a raw commit; about what a step's events come to.
ROW = b"x" * 200


async def _next(number: int) -> int:
    return number + 1


def expects(wanted: Any) -> Callable[[Any], None]:
    """A check that a result is what was wanted."""

    def check(came: Any) -> None:
        assert came == wanted, f"{came} came, not {wanted}"

    return check


async def awaited(size: int, folder: Path) -> Case:
    """A coroutine awaited for each step."""

    async def run() -> int:
        number = 0
        while number < size:
            number = await _next(number)

        return number

    return Case(run=run, units=size, check=expects(size))


async def task(size: int, folder: Path) -> Case:
    """A task for each step: what isolates steps from each other pays for one."""

    async def run() -> int:
        number = 0
        for _ in range(size):
            number = await asyncio.create_task(_next(number))

        return number

    return Case(run=run, units=size, check=expects(size))


async def gathered(size: int, folder: Path) -> Case:
    """Branches by `asyncio.gather`."""

    async def run() -> int:
        return sum(await asyncio.gather(*(_next(n) for n in range(size))))

    return Case(run=run, units=size, check=expects(size * (size + 1) // 2))


async def commit_normal(size: int, folder: Path) -> Case:
    """A row and a commit for each step, which survive the process."""
    return _commits(size, folder, "normal")


async def commit_full(size: int, folder: Path) -> Case:
    """A row and a commit for each step, which survive a power cut."""
    return _commits(size, folder, "full")


def _commits(size: int, folder: Path, sync: str) -> Case:
    db = sqlite3.connect(folder / f"floor-{sync}.db", isolation_level=None)
    db.execute("pragma journal_mode=wal")
    db.execute(f"pragma synchronous={sync}")
    db.execute("create table if not exists rows (n integer primary key, data blob)")

    async def run() -> int:
        number = 0
        for _ in range(size):
            number = await _next(number)
            db.execute("begin immediate")
            db.execute("insert into rows (data) values (?)", (ROW,))
            db.execute("commit")

        return number

    return Case(run=run, units=size, check=expects(size), inner=1)


async def graphlib_linear(size: int, folder: Path) -> Case:
    """A chain put into the standard library's sorter, and sorted."""
    return _graphlib(size, linear(size))


async def graphlib_dag(size: int, folder: Path) -> Case:
    """A random acyclic graph put into the standard library's sorter, and sorted."""
    return _graphlib(size, dag(size))


def _graphlib(size: int, edges: list[tuple[int, int]]) -> Case:
    from graphlib import TopologicalSorter

    async def run() -> int:
        sorter: TopologicalSorter[int] = TopologicalSorter()
        for node in range(size):
            sorter.add(node)

        for source, target in edges:
            sorter.add(target, source)

        return sum(1 for _ in sorter.static_order())

    return Case(run=run, units=size, check=expects(size))


async def networkx_linear(size: int, folder: Path) -> Case:
    """A chain as a networkx graph, found to be acyclic and sorted."""
    return _networkx(size, linear(size))


async def networkx_dag(size: int, folder: Path) -> Case:
    """A random acyclic graph as a networkx graph, found to be acyclic and sorted."""
    return _networkx(size, dag(size))


def _networkx(size: int, edges: list[tuple[int, int]]) -> Case:
    import networkx as nx

    async def run() -> int:
        graph: nx.DiGraph[int] = nx.DiGraph()
        graph.add_nodes_from(range(size))
        graph.add_edges_from(edges)
        assert nx.is_directed_acyclic_graph(graph)
        return sum(1 for _ in nx.topological_sort(graph))

    return Case(run=run, units=size, check=expects(size))


def linear(size: int) -> list[tuple[int, int]]:
    """The edges of a chain."""
    return [(node, node + 1) for node in range(size - 1)]


def dag(size: int) -> list[tuple[int, int]]:
    """The edges of an acyclic graph in which each node has one to three parents among the 50 before it; always the same."""
    from random import Random

    random = Random(7)
    edges: list[tuple[int, int]] = []
    for node in range(1, size):
        first = max(0, node - 50)
        wanted = min(random.choice((1, 2, 3)), node - first)
        edges += [(parent, node) for parent in random.sample(range(first, node), wanted)]

    return edges


async def asleep(size: int, folder: Path) -> Case:
    """As many coroutines at once, each of ten sleeps of 50 ms."""

    async def one() -> int:
        number = 0
        for _ in range(10):
            await asyncio.sleep(0.05)
            number += 1

        return number

    async def run() -> int:
        return sum(await asyncio.gather(*(one() for _ in range(size))))

    return Case(run=run, units=size * 10, check=expects(size * 10), inner=1)


async def imported(size: int, folder: Path) -> Case:
    """A Python that loads its own asyncio."""
    from tests.benchmarks.importing import importing

    return importing("import asyncio")


async def spans(size: int, folder: Path) -> Case:
    """A span of OpenTelemetry with five attributes for each step, to a batch processor and an exporter in memory."""
    from tests.benchmarks.otel import memory_provider

    provider, kept = memory_provider()
    traced = _traced(size, provider.get_tracer("floor"))

    async def once() -> int:
        kept.clear()
        came = await traced()
        provider.force_flush()
        return came

    def check(came: int) -> None:
        assert (came, len(kept.get_finished_spans())) == (size, size + 1)

    return Case(run=once, units=size, check=check)


async def no_spans(size: int, folder: Path) -> Case:
    """The same calls of OpenTelemetry's interface with nobody behind it."""
    from opentelemetry import trace

    return Case(run=_traced(size, trace.get_tracer("floor")), units=size, check=expects(size))


def _traced(size: int, tracer: Any) -> Callable[[], Awaitable[int]]:
    names = {
        "workflow.name": "chain",
        "workflow.run": "r",
        "step.name": "s",
        "step.index": 3,
        "step.attempt": 1,
    }

    async def run() -> int:
        number = 0
        with tracer.start_as_current_span("run"):
            for _ in range(size):
                with tracer.start_as_current_span("step", attributes=names):
                    number = await _next(number)

        return number

    return run
