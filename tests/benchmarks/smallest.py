"""The smallest workflow: one step, defined, checked and run."""

from __future__ import annotations

import asyncio

from agentflow import Workflow, run, step


@step
async def greet(name: str) -> str:
    return f"hello {name}"


def main() -> None:
    """Run it."""
    assert asyncio.run(_greeted()) == "hello you"


async def _greeted() -> str:
    return await run(Workflow("greeting", start=greet, end=greet, edges=[greet]), "you")
