"""`claims` holds the answers of a run that is over against its record."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.conftest import Launcher

ANSWERING = '''
from agentflow import Answer, Evidence, Workflow, step, tool


@tool(effect="read", returns="trusted")
async def search_files(query: str) -> list[Evidence]:
    """Search the files."""
    return [Evidence(text="A hotel may cost 130 EUR.", source="travel.md", start=0, end=25)]


@step
async def write(text: str) -> Answer:
    found = await search_files(text)
    return Answer(text=text, citations=found)


@step
async def wrap(answer: Answer) -> dict[str, list[Answer]]:
    return {"answers": [answer, answer]}


answering = Workflow("answering", start=write, end=write)
wrapped = Workflow("wrapped", start=write, end=wrap, edges=[write >> wrap])
'''


@pytest.fixture
def answering(project: Path) -> Path:
    """The project with a step that answers with what it is told, citing the one passage that its tool returns."""
    (project / "workflows" / "answering.py").write_text(ANSWERING, encoding="utf-8")
    return project


def test_a_supported_answer_exits_with_0(answering: Path, launch: Launcher) -> None:
    """Nothing is found, and it is said so."""
    launch("run", "answering", "It is “A hotel may cost 130 EUR” [1].", "--run-id", "r1")

    checked = launch("claims", "r1")

    assert checked.code == 0
    assert "borne out" in checked.out
    assert launch("claims", "r1", "--json").json["supported"] is True


def test_an_unsupported_one_exits_with_4_and_says_where(answering: Path, launch: Launcher) -> None:
    """Each finding names its place; a warning alone is for `--strict`."""
    launch("run", "answering", "I ran the code. It is 140 EUR [1].", "--run-id", "r1")
    launch("run", "answering", "It is 140 EUR [1].", "--run-id", "r2")

    checked = launch("claims", "r1")
    assert checked.code == 4
    assert "tool-not-called at 0-15" in checked.out
    assert "number-unsupported at 22-25" in checked.out
    assert launch("claims", "r2").code == 0
    assert launch("claims", "r2", "--strict").code == 4


def test_answers_are_found_wherever_they_are(answering: Path, launch: Launcher) -> None:
    """Within an output, by their path; of one step; where there is none, that is said."""
    launch("run", "wrapped", "I ran the code [1].", "--run-id", "r1")
    launch("run", "sums", "numbers=[1]", "--run-id", "r2")

    data = launch("claims", "r1", "--json").json
    assert [a["where"] for a in data["answers"]] == ["output.answers[0]", "output.answers[1]"]
    assert "write#1" in launch("claims", "r1", "--step", "write").out
    assert "has no answer" in launch("claims", "r2").err
    assert launch("claims", "r1", "--step", "wrote").code == 2
    assert launch("claims", "r9").code == 2
