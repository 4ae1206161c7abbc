"""A workflow with all that may be cut off, waited for or in doubt, and a model that answers by what it is asked."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from typing import Any

from agents.testing import ScriptedModel, assistant_message, function_call

from agentflow import (
    Agent,
    Approval,
    Decision,
    Evidence,
    MemoryJournal,
    Planner,
    Settings,
    Workflow,
    each,
    operation,
    resume,
    step,
    tool,
)
from agentflow.app import Result
from agentflow.encoding import decode, encode
from agentflow.events import Event
from agentflow.tools import call


class Answering(ScriptedModel):
    """Asks for its tools first, and answers once it was told what they gave: the same whenever it is asked the same."""

    async def get_response(self, system_instructions: Any, input: Any, *args: Any, **given: Any) -> Any:  # noqa: A002
        self.enqueue(_reply(str(input)))
        return await super().get_response(system_instructions, input, *args, **given)

    async def stream_response(
        self,
        system_instructions: Any,
        input: Any,  # noqa: A002
        *args: Any,
        **given: Any,
    ) -> AsyncIterator[Any]:
        self.enqueue(_reply(str(input)))
        async for event in super().stream_response(system_instructions, input, *args, **given):
            yield event


def _reply(asked: str) -> list[Any]:
    if "write to" in asked:
        told = "seen" in asked or "function_call_output" in asked
        wanted = [
            function_call("look", {"what": "b"}, call_id="c1"),
            function_call("pay", {"amount": 7}, call_id="c2"),
        ]
        return [assistant_message("written")] if told else wanted

    look = {"id": "c1", "tool": "look", "arguments": json.dumps({"what": "a"}), "confidence": 1}
    plan = {"thought": "so", "calls": [] if "seen" in asked else [look], "done": "seen" in asked}
    return [assistant_message(json.dumps(plan))]


@tool
async def look(what: str) -> list[Evidence]:
    """Look something up."""
    return [Evidence(text=f"seen {what}", source="notes", place=what, at="2026-01-01T00:00:00")]


@tool(effect="write")
async def send(text: str) -> int:
    """Send something, for good."""
    return len(text)


@tool(effect="write", needs_approval=True)
async def pay(amount: int) -> str:
    """Pay."""
    return f"paid {amount}"


@step
async def sending(text: str) -> int:
    return int(await call(send, {"text": text}))


plan = Planner("plan", takes=str, gives=list[Evidence], tools=[look])


@step
async def words(found: list[Evidence]) -> list[str]:
    return ["one", "two"]


@step
async def order(word: str) -> str:
    async with operation("agent", "clerk", request={"word": word}) as clerk:
        sent = await call(send, {"text": word})
        clerk.result = str(sent)

    return str(await call(pay, {"amount": int(sent)})) if word == "one" else word


@step
async def letter(orders: list[str]) -> str:
    return "write to " + ", ".join(orders)


writer = Agent("writer", takes=str, gives=str, prompt="Write.", tools=[look, pay])
check = Approval("check", of=str)
ordering = Workflow(
    "ordering",
    start=plan,
    end=check,
    edges=[plan >> words >> each(order, parallel=2) >> letter >> writer >> check],
)


def settings(journal: MemoryJournal, **more: Any) -> Settings:
    return Settings(journal=journal, model="scripted/m", models={"m": Answering()}, **more)


async def cut(events: Sequence[Event], count: int) -> MemoryJournal:
    """A journal with the first `count` events, as another process would read them."""
    journal = MemoryJournal()
    await journal.append("r", [decode(encode(event)) for event in events[:count]])
    return journal


async def answered(run: Any, verdict: Any = "retry") -> Result[Any]:
    """Go on with a run after all that it waits for has been answered by ann."""
    for waiting in run.runner.waiting():
        if waiting.kind == "approval":
            run.decide(waiting.name, Decision(approved=True, by="ann", comment="fine"))
        else:
            result = 3 if waiting.tool == "send" else "paid 3"
            run.resolve(waiting.name, verdict, result=result, by="ann", comment="looked")

    ended: Result[Any] = await run.result()
    return ended


async def finished(journal: MemoryJournal, **more: Any) -> Result[Any]:
    """Take a run up as often as people have to answer, each time as a new process would."""
    while True:
        result = await answered(await resume(ordering, "r", settings=settings(journal, **more)))
        if result.status != "waiting":
            return result
