"""What the check did not see is not called: tools from nowhere, and tools that are not what they were."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from agentflow import Flow, Workflow, step, tool
from agentflow.testing import run_to_end
from agentflow.tools import Tool, call

made: list[str] = []


@pytest.fixture(autouse=True)
def _empty() -> None:
    made.clear()


@tool(effect="write", returns="trusted")
async def send(text: str) -> str:
    """Send."""
    made.append(text)
    return text


@tool(effect="none", returns="trusted")
async def measure(text: str) -> int:
    """Measure."""
    made.append(text)
    return len(text)


TOOLS: dict[str, Tool[..., Any]] = {"send": send, "measure": measure}


@step
async def seen(text: str) -> str:
    return str(await call(send, {"text": text}))


@step
async def from_a_table(text: str) -> str:
    return str(await call(TOOLS["send"], {"text": text}))


@step
async def harmless(text: str) -> str:
    return str(await call(TOOLS["measure"], {"text": text}))


@step
async def relabelled(text: str) -> str:
    other = replace(send, outside=True)
    return str(await call(other, {"text": text}))


async def test_a_tool_that_a_step_names_is_called() -> None:
    """What the check saw is allowed."""
    assert (await run_to_end(Workflow("w", start=seen, end=seen), "x")).output == "x"


async def test_a_tool_from_nowhere_is_refused() -> None:
    """A write that no name in the step's code leads to is not made, and it is said how to allow it."""
    ended = await run_to_end(Workflow("w", start=from_a_table, end=from_a_table), "x")

    assert made == []
    assert ended.result.error is not None
    assert ended.result.error.kind == "ToolUnchecked"
    assert 'Flow("unchecked-tool", step="from_a_table"' in ended.result.error.hint


async def test_a_tool_with_other_labels_is_refused() -> None:
    """A tool that was checked as one that stays at home is not called as one that reaches outside."""
    ended = await run_to_end(Workflow("w", start=relabelled, end=relabelled), "x")

    assert made == []
    assert ended.result.error is not None
    assert "with other labels" in ended.result.error.message


async def test_a_tool_that_does_no_harm_may_come_from_anywhere() -> None:
    """What neither writes, nor reads what is private or untrusted, nor reaches outside needs no check."""
    assert (await run_to_end(Workflow("w", start=harmless, end=harmless), "abc")).output == "3"


@pytest.mark.parametrize("where", ["from_a_table", ""])
async def test_an_unchecked_tool_can_be_allowed(where: str) -> None:
    """A definition may allow what it cannot name, with a reason."""
    flow = Flow("unchecked-tool", step=where, because="the table is part of this module")
    workflow = Workflow("w", start=from_a_table, end=from_a_table, allow=[flow])

    assert (await run_to_end(workflow, "x")).output == "x"
    assert workflow.warnings() == []


async def test_a_sub_workflow_s_tools_are_allowed_from_outside() -> None:
    """The outer workflow may allow what a step of an inner one calls."""
    inner = Workflow("inner", start=from_a_table, end=from_a_table)
    flow = Flow("unchecked-tool", step="inner/from_a_table", because="the table is part of this module")

    assert (await run_to_end(Workflow("w", start=inner, end=inner, allow=[flow]), "x")).output == "x"
    assert (await run_to_end(Workflow("w", start=inner, end=inner), "x")).result.status == "failed"
