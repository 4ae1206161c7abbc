"""File search of this project: which folder is searched, and how its first indexing is shown."""

from __future__ import annotations

import os
import time
from pathlib import Path

from agentflow.context import current
from agentflow.evidence import Evidence
from agentflow.toolkit.files import FileSearch, index_path
from agentflow.tools import tool

ROOT = Path(__file__).resolve().parents[1]
# Set `AGENTFLOW_FILES` to search in another folder, relative to this project or absolute.
FOLDER = ROOT / os.environ.get("AGENTFLOW_FILES", "workflows/samples/handbook")
_PAUSE = 0.5  # seconds between two lines of progress
_shown = float("-inf")


def show_progress(done: int, total: int, what: str) -> None:
    """Tell those who watch the run which file is being read, but not more than twice a second."""
    global _shown
    run = current()
    if run is not None and (not total or time.monotonic() - _shown >= _PAUSE):
        _shown = time.monotonic()
        run.stream(f"indexing {done}/{total} {what}\n" if total else f"{what}\n")


_search = FileSearch(FOLDER, index=index_path(ROOT, FOLDER), trust="trusted", progress=show_progress)


@tool(effect="read", returns="trusted", private=True, timeout=120)
async def file_search(query: str, max_results: int = 5) -> list[Evidence]:
    """Search this organisation's own documents and return the passages that answer best."""
    return await _search.search(query, max_results=max_results)
