"""The answers of `research` are borne out by their runs, and forgeries of them are found."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from agentflow import Answer, MemoryJournal, Settings, run
from agentflow.claims import Record, check
from agentflow.project import find_project
from tests.steps.forgeries import FORGERIES, forged

ROOT = Path(__file__).parents[2]
QUESTIONS = [3, 4, 17, 30]


@pytest.mark.parametrize("number", QUESTIONS)
async def test_an_answer_of_the_embedded_model_gives_no_alarm(number: int, tmp_path: Path) -> None:
    """The model quotes; so each finding would be a false alarm. And each forgery of its answer is found."""
    lines = (ROOT / "workflows/samples/questions.jsonl").read_text(encoding="utf-8").splitlines()
    journal = MemoryJournal()
    (tmp_path / "workflows").mkdir()
    (tmp_path / "workflows" / "samples").symlink_to(ROOT / "workflows" / "samples")
    settings = Settings(journal=journal, root=tmp_path)
    workflow = find_project(ROOT).load("research")

    result = await run(
        workflow, {"question": json.loads(lines[number])["question"]}, settings=settings
    ).result()

    answer: Answer = result.unwrap()
    record = Record.of(await journal.read(result.run_id))
    assert answer.citations
    assert check(answer, record).findings == []
    for name in FORGERIES:
        for case in forged(name, answer, record):
            assert {f.code for f in check(case.answer, case.record).findings} & case.codes, case.answer.text
