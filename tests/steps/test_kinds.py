"""Whether a step is an agent or a planner, whatever is loaded."""

from __future__ import annotations

import sys
from types import ModuleType

import pytest

from agentflow import Agent, Planner, step, tool
from agentflow.steps.kinds import is_agent, is_planner


@tool
async def look_up(word: str) -> str:
    """Looks a word up."""
    return word


@step
async def plain(text: str) -> str:
    return text


def test_agents_and_planners_are_told_apart() -> None:
    """Each is what it is, also as a subclass, and nothing else is either."""

    class Own(Agent[str, str]):
        pass

    agent, planner = (
        Own("a", takes=str, gives=str, prompt="{input}"),
        Planner("p", takes=str, gives=str, tools=[look_up]),
    )

    assert [(is_agent(s), is_planner(s)) for s in (agent, planner, plain, None)] == [
        (True, False),
        (False, True),
        (False, False),
        (False, False),
    ]


def test_a_module_that_another_thread_is_about_to_load_defines_no_agent(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """While the module stands there without its class, a plain step is a plain step."""
    monkeypatch.setitem(sys.modules, "agentflow.steps.agent", ModuleType("agentflow.steps.agent"))

    assert not is_agent(plain)
