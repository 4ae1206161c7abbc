"""Limits that are no limits: numbers below what they count."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from agentflow.exceptions import Problem
from agentflow.spec import StepSpec
from agentflow.validation.subject import Subject


def numbers(s: Subject) -> Iterator[Problem]:
    """The numbers of steps, edges and budgets."""
    for step in s.spec.steps:
        for is_wrong, what in _bad_numbers(step):
            if is_wrong:
                yield Problem(
                    code="AF111",
                    what=what,
                    where=s.where(step.id),
                    hint="give a number above 0, or leave it out",
                )

    for edge in s.spec.edges:
        if edge.at_most is not None and edge.at_most < 1:
            yield Problem(
                code="AF111", what=f"`at_most` is {edge.at_most}", where=s.edge(edge), hint="give at least 1"
            )

    budgets = [(s.spec.budget, f"workflow `{s.spec.name}`{s.place}")]
    budgets += [(step.budget, s.where(step.id)) for step in s.spec.steps]
    for budget, where in budgets:
        for name in ("model_calls", "tool_calls", "tokens", "usd", "minutes"):
            if budget is not None and (getattr(budget, name) or 0) < 0:
                what = f"its budget of `{name}` is below 0"
                yield Problem(code="AF111", what=what, where=where, hint="give 0 or more, or leave it out")


def _bad_numbers(step: StepSpec) -> Iterator[tuple[bool, str]]:
    map_, retry = step.map, step.retry
    yield (
        map_ is not None and min(map_.parallel, map_.at_most) < 1,
        "`parallel` and `at_most` of `each` must be at least 1",
    )
    yield step.timeout is not None and step.timeout <= 0, f"its timeout is {step.timeout} s"
    for limit in ("max_calls", "max_rounds", "max_turns"):
        yield not _is_number(step.options.get(limit, 1), 1), f"its `{limit}` is {step.options.get(limit)!r}"

    if step.kind == "approval":
        deadline = step.options.get("deadline", 1)
        yield not _is_number(deadline, 0) or not deadline, f"its deadline is {deadline!r} s"

    if step.kind == "wait":
        yield not _is_number(step.options.get("seconds", 0), 0), f"it waits {step.options.get('seconds')} s"

    if retry is not None:
        yield (
            min(retry.times, retry.delay, retry.factor, retry.max_delay) < 0,
            "a number of its `retry` is below 0",
        )
        yield (
            not 0 <= retry.jitter <= 1,
            f"the `jitter` of its `retry` is {retry.jitter}, and it is a share from 0 to 1",
        )


def _is_number(value: Any, least: int) -> bool:
    # Options of a definition in a file can be anything.
    return isinstance(value, int | float) and value >= least
