"""Turns of an agent, W4 and W9A, as cases: agentflow's and the bare SDK's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.benchmarks.agent_cost import bare, orchestrated, traced, workflow
from tests.benchmarks.case import Case


def _checked(_: Any) -> None:
    """The functions themselves assert what comes out."""


async def w4_agent(size: int, folder: Path) -> Case:
    """An agent that calls its tool `size` times, one call a turn, then answers."""
    built = workflow(size)

    async def once() -> str:
        return await orchestrated(size, built)

    return Case(run=once, units=size + 1, check=_checked)


async def w4_bare(size: int, folder: Path) -> Case:
    """The same on the SDK alone, its tracing off."""

    async def once() -> None:
        await bare(size)

    return Case(run=once, units=size + 1, check=_checked)


async def w9_agent(size: int, folder: Path) -> Case:
    """An agent's turns with spans made as they are exported, two a turn, and kept in memory."""
    built = workflow(size)

    async def once() -> None:
        await traced(size, built, "redacted")

    return Case(run=once, units=size + 1, check=_checked)
