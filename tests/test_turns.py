"""What a turn of an agent comes to, counted in calls of Python's functions: no clock, so that it is the same on any machine."""

from __future__ import annotations

import cProfile
import pstats
from collections.abc import Awaitable, Callable
from functools import partial

from tests.benchmarks.agent_cost import agent_of, bare, orchestrated, workflow


async def calls_a_turn(run: Callable[[int], Awaitable[object]], calls: int) -> float:
    """How many functions are called for a turn, in a run with so many calls of the tool."""
    profile = cProfile.Profile()
    profile.enable()
    try:
        await run(calls)
    finally:
        profile.disable()

    return float(pstats.Stats(profile).total_calls) / (calls + 1)  # type: ignore[attr-defined]


async def test_a_turn_comes_to_no_more_than_one_of_the_sdk_alone() -> None:
    """Recording, marks, checks and budgets included, a turn is at most what the SDK alone makes of it, from 20 turns on."""
    built, agent = workflow(20), agent_of(20)
    await orchestrated(20, built)  # what is imported and looked up once
    ours = await calls_a_turn(partial(orchestrated, built=built), 20)
    assert ours <= await calls_a_turn(partial(bare, built=agent), 20)


async def test_a_turn_comes_to_the_same_however_many_there_were() -> None:
    """Nothing that is called for a turn is called for each turn before it as well."""
    await orchestrated(1)
    few, many = [await calls_a_turn(orchestrated, calls) for calls in (12, 60)]
    assert many <= 1.1 * few
