"""Runs that earlier releases recorded go on with the code of today."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from agentflow import Decision, Settings, SqliteJournal, resume
from agentflow.app import compile_workflow
from agentflow.engine.recovery import recover
from agentflow.engine.runner import Runner
from agentflow.events import OperationStarted
from agentflow.exceptions import ProjectError
from tests.journal.releases.recorded import FOLDER, RUNS, WORKFLOWS

FILES = {recorded.workflow: file for file, recorded in RUNS.items()}


@pytest.fixture
async def journal(request: Any, tmp_path: Path) -> AsyncIterator[SqliteJournal]:
    """A copy of the journal that a workflow's run was recorded in."""
    shutil.copy(FOLDER / FILES[request.param], tmp_path / "j.db")
    opened = SqliteJournal(tmp_path / "j.db")
    yield opened
    await opened.close()


def recorded(name: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("journal", [name], indirect=True)


async def folded(journal: SqliteJournal, name: str) -> Runner:
    run = RUNS[FILES[name]].run
    runner = Runner(compile_workflow(WORKFLOWS[name]), journal, run)
    recover(runner, await journal.read(run))
    return runner


@pytest.mark.parametrize(
    ("journal", "name", "status"),
    [
        ("writing", "writing", "done"),
        ("signing", "signing", "running"),
        ("counting", "counting", "interrupted"),
        ("failing", "failing", "failed"),
        ("asking", "asking", "running"),
    ],
    indirect=["journal"],
)
async def test_a_recorded_run_folds(journal: SqliteJournal, name: str, status: str) -> None:
    """The state of each recorded run is what it was, and the run is of the definition that is there today."""
    runner = await folded(journal, name)

    assert runner.state.status == status
    assert (await journal.read(runner.run_id))[0].digest == WORKFLOWS[name].digest  # type: ignore[attr-defined]


@recorded("writing")
async def test_a_run_that_is_done_stays_done(journal: SqliteJournal) -> None:
    """Its output is read as it was, and it cannot be taken up."""
    runner = await folded(journal, "writing")
    assert runner.state.output is not None
    # chapters(essay) gives its length, its commas and 3; each is halved, doubled and squared.
    length = len("kettles, and more, and more") * 1000
    halves = [number // 2 for number in (length, 2000, 3)]
    assert runner.state.output.value(int) == sum(2 * half + half * half for half in halves)
    with pytest.raises(ProjectError, match="is over"):
        await resume(WORKFLOWS["writing"], "writing-1", settings=Settings(journal=journal))


@recorded("signing")
async def test_an_approval_can_still_be_given(journal: SqliteJournal) -> None:
    """What an earlier release asked is answered today."""
    run = await resume(WORKFLOWS["signing"], "signing-1", settings=Settings(journal=journal))
    run.decide(None, Decision(approved=True))
    assert await run == 64


@recorded("counting")
async def test_what_was_stopped_goes_on(journal: SqliteJournal) -> None:
    """A run that was interrupted comes to its end."""
    assert await (await resume(WORKFLOWS["counting"], "counting-1", settings=Settings(journal=journal))) == 81


@recorded("failing")
async def test_what_failed_is_tried_again(journal: SqliteJournal) -> None:
    """A failed run is tried again, and counts its attempts on."""
    run = await resume(WORKFLOWS["failing"], "failing-1", settings=Settings(journal=journal))
    result = await run.result()
    assert result.error is not None
    assert (result.status, result.error.kind) == ("failed", "ValueError")


@recorded("asking")
async def test_calls_of_an_earlier_release_are_not_made_again(journal: SqliteJournal) -> None:
    """In an agent step that was cut off, the model and the tools are asked only what has no outcome yet."""
    from agentflow.testing import ScriptedModel, assistant_message

    before = len(await journal.read("asking-1"))
    model = ScriptedModel([[assistant_message("seven, and more on Monday")]])
    settings = Settings(journal=journal, model="scripted/test", models={"test": model})
    assert (
        await (await resume(WORKFLOWS["asking"], "asking-1", settings=settings))
        == "seven, and more on Monday"
    )
    made = [e.name for e in (await journal.read("asking-1"))[before:] if isinstance(e, OperationStarted)]
    assert made == ["clerk", "delivery", "test"]
