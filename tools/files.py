"""File search of this project: which store is searched, and how its first indexing is shown."""

from __future__ import annotations

import os
import time
from pathlib import Path

from agentflow.context import current
from agentflow.evidence import Evidence
from agentflow.project import find_project
from agentflow.toolkit.files import FileSearch, index_path, stores_of
from agentflow.tools import tool

ROOT = Path(__file__).resolve().parents[1]
STORE = "handbook"  # of `[tool.agentflow.stores]` in pyproject.toml
_PAUSE = 0.5  # seconds between two lines of progress
_shown = float("-inf")


def show_progress(done: int, total: int, what: str) -> None:
    """Tell those who watch the run which file is being read, but not more than twice a second."""
    global _shown
    run = current()
    if run is not None and (not total or time.monotonic() - _shown >= _PAUSE):
        _shown = time.monotonic()
        run.stream(f"indexing {done}/{total} {what}\n" if total else f"{what}\n")


def search_here() -> FileSearch:
    """The search in the store, or in the folder that `AGENTFLOW_FILES` names, relative to this project or absolute."""
    other = os.environ.get("AGENTFLOW_FILES")
    if other is None:
        return stores_of(find_project(ROOT).settings, ROOT, progress=show_progress)[STORE]

    folder = ROOT / other
    return FileSearch(folder, index=index_path(ROOT, folder), trust="trusted", progress=show_progress)


_search = search_here()


@tool(effect="read", returns="trusted", private=True, timeout=120)
async def file_search(query: str, max_results: int = 5) -> list[Evidence]:
    """Search this organisation's own documents and return the passages that answer best."""
    return await _search.search(query, max_results=max_results)
