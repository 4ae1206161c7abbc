"""The ends of a workflow may be any kind of step."""

from __future__ import annotations

import pytest

from agentflow import Budget, DefinitionError, Workflow, each, run, step


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


def test_a_path_into_something_that_is_no_step_says_so() -> None:
    """A plain function in a path is named, with the place and how to mend it."""

    def plain(number: int) -> int:
        return number

    with pytest.raises(DefinitionError) as caught:
        square >> plain  # type: ignore[operator]  # pyright: ignore[reportOperatorIssue, reportUnusedExpression]

    (problem,) = caught.value.problems
    assert problem.code == "AF122"
    assert "plain" in problem.what
    assert "test_ends.py" in problem.where
    assert "@step" in problem.hint


def test_a_budget_takes_numbers() -> None:
    """A limit that is no number is refused where it is written."""
    with pytest.raises(TypeError, match="takes a number"):
        Budget(model_calls="many")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
