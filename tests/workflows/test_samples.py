"""The four workflows of this project, with the embedded model, as a new user runs them."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from agentflow import Answer, Decision, MemoryJournal, Pending, Result, Settings, run
from agentflow.events import OperationFinished, OperationStarted
from agentflow.project import find_project

ROOT = Path(__file__).parents[2]


@pytest.fixture
async def journal() -> AsyncIterator[MemoryJournal]:
    """A journal of its own for each test."""
    kept = MemoryJournal()
    yield kept
    await kept.close()


async def done(
    name: str, value: Any, journal: MemoryJournal, tmp_path: Path, *, yes: bool | None = None
) -> Result[Any]:
    """Run a workflow of this project; `yes` answers its approvals."""

    async def answer(pending: Pending) -> Decision | None:
        return None if yes is None else Decision(approved=yes, by="Ada", comment="seen")

    workflow = find_project(ROOT).load(name)
    (tmp_path / "workflows").mkdir(exist_ok=True)
    if not (tmp_path / "workflows" / "samples").exists():
        (tmp_path / "workflows" / "samples").symlink_to(ROOT / "workflows" / "samples")

    settings = Settings(journal=journal, root=tmp_path, approver=answer)
    return await run(workflow, value, settings=settings).result()


async def test_research_answers_with_citations_that_point_at_the_words(
    journal: MemoryJournal, tmp_path: Path
) -> None:
    """The main job: the answer holds the fact, and each citation is the exact text at its place in the source."""
    from tools import files

    result = await done("research", {"question": "How much may a hotel cost in Lisbon?"}, journal, tmp_path)

    answer: Answer = result.unwrap()
    assert "130" in answer.text
    assert "[1]" in answer.text
    assert answer.citations
    for cited in answer.citations:
        text = await files._search.text(cited.source)
        assert text[cited.start : cited.end] == cited.text
        assert cited.tool == "file_search"


async def test_without_network_the_planner_routes_around_the_web(
    journal: MemoryJournal, tmp_path: Path
) -> None:
    """A question that the router sends to the web is answered from the files, and the trail says why."""
    question = "How much may a hotel cost in Lisbon, and who approves more?"
    result = await done("research", {"question": question}, journal, tmp_path)

    events = await journal.read(result.run_id)
    begun = {(e.step, e.operation): e for e in events if isinstance(e, OperationStarted) and e.kind == "tool"}
    failed = [
        begun[(e.step, e.operation)].name
        for e in events
        if isinstance(e, OperationFinished) and e.error is not None and (e.step, e.operation) in begun
    ]
    assert failed == ["web_search"]
    assert "file_search" in [e.name for e in begun.values()]
    assert result.status == "done"


async def test_data_analysis_gives_a_table_a_program_and_a_plot(
    journal: MemoryJournal, tmp_path: Path
) -> None:
    """The figures equal those counted here, and the plot is a picture."""
    result = await done("data_analysis", {"question": "Total units by category in 2025"}, journal, tmp_path)

    analysis = result.unwrap()
    rows = [
        line.split(",")
        for line in (ROOT / "workflows/samples/sales.csv").read_text(encoding="utf-8").splitlines()
    ]
    head = rows[0]
    wanted: dict[str, int] = {}
    for row in rows[1:]:
        if row[head.index("date")].startswith("2025"):
            category = row[head.index("category")]
            wanted[category] = wanted.get(category, 0) + int(row[head.index("units")])

    assert {row[0]: row[1] for row in analysis.rows} == wanted
    assert "data" in analysis.code
    assert (tmp_path / analysis.plot).read_bytes().startswith(b"\x89PNG")


async def test_a_question_that_the_table_cannot_answer_says_so(
    journal: MemoryJournal, tmp_path: Path
) -> None:
    """Nonsense is refused in words, not answered with a guess."""
    result = await done("data_analysis", {"question": "Why do birds sing?"}, journal, tmp_path)

    assert result.status == "failed"
    assert result.error is not None
    assert result.error.kind == "ModelCannot"


@pytest.mark.parametrize("yes", [True, False])
async def test_ticket_triage_sends_only_what_is_approved(
    journal: MemoryJournal, tmp_path: Path, yes: bool
) -> None:
    """Drafts cite the handbook; with a yes each is sent once, with a no nothing is."""
    result = await done("ticket_triage", {"count": 3}, journal, tmp_path, yes=yes)

    outcome = result.unwrap()
    assert [reply.ticket for reply in outcome.replies]
    assert any(reply.sources for reply in outcome.replies)
    outbox = tmp_path / "traces/artifacts/outbox.jsonl"
    if not yes:
        assert outcome.sent == []
        assert len(outcome.held) == 3
        assert outcome.comment == "seen"
        assert not outbox.exists()
        return

    sent = [json.loads(line) for line in outbox.read_text(encoding="utf-8").splitlines()]
    assert sorted(m["to"] for m in sent) == sorted(reply.to for reply in outcome.replies)
    assert len({m["key"] for m in sent}) == 3


async def test_ticket_triage_waits_for_a_person(journal: MemoryJournal, tmp_path: Path) -> None:
    """Nobody there to approve: the run waits, and shows exactly what would be sent."""
    result = await done("ticket_triage", {"count": 1}, journal, tmp_path)

    assert result.status == "waiting"
    assert result.pending[0].subject["replies"][0]["ticket"] == "T-1001"
    assert result.pending[0].digest.startswith("sha256:")


async def test_site_check_finds_a_price(journal: MemoryJournal, tmp_path: Path) -> None:
    """A real browser reads the sample shop, and the answer cites the page."""
    result = await done("site_check", {"task": "How much is the Fjell 2 tent?"}, journal, tmp_path)

    report = result.unwrap()
    assert "349.00" in report.answer.text
    assert report.answer.citations[0].source.startswith("http://shop.localhost/")
    assert report.form == "not asked for"


async def test_site_check_sends_a_form_once_it_is_approved(journal: MemoryJournal, tmp_path: Path) -> None:
    """The shop receives what was approved, and its answer is in the report."""
    from tools.browser import shop

    before = len(shop().messages)
    values = {"name": "Ada", "email": "ada@example.com", "topic": "Returns", "message": "Hello there"}
    task = {"task": "Is there a contact form?", "values": values}

    refused = (await done("site_check", task, journal, tmp_path, yes=False)).unwrap()
    assert refused.form.startswith("not sent: refused by Ada")
    assert len(shop().messages) == before

    sent = (await done("site_check", task, journal, tmp_path, yes=True)).unwrap()
    assert sent.form == "sent"
    assert len(shop().messages) == before + 1
    assert sent.reply
