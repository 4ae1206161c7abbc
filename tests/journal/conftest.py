"""A journal of each kind."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from agentflow import MemoryJournal, SqliteJournal
from agentflow.journal import Journal


@pytest.fixture(params=["memory", "sqlite", "sqlite full"])
async def journal(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Journal]:
    kept: Journal = (
        MemoryJournal()
        if request.param == "memory"
        else SqliteJournal(
            tmp_path / "deep" / "journal.db", synchronous="FULL" if "full" in request.param else "NORMAL"
        )
    )
    yield kept
    await kept.close()
