"""Limits that are no limits: numbers below what they count."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from agentflow.exceptions import Problem
from agentflow.spec import Budget, StepSpec
from agentflow.validation.subject import Subject


def numbers(s: Subject) -> Iterator[Problem]:
    """The numbers of steps, edges and budgets."""
    for step in filter(_is_limited, s.spec.steps):
        for part, is_wrong, what in _bad_numbers(step):
            if is_wrong:
                yield Problem(
                    code="AF111",
                    what=what,
                    where=s.where(step.id, *part),
                    hint="give a number above 0, or leave it out",
                )

    for edge in s.spec.edges:
        if edge.at_most is not None and not _is_whole(edge.at_most, 1):
            yield Problem(
                code="AF111",
                what=f"`at_most` is {edge.at_most!r}",
                where=s.edge(edge, "at_most"),
                hint="give at least 1",
            )

    yield from _bad_budget(s.spec.budget, partial(s.workflow, "budget"))
    for step in s.spec.steps:
        if step.budget is not None:
            yield from _bad_budget(step.budget, partial(s.where, step.id, "budget"))


def _is_limited(step: StepSpec) -> bool:
    """Whether there is any number in a step, beside its budget."""
    return bool(step.options or step.timeout is not None or step.map is not None or step.retry is not None)


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
        map_ is not None and not (_is_whole(map_.parallel, 1) and _is_whole(map_.at_most, 1)),
        "`parallel` and `at_most` of `each` must be at least 1, in whole numbers",
    )
    yield (
        ("timeout",),
        step.timeout is not None and not _is_number(step.timeout, over=0),
        f"its timeout is {step.timeout} s",
    )
    for limit in ("max_calls", "max_rounds", "max_turns"):
        given = step.options.get(limit, 1)
        yield ("options", limit), not _is_whole(given, 1), f"its `{limit}` is {given!r}"

    if step.kind == "approval":
        deadline = step.options.get("deadline", 1)
        yield ("options", "deadline"), not _is_number(deadline, over=0), f"its deadline is {deadline!r} s"

    if step.kind == "wait":
        seconds = step.options.get("seconds", 0)
        yield ("options", "seconds"), not _is_number(seconds), f"it waits {seconds} s"

    if retry is not None:
        yield (
            ("retry",),
            not _is_whole(retry.times, 0)
            or not all(map(_is_number, (retry.delay, retry.factor, retry.max_delay))),
            "a number of its `retry` is below 0, or none",
        )
        yield (
            ("retry", "jitter"),
            not _is_number(retry.jitter) or retry.jitter > 1,
            f"the `jitter` of its `retry` is {retry.jitter}, and it is a share from 0 to 1",
        )


# What is given to a step, in a definition without a type checker or in a file, can be anything.
def _is_whole(value: Any, least: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def _is_number(value: Any, *, over: float | None = None) -> bool:
    """Whether a value is a number that JSON can hold, of at least 0, or more than `over`."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return False

    return value >= 0 if over is None else value > over
