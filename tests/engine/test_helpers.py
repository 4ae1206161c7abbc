"""What agentflow offers for users' own tests."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from agentflow import Agent, Workflow, each
from agentflow.exceptions import RunRejected, RunWaiting, StepFailed
from agentflow.journal.memory import MemoryJournal
from agentflow.testing import assert_path, path_of, run_to_end
from tests.definition.sound import SOUND, inner, last, one, spread, total, two


async def test_run_to_end_gives_the_output_and_the_events() -> None:
    """A workflow is run to its end; output, status and events are at hand."""
    ended = await run_to_end(SOUND["loop"].build(), 1)

    assert (ended.output, ended.result.status) == (13, "done")
    assert ended.events[0].type == "run.started"
    assert_path(ended.events, ["small", "opened", "small", "opened", "small", "opened", "small", "last"])


async def test_approvals_are_answered() -> None:
    """Approvals are given by default, refused on demand, decided by a function, or left open."""
    workflow = SOUND["approval"].build()

    assert (await run_to_end(workflow, 1)).output == 4
    assert (await run_to_end(workflow, 1, approve=False)).output == -1
    assert (await run_to_end(workflow, 1, approve=lambda pending: pending.subject == 2)).output == 4
    with pytest.raises(RunWaiting):
        _ = (await run_to_end(workflow, 1, approve=None)).output


async def test_a_refused_run_raises_when_asked_for_its_output() -> None:
    """A run that failed says how it stands; only its output raises."""
    ended = await run_to_end(SOUND["approval of items"].build(), 2, approve=False)

    assert ended.result.status == "rejected"
    with pytest.raises(RunRejected):
        _ = ended.output


async def test_the_path_of_a_run() -> None:
    """Steps of a sub-workflow are named with it, and the items of a map are left out."""
    nested = await run_to_end(Workflow("w", start=last, end=two, edges=[last >> inner >> two]), 1)
    mapped = await run_to_end(
        Workflow("w", start=spread, end=total, edges=[spread >> each(inner) >> total]), 2
    )

    assert nested.path == ["last", "inner", "inner/one", "inner/two", "inner/three", "inner/plus", "two"]
    assert path_of(mapped.events) == ["spread", "inner", "total"]


async def test_a_wrong_path_shows_both_ways() -> None:
    """The assertion says which way the run went and which was expected."""
    ended = await run_to_end(Workflow("w", start=one, end=two, edges=[one >> two]), 1)

    with pytest.raises(AssertionError, match="the run went one -> two, not two -> one"):
        assert_path(ended.events, ["two", "one"])


async def test_a_journal_and_settings_may_be_given() -> None:
    """The run is kept where the test says, with the settings that it says."""
    journal = MemoryJournal()
    seen: list[str] = []

    def watch(news: Any) -> None:
        seen.append(news.type)

    ended = await run_to_end(
        Workflow("w", start=one, end=one),
        1,
        journal=journal,
        settings={"observers": [watch]},
    )

    assert await journal.read(ended.result.run_id) == list(ended.events)
    assert seen[-1] == "run.finished"


async def test_a_scripted_model() -> None:
    """A model that says what the test wrote answers the agent; an answer that is missing fails the run."""
    from agentflow.testing import ScriptedModel, assistant_message

    ask = Agent("ask", takes=str, gives=str, prompt="Answer.")
    workflow = Workflow("w", start=ask, end=ask)
    ended = await run_to_end(workflow, "why?", model=ScriptedModel([[assistant_message("because")]]))

    assert ended.output == "because"
    assert ended.result.usage["model_calls"] == 1
    with pytest.raises(StepFailed):
        _ = (await run_to_end(workflow, "why?", model=ScriptedModel([]))).output


def test_importing_the_helpers_is_light() -> None:
    """The SDK is loaded only when a scripted model is asked for, and unknown names are refused."""
    code = "import sys, agentflow.testing as t; print('agents' in sys.modules, hasattr(t, 'nothing'))"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)

    assert done.stdout.split() == ["False", "False"]
