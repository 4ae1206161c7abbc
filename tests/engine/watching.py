"""Letting the loop go on until something has come about."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


async def until(condition: Callable[[], bool]) -> None:
    """Wait until `condition` holds; fails after ten thousand turns of the loop, each of a millisecond at least."""
    for _ in range(10_000):
        if condition():
            return

        await asyncio.sleep(0.001)

    raise AssertionError("it never came about")
