"""The ends of a workflow may be any kind of step."""

from __future__ import annotations

from agentflow import Workflow, each, run, step


@step
async def square(number: int) -> int:
    return number * number


async def test_a_map_may_be_both_ends_also_inside_another_workflow() -> None:
    """A workflow that is one map takes and gives lists, alone and as a step."""
    squares = each(square)
    inner = Workflow("inner", start=squares, end=squares)
    outer = Workflow("outer", start=inner, end=inner)

    assert await run(inner, [1, 2, 3]) == [1, 4, 9]
    assert await run(outer, [1, 2, 3]) == [1, 4, 9]
