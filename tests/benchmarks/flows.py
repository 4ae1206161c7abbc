"""The workflows that are measured: chains, fan-outs, loops, steps that sleep, agents. Their steps do next to nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from agentflow import Approval, Wait, Workflow, each, gather, step
from agentflow.steps.function import FunctionStep


@dataclass(frozen=True, slots=True, kw_only=True)
class Over:
    """What ends a loop."""

    number: int


async def _next(number: int) -> int:
    return number + 1


async def _later(number: int) -> int:
    await asyncio.sleep(0.05)
    return number + 1


@step
async def split(number: int) -> list[int]:
    return list(range(number))


@step
async def same(number: int) -> int:
    return number


@step
async def count(numbers: list[int]) -> int:
    return len(numbers)


@step
async def total_of(numbers: tuple[int, ...]) -> int:
    return sum(numbers)


@step
async def total(numbers: list[int]) -> int:
    return sum(numbers)


def chain(length: int, function: Callable[[int], Any] = _next) -> Workflow[int, int]:
    """Steps in a row, each of which adds one."""
    steps = [FunctionStep[int, int](function) for _ in range(length)]
    for number, one in enumerate(steps):
        one.name = f"s{number}"

    return Workflow("chain", start=steps[0], end=steps[-1], edges=[a >> b for a, b in pairwise(steps)])


def sleeping(length: int) -> Workflow[int, int]:
    """Steps in a row, each of which sleeps for 50 ms and adds one."""
    return chain(length, _later)


def fan(width: int) -> Workflow[int, int]:
    """One step, `width` branches at once, and one that adds up what they gave."""
    branches = each(same, parallel=width, at_most=width)
    return Workflow("fan", start=split, end=total, edges=[split >> branches >> total])


def joined(width: int) -> Workflow[int, int]:
    """One step, `width` branches of a gather, each a step of its own, and one that adds up what they gave."""
    branches = [same.named(f"branch{number}") for number in range(width)]
    return Workflow("joined", start=same, end=total_of, edges=[same >> gather(*branches) >> total_of])


def nested(width: int) -> Workflow[int, int]:
    """One step, `width` workflows of two steps at once, and one that adds up what they gave."""
    first, second = chain_steps(2)
    inner = Workflow("inner", start=first, end=second, edges=[first >> second])
    branches = each(inner, parallel=width, at_most=width)
    return Workflow("nested", start=split, end=total, edges=[split >> branches >> total])


def loop(times: int) -> Workflow[int, int]:
    """One step that is visited `times` times."""

    @step
    async def again(number: int) -> int | Over:
        return Over(number=number + 1) if number + 1 >= times else number + 1

    @step
    async def last(over: Over) -> int:
        return over.number

    return Workflow(
        "loop",
        start=again,
        end=last,
        edges=[again.on(int, at_most=times) >> again, again.on(Over) >> last],
    )


def gated() -> Workflow[int, int]:
    """A step, a person's approval, and another step."""
    return _around(Approval("sign", of=int))


def timed(seconds: float) -> Workflow[int, int]:
    """A step, some time that passes, and another step."""
    return _around(Wait("pause", of=int, seconds=seconds))


def _around(middle: Any) -> Workflow[int, int]:
    before, after = chain_steps(2)
    return Workflow("waiting", start=before, end=after, edges=[before >> middle >> after])


def chain_steps(number: int) -> Sequence[FunctionStep[int, int]]:
    """Steps each of which adds one, not yet in a workflow."""
    steps = [FunctionStep[int, int](_next) for _ in range(number)]
    for place, one in enumerate(steps):
        one.name = f"s{place}"

    return steps
