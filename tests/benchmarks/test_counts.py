"""Costs that can be counted: they are the same on every machine, however busy it is."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from agentflow import Workflow, run
from agentflow.engine.runner import AT_ONCE
from tests.benchmarks.counting import (
    CALLS,
    HELD,
    WAITING,
    appends_of,
    bytes_of_rows,
    calls_of,
    calls_per_unit,
    held_bytes,
    tasks_of,
)
from tests.benchmarks.flows import chain, fan, joined, loop, nested
from tests.benchmarks.guard import MARGIN, recorded

COUNTS = recorded()["counts"]
# At ten times the size a unit may take so many more calls: none, but for what rounds.
GROWTH = 1.02


@pytest.mark.parametrize("name", CALLS)
async def test_a_unit_takes_no_more_calls_than_recorded(name: str, tmp_path: Path) -> None:
    """A step, a branch, an iteration, a turn and a check call no more functions than when they were last looked at."""
    assert await calls_per_unit(CALLS[name], tmp_path) <= COUNTS[f"calls, {name}"] * (1 + MARGIN)


@pytest.mark.parametrize(
    "job", ["W1/agentflow", "W2/agentflow", "W3/agentflow", "W5/agentflow, NORMAL"], ids=lambda job: job[:2]
)
async def test_ten_times_the_size_takes_as_many_calls_a_unit(job: str, tmp_path: Path) -> None:
    """What a step, a branch, an iteration and a durable step call does not depend on how many there are."""
    assert await calls_per_unit(f"{job}/1000", tmp_path) <= GROWTH * await calls_per_unit(
        f"{job}/100", tmp_path
    )


@pytest.mark.parametrize("flow", [joined, nested])
async def test_ten_times_the_branches_take_as_many_calls_each(
    flow: Callable[[int], Workflow[int, int]],
) -> None:
    """What a branch of a gather and a sub-workflow of a map call does not depend on how many there are beside it."""
    few, many = flow(50), flow(500)
    each_of_few = await calls_of(lambda: run(few, 50).output()) / 50
    assert await calls_of(lambda: run(many, 500).output()) / 500 <= GROWTH * each_of_few


async def test_a_stretch_of_steps_makes_no_task_for_each() -> None:
    """Steps one after the other run in the one task of their run; branches have one each."""
    assert await tasks_of(lambda: run(chain(100), 0).output()) == 1
    assert await tasks_of(lambda: run(loop(100), 0).output()) == 1
    assert await tasks_of(lambda: run(fan(100), 100).output()) == 102


async def test_a_turn_of_the_loop_is_one_commit() -> None:
    """A step in a row is committed with the beginning of the next; branches that are begun together end in one commit."""
    assert await appends_of(chain(100), 0) == 101
    assert await appends_of(fan(10), 10) == await appends_of(fan(AT_ONCE), AT_ONCE) == 4
    assert await appends_of(fan(20 * AT_ONCE), 20 * AT_ONCE) == 4 + 19


@pytest.mark.parametrize("steps", [10, 100, 1000])
async def test_a_step_s_rows_are_small_whatever_the_graph_s_size(steps: int, tmp_path: Path) -> None:
    """Two events a step, together below 300 bytes, also where the graph has a thousand steps."""
    first, *rows = await bytes_of_rows(chain(steps), 0, tmp_path)

    assert len(rows) == 2 * steps + 1
    assert max(rows) < 150
    assert sum(rows) / steps < 300
    assert first < 300 * (steps + 10)


@pytest.mark.parametrize("case", WAITING)
async def test_a_waiting_run_is_small(case: str) -> None:
    """A run that waits for a person or for its time takes no more memory than when it was last looked at."""
    assert await held_bytes(case, HELD) <= COUNTS[f"bytes, {case}"] * (1 + MARGIN)


def test_what_is_recorded_is_what_is_held() -> None:
    """Nothing is recorded that nobody looks at, and nothing is looked at without a record."""
    assert set(COUNTS) == {f"calls, {name}" for name in CALLS} | {f"bytes, {case}" for case in WAITING}
