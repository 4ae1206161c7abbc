"""Tools that need a person, called by planners and agents in runs that pause for the answer and go on."""

from __future__ import annotations

import json
from typing import Any

import pytest
from agents.testing import ScriptedModel, assistant_message, function_call

from agentflow import Agent, Evidence, MemoryJournal, Planner, Settings, Workflow, run, tool
from agentflow.app import Decision, resume
from agentflow.events import OperationStarted

MADE: list[Any] = []


@tool
async def find(query: str) -> list[Evidence]:
    """Find passages."""
    MADE.append(query)
    return [Evidence(text=query, source=f"{query}.md")]


@tool(effect="write", needs_approval=True)
async def pay(amount: int) -> str:
    """Pay somebody."""
    MADE.append(amount)
    return f"paid {amount}"


def plan(*calls: tuple[str, str, Any], done: bool = False) -> Any:
    made = [{"id": i, "tool": t, "arguments": json.dumps(a)} for i, t, a in calls]
    return assistant_message(json.dumps({"thought": "so", "calls": made, "done": done}))


PLANNER = Planner("work", takes=str, gives=list[Evidence], tools=[find, pay])
PLANS = [
    [plan(("c1", "find", {"query": "tea"}), ("c2", "pay", {"amount": 5}), ("c3", "pay", {"amount": 50}))],
    [plan(done=True)],
]
AGENT = Agent("work", takes=str, gives=list[Evidence], tools=[find, pay])
TURNS = [
    [
        function_call("find", {"query": "tea"}, call_id="c1"),
        function_call("pay", {"amount": 5}, call_id="c2"),
        function_call("pay", {"amount": 50}, call_id="c3"),
    ],
    [assistant_message("done")],
]


@pytest.mark.parametrize(("step", "script"), [(PLANNER, PLANS), (AGENT, TURNS)], ids=["planner", "agent"])
async def test_a_run_pauses_for_a_person_and_goes_on_without_doing_anything_twice(
    step: Any, script: Any
) -> None:
    """Both calls are asked about at once; after the answers, each call and each model call has been made once."""
    MADE.clear()
    model = ScriptedModel(script)
    journal = MemoryJournal()
    settings = Settings(journal=journal, model="scripted/m", models={"m": model})
    workflow = Workflow("w", start=step, end=step)

    paused = await run(workflow, "go", settings=settings).result()

    assert paused.status == "waiting"
    assert [(pending.tool, pending.subject) for pending in paused.pending] == [
        ("pay", {"amount": 5}),
        ("pay", {"amount": 50}),
    ]
    assert MADE == ["tea"]

    going_on = await resume(workflow, paused.run_id, settings=settings)
    for pending in paused.pending:
        yes = pending.subject["amount"] < 10
        going_on.decide(pending.name, Decision(approved=yes, by="Ann", comment="" if yes else "too much"))

    result = await going_on.result()

    assert result.unwrap()[0].source == "tea.md"
    assert MADE == ["tea", 5]
    assert len(model.calls) == 2
    assert "a person refused this call of `pay`: too much" in str(model.calls[1].input)
    begun = [e for e in await journal.read(paused.run_id) if isinstance(e, OperationStarted)]
    assert [e.name for e in begun if e.kind == "chat"] == ["m", "m"]
    assert sorted((e.name, e.once) for e in begun if e.kind == "tool") == [
        ("find", False),
        ("pay", False),
        ("pay", True),
    ]
