"""Agents that call tools side by side, hand over, ask one another and ask people: their runs are executed again as they went."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from agents.testing import ScriptedModel, assistant_message, function_call

from agentflow import Agent, Workflow, tool
from agentflow.app import replay_events
from agentflow.encoding import decode, encode
from agentflow.events import Event, OperationStarted
from agentflow.testing import Ended, run_to_end

made: list[str] = []


@tool(effect="read", returns="untrusted")
async def look(item: str) -> str:
    """Look something up; the later it is asked, the sooner it ends."""
    made.append(item)
    await asyncio.sleep({"a": 0.03, "b": 0.01, "c": 0.0}.get(item, 0))
    if item == "b":
        raise LookupError("there is no b")

    return f"all about {item}"


@tool(effect="write", needs_approval=True)
async def order(item: str) -> str:
    """Order something."""
    made.append(f"order {item}")
    return f"ordered {item}"


def asks(name: str, *arguments: dict[str, Any]) -> list[Any]:
    return [function_call(name, json.dumps(a), call_id=f"{name}{n}") for n, a in enumerate(arguments)]


def helping() -> Workflow[str, str]:
    buyer = Agent("buyer", takes=str, gives=str, prompt="Buy.", tools=[order])
    expert = Agent("expert", takes=str, gives=str, prompt="Explain.", tools=[look], max_turns=3)
    desk = Agent(
        "desk",
        takes=str,
        gives=str,
        prompt="Help.",
        tools=[look],
        handoffs=[buyer],
        agents_as_tools=[expert],
        max_turns=8,
    )
    return Workflow("helping", start=desk, end=desk)


def script() -> ScriptedModel:
    return ScriptedModel(
        [
            asks("look", {"item": "a"}, {"item": "b"}, {"item": "c"}),
            asks("expert", {"input": "what is d?"}),
            asks("look", {"item": "d"}),
            [assistant_message("d is a letter")],
            asks("transfer_to_buyer", {}),
            [*asks("order", {"item": "kettle"}), *asks("look", {"item": "x"})],
            [assistant_message("bought")],
        ]
    )


def test_agents_that_work_together_replay() -> None:
    """The order in which parallel calls ended is the record's; no tool is called, and nobody is asked."""
    made.clear()
    ended: Ended[str] = asyncio.run(run_to_end(helping(), "go", model=script()))
    assert ended.output == "bought", ended.result.error
    assert "order kettle" in made
    events: list[Event] = [decode(encode(event)) for event in ended.events]
    began = [e.name for e in events if isinstance(e, OperationStarted) and e.kind == "agent"]
    assert began == ["desk", "expert", "buyer"]
    done = list(made)

    came = asyncio.run(replay_events(helping(), events))

    assert came.divergence is None, str(came.divergence)
    assert came.output == "bought"
    assert made == done
