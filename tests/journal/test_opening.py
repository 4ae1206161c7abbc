"""Which journal an address names, and how it is opened."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from agentflow import MemoryJournal, SqliteJournal
from agentflow.exceptions import JournalUnwritable, ProjectError
from agentflow.project import Project, open_journal
from tests.journal.examples import chain


@pytest.mark.parametrize(
    ("options", "synchronous"),
    [("", 1), ("?synchronous=normal", 1), ("?synchronous=full", 2), ("?synchronous=FULL", 2)],
)
async def test_an_address_may_say_how_sure_it_is(tmp_path: Path, options: str, synchronous: int) -> None:
    """`full` syncs each append; without it the journal survives the process, not a power cut."""
    journal = open_journal(f"sqlite:///deep/j.db{options}", tmp_path)

    assert isinstance(journal, SqliteJournal)
    assert journal.path == tmp_path / "deep" / "j.db"
    assert journal._db.execute("pragma synchronous").fetchone()[0] == synchronous
    await journal.close()


@pytest.mark.parametrize(
    "options", ["synchronous=off", "synchronous", "sync=full", "", "synchronous=full&mode=ro", "mode=ro"]
)
def test_an_option_that_is_not_known_is_refused(tmp_path: Path, options: str) -> None:
    """Nothing is opened under an address that says what no journal understands."""
    with pytest.raises(ProjectError, match="has an option that no journal knows") as refused:
        open_journal(f"sqlite:///j.db?{options}", tmp_path)

    assert "`?synchronous=full`" in refused.value.hint
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("url", ["postgres:///x", "sqlite:///", "sqlite:///?synchronous=full", "j.db", ""])
def test_what_names_no_journal_is_refused(tmp_path: Path, url: str) -> None:
    """Other schemes, and addresses without a path, are errors with an example."""
    with pytest.raises(ProjectError, match="names no journal"):
        open_journal(url, tmp_path)


async def test_a_projects_journal_to_read(tmp_path: Path) -> None:
    """A project that has no journal yet has no runs, and looking for them makes none; then it is only read."""
    project = Project(root=tmp_path)
    environ: dict[str, str] = {}
    reader = project.journal(environ, read_only=True)
    assert (await reader.runs(), sorted(tmp_path.iterdir())) == ([], [])  # noqa: ASYNC240

    writer = project.journal(environ)
    await writer.append("r", chain("r", 2))
    assert [row.run for row in await reader.runs()] == ["r"]
    with pytest.raises(JournalUnwritable, match="readonly"):
        await reader.append("r", chain("r", 3)[2:])

    for journal in (reader, writer):
        await journal.close()


async def test_memory_takes_no_options(tmp_path: Path) -> None:
    """A journal in memory is what it is, also to read."""
    journal: Any = open_journal("memory:", tmp_path, read_only=True)

    assert isinstance(journal, MemoryJournal)
    await journal.close()
