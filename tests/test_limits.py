"""What keeps calls within bounds: at one time, in time, and how often again."""

from __future__ import annotations

import asyncio
import threading

import pytest

from agentflow.exceptions import NetworkUnavailable, ProjectError, RateLimited
from agentflow.limits import Gate, Rate, wait_before


async def test_no_more_calls_are_inside_than_the_gate_lets_in() -> None:
    gate, inside, most = Gate(at_once=3), 0, 0

    async def one() -> None:
        nonlocal inside, most
        async with gate:
            inside += 1
            most = max(most, inside)
            await asyncio.sleep(0)
            inside -= 1

    await asyncio.gather(*(one() for _ in range(20)))
    assert (inside, most) == (0, 3)


async def test_who_comes_first_goes_first() -> None:
    gate, order = Gate(at_once=1), list[int]()

    async def one(number: int) -> None:
        async with gate:
            order.append(number)
            await asyncio.sleep(0)

    await asyncio.gather(*(one(number) for number in range(10)))
    assert order == list(range(10))


async def test_who_gives_up_waiting_leaves_its_place_to_the_next() -> None:
    gate, order = Gate(at_once=1), list[str]()

    async def one(name: str, until: asyncio.Event) -> None:
        async with gate:
            order.append(name)
            await until.wait()

    go = asyncio.Event()
    first = asyncio.create_task(one("first", go))
    await asyncio.sleep(0)
    second, third = asyncio.create_task(one("second", go)), asyncio.create_task(one("third", go))
    await asyncio.sleep(0)
    second.cancel()
    await asyncio.sleep(0)
    go.set()
    await asyncio.gather(first, third)
    assert order == ["first", "third"]
    assert second.cancelled()


async def test_a_call_that_is_cancelled_as_it_is_let_in_holds_nobody_up() -> None:
    gate = Gate(at_once=1)
    await gate.__aenter__()

    async def waits() -> None:
        async with gate:
            pass

    waiting = asyncio.create_task(waits())
    await asyncio.sleep(0)
    await gate.__aexit__()
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    async with asyncio.timeout(1), gate:
        pass


async def test_a_gate_holds_over_event_loops_in_several_threads() -> None:
    gate, lock = Gate(at_once=2), threading.Lock()
    inside = most = 0

    async def one() -> None:
        nonlocal inside, most
        async with gate:
            with lock:
                inside += 1
                most = max(most, inside)
            await asyncio.sleep(0.001)
            with lock:
                inside -= 1

    async def many() -> None:
        await asyncio.gather(*(one() for _ in range(10)))

    await asyncio.gather(*(asyncio.to_thread(asyncio.run, many()) for _ in range(4)))
    assert (inside, most) == (0, 2)


async def test_no_more_calls_begin_in_a_time_than_the_rate_says(monkeypatch: pytest.MonkeyPatch) -> None:
    now, slept = 100.0, list[float]()

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    monkeypatch.setattr("agentflow.limits.asyncio.sleep", sleep)
    gate = Gate(rate=Rate(2, per=10), clock=lambda: now)
    for _ in range(5):
        async with gate:
            pass

    assert slept == [10, 10, 20]
    now = 125.0
    async with gate:
        pass
    assert slept == [10, 10, 20]  # of the two before it, one began at 110 and one at 120


@pytest.mark.parametrize("make", [lambda: Rate(0), lambda: Rate(1, per=0), lambda: Gate(at_once=0)])
def test_bounds_that_let_nothing_through_are_refused(make: object) -> None:
    assert callable(make)
    with pytest.raises(ProjectError):
        make()


def test_waits_double_and_what_a_service_asks_for_is_kept() -> None:
    waits = [wait_before(n, NetworkUnavailable("gone")) for n in range(1, 12)]
    for number, wait in enumerate(waits):
        full = min(30, 0.5 * 2**number)
        assert wait is not None
        assert full / 2 <= wait <= full

    assert wait_before(1, RateLimited("slow down", retry_after=7)) == 7
    assert wait_before(1, RateLimited("slow down", retry_after=3600)) is None
