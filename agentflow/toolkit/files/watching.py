"""Notices that something in a folder changes, so that its index can be brought in step without being asked."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from importlib.util import find_spec
from pathlib import Path

from agentflow.exceptions import MissingExtra

_TOGETHER = 400  # milliseconds that changes are waited for to be told together


async def changes(folder: Path, covers: Callable[[str], bool]) -> AsyncIterator[int]:
    """How many files that `covers` knows by their path in `folder` have changed, each time that some have."""
    if find_spec("watchfiles") is None:
        raise MissingExtra("watch", "watchfiles")

    from watchfiles import Change, awatch

    def is_ours(_: Change, path: str) -> bool:
        return covers(Path(path).relative_to(folder).as_posix())

    async for changed in awatch(folder, watch_filter=is_ours, debounce=_TOGETHER):
        yield len(changed)
