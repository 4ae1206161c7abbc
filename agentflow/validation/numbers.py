"""Limits that are no limits: numbers below what they count."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from agentflow.exceptions import Problem
from agentflow.spec import Budget, StepSpec
from agentflow.validation.subject import Subject


def numbers(s: Subject) -> Iterator[Problem]:
    """The numbers of steps, edges and budgets."""
    for step in s.spec.steps:
        for part, is_wrong, what in _bad_numbers(step):
            if is_wrong:
                yield Problem(
                    code="AF111",
                    what=what,
                    where=s.where(step.id, *part),
                    hint="give a number above 0, or leave it out",
                )

    for edge in s.spec.edges:
        if edge.at_most is not None and edge.at_most < 1:
            yield Problem(
                code="AF111",
                what=f"`at_most` is {edge.at_most}",
                where=s.edge(edge, "at_most"),
                hint="give at least 1",
            )

    yield from _bad_budget(s.spec.budget, partial(s.workflow, "budget"))
    for step in s.spec.steps:
        yield from _bad_budget(step.budget, partial(s.where, step.id, "budget"))


def _bad_budget(budget: Budget | None, where: Callable[[str], str]) -> Iterator[Problem]:
    if budget is not None:
        for name in ("model_calls", "tool_calls", "tokens", "usd", "minutes"):
            if (getattr(budget, name) or 0) < 0:
                what, hint = f"its budget of `{name}` is below 0", "give 0 or more, or leave it out"
                yield Problem(code="AF111", what=what, where=where(name), hint=hint)


def _bad_numbers(step: StepSpec) -> Iterator[tuple[tuple[str, ...], bool, str]]:
    map_, retry = step.map, step.retry
    yield (
        ("map",),
        map_ is not None and min(map_.parallel, map_.at_most) < 1,
        "`parallel` and `at_most` of `each` must be at least 1",
    )
    yield ("timeout",), step.timeout is not None and step.timeout <= 0, f"its timeout is {step.timeout} s"
    for limit in ("max_calls", "max_rounds", "max_turns"):
        given = step.options.get(limit, 1)
        yield ("options", limit), not _is_number(given, 1), f"its `{limit}` is {given!r}"

    if step.kind == "approval":
        deadline = step.options.get("deadline", 1)
        is_none = not _is_number(deadline, 0) or not deadline
        yield ("options", "deadline"), is_none, f"its deadline is {deadline!r} s"

    if step.kind == "wait":
        seconds = step.options.get("seconds", 0)
        yield ("options", "seconds"), not _is_number(seconds, 0), f"it waits {seconds} s"

    if retry is not None:
        yield (
            ("retry",),
            min(retry.times, retry.delay, retry.factor, retry.max_delay) < 0,
            "a number of its `retry` is below 0",
        )
        yield (
            ("retry", "jitter"),
            not 0 <= retry.jitter <= 1,
            f"the `jitter` of its `retry` is {retry.jitter}, and it is a share from 0 to 1",
        )


def _is_number(value: Any, least: int) -> bool:
    # Options of a definition in a file can be anything.
    return isinstance(value, int | float) and value >= least
