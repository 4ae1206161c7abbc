"""The workflows whose runs were recorded by releases, and what each journal holds.

A change of a definition here changes its digest, and with it whether the recorded runs can be resumed: add, do not edit.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from agentflow import Agent, Approval, Workflow, each, gather, step, tool
from agentflow.path import Path as Edge

FOLDER = Path(__file__).parent
# True while a run is recorded that is to be cut in its middle: what would go on then waits.
HOLDING = False


async def held() -> None:
    """Wait for the end of the process, where it is to come."""
    if HOLDING:
        await asyncio.sleep(3600)


@dataclass(frozen=True, kw_only=True)
class Draft:
    """A text that is not long enough yet."""

    text: str
    round: int


@dataclass(frozen=True, kw_only=True)
class Essay:
    """A text that is long enough."""

    text: str


@step
async def outline(topic: str) -> Draft:
    return Draft(text=topic, round=1)


@step
async def judge(draft: Draft) -> Draft | Essay:
    # Long enough to be kept beside its event, not in it.
    return Essay(text=draft.text * 1000) if draft.round > 2 else draft


@step
async def extend(draft: Draft) -> Draft:
    return Draft(text=f"{draft.text}, and more", round=draft.round + 1)


@step
async def chapters(essay: Essay) -> list[int]:
    return [len(essay.text), essay.text.count(","), 3]


@step
async def halve(number: int) -> int:
    return number // 2


@step
async def double(number: int) -> int:
    return number * 2


@step
async def square(number: int) -> int:
    return number * number


@step
async def add(numbers: tuple[int, int]) -> int:
    return numbers[0] + numbers[1]


@step
async def total(numbers: Sequence[int]) -> int:
    return sum(numbers)


@step
async def slow(number: int) -> int:
    await held()
    return number + 1


@step(retries=1)
async def broken(number: int) -> int:
    raise ValueError(f"{number} cannot be worked on")


@tool(effect="read", returns="trusted")
async def stock(item: str) -> int:
    """How many of an item there are."""
    return len(item)


@tool(effect="read", returns="trusted")
async def delivery(item: str) -> str:
    """When more of an item come."""
    await held()
    return f"{item} come on Monday"


weigh = Workflow("weigh", start=halve, end=add, edges=[halve >> gather(double, square) >> add])
_writing: list[Edge[Any, Any]] = [
    outline >> judge,
    judge.on(Draft, at_most=5) >> extend >> judge,
    judge.on(Essay) >> chapters >> each(weigh, parallel=1) >> total,
]
sign = Approval("sign", of=int, prompt="Send this number?")
clerk = Agent(
    "clerk",
    takes=int,
    gives=str,
    prompt="Say how many kettles there are.",
    tools=[stock, delivery],
    max_turns=5,
)

WORKFLOWS: dict[str, Workflow[Any, Any]] = {
    workflow.name: workflow
    for workflow in (
        Workflow("writing", start=outline, end=total, edges=_writing),
        Workflow("signing", start=double, end=square, edges=[double >> sign >> square]),
        Workflow("counting", start=double, end=square, edges=[double >> slow >> square]),
        Workflow("failing", start=double, end=broken, edges=[double >> broken]),
        Workflow("asking", start=double, end=clerk, edges=[double >> clerk]),
    )
}
INPUTS: dict[str, Any] = {"writing": "kettles", "signing": 4, "counting": 4, "failing": 4, "asking": 4}


class Recorded(NamedTuple):
    """A run in a journal of a release: its id, what it ran, and what is said of it now."""

    run: str
    workflow: str
    status: str


# By file, below this folder.
RUNS: dict[str, Recorded] = {
    "0.1.0/done.db": Recorded("writing-1", "writing", "done"),
    "0.1.0/waiting.db": Recorded("signing-1", "signing", "waiting"),
    "0.1.0/interrupted.db": Recorded("counting-1", "counting", "interrupted"),
    "0.1.0/failed.db": Recorded("failing-1", "failing", "failed"),
    "0.1.0/cut.db": Recorded("asking-1", "asking", "open"),
}


def answers() -> Any:
    """What the model of `asking` says, from the start: two calls of tools, then words; a `ScriptedModel`."""
    from agentflow.testing import ScriptedModel, assistant_message, function_call

    return ScriptedModel(
        [
            [function_call("stock", '{"item":"kettles"}', call_id="call-1")],
            [function_call("delivery", '{"item":"kettles"}', call_id="call-2")],
            [assistant_message("seven, and more on Monday")],
        ]
    )
