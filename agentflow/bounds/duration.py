"""How long one visit of a step takes at most, in seconds."""

from __future__ import annotations

from agentflow.bounds.amount import Amount
from agentflow.spec import Retry, StepSpec

# Kinds that are executed, so that they can fail and be tried again.
EXECUTED = ("function", "planner", "agent")


def attempts(step: StepSpec) -> int:
    """How often one visit is begun at most."""
    return 1 + step.retry.times if step.retry is not None and step.kind in EXECUTED else 1


def rounds(step: StepSpec) -> int:
    """How many items of a map come one after the other at most."""
    return -(-step.map.at_most // max(1, step.map.parallel)) if step.map is not None else 1


def longest(step: StepSpec) -> Amount:
    """The most seconds of one item of a step, or of the step where it is no map; `why` says what is missing."""
    match step.kind:
        case "gather":
            return Amount(value=0)
        case "wait":
            return Amount(value=float(step.options.get("seconds", 0)))
        case "approval":
            deadline = step.options.get("deadline")
            return Amount(value=None if deadline is None else float(deadline), why="has no deadline")
        case _ if step.timeout is None:
            return Amount(value=None, why="has no timeout")
        case _:
            waits = waited(step.retry) if step.retry is not None else 0.0
            return Amount(value=step.timeout * attempts(step) + waits)


def waited(policy: Retry) -> float:
    """The most seconds between attempts; jitter only shortens them."""
    if policy.factor <= 1 or policy.delay <= 0:
        return policy.times * min(policy.delay, policy.max_delay)

    total, wait, left = 0.0, policy.delay, policy.times
    while left and wait < policy.max_delay:
        total, wait, left = total + wait, wait * policy.factor, left - 1

    return total + left * policy.max_delay
