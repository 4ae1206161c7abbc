"""Budgets held against what a workflow needs at least, and can do at most."""

from __future__ import annotations

from collections.abc import Iterator

from agentflow.bounds.amount import Amount, Bound, Number
from agentflow.exceptions import Problem
from agentflow.spec import Budget

# How each limit is called, and the bound that it is held against; a unit of the limit in units of the bound.
_LIMITS = (
    ("model_calls", "model_calls", "model calls", 1),
    ("tool_calls", "tool_calls", "tool calls", 1),
    ("tokens", "tokens", "tokens", 1),
    ("usd", "usd", "usd", 1),
    ("minutes", "seconds", "minutes", 60),
)


def below(least: Bound, budget: Budget | None, where: str = "budget") -> Iterator[Problem]:
    """AF130: limits that no run which ends well fits into; `least` is what such a run needs."""
    for name, limit, amount, words, unit in _limits(least, budget):
        needed = amount.value
        # A limit below 0 is wrong whatever is needed, and is said as that.
        if needed is not None and 0 <= limit * unit < needed:
            yield Problem(
                code="AF130",
                what=f"its budget of {limit:g} {words} is below the {needed / unit:g} that every run needs ({amount.why})",
                where=where,
                hint=f"give at least `Budget({name}={needed / unit:g})`, or leave the limit out",
            )


def above(bound: Bound, budget: Budget | None) -> Iterator[str]:
    """AF131: limits that no run can come to; `bound` is the worst case without budgets."""
    for _, limit, amount, words, unit in _limits(bound, budget):
        if amount.value is not None and limit * unit > amount.value:
            most = f"the {amount.value / unit:g} that a run can come to"
            yield f"AF131: the budget of {limit:g} {words} is above {most}" + f" ({amount.why})" * bool(
                amount.why
            )


def _limits(bound: Bound, budget: Budget | None) -> Iterator[tuple[str, Number, Amount, str, int]]:
    for name, of, words, unit in _LIMITS:
        limit: Number | None = getattr(budget, name) if budget is not None else None
        if limit is not None:
            yield name, limit, getattr(bound, of), words, unit
