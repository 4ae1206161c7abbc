"""What keeps the calls of a tool within bounds: how many at once, how often, and how often again."""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from threading import Lock
from time import monotonic

from agentflow.exceptions import NetworkUnavailable, ProjectError, RateLimited, ToolError, ToolTimeout

# What may pass by itself; all else would fail the same way again.
TRANSIENT = (RateLimited, NetworkUnavailable, ToolTimeout)
_FIRST_WAIT, _LONGEST_WAIT = 0.5, 30.0  # seconds


@dataclass(frozen=True, slots=True)
class Rate:
    """At most `calls` in any `per` seconds."""

    calls: int
    per: float = 1.0

    def __post_init__(self) -> None:
        if self.calls < 1 or self.per <= 0:
            raise ProjectError(
                f"`{self}` is no rate", hint="give at least one call in some seconds: Rate(10, per=60)"
            )


class Gate:
    """Lets at most `at_once` calls in at one time, and no more than `rate` says begin.

    It holds for this process. Who comes first goes first. A tool is used by event loops in several threads.
    """

    def __init__(
        self, *, at_once: int | None = None, rate: Rate | None = None, clock: Callable[[], float] = monotonic
    ) -> None:
        if at_once is not None and at_once < 1:
            raise ProjectError(f"`concurrency` is {at_once}", hint="let at least one call be made at a time")

        self._at_once, self._rate, self._clock = at_once, rate, clock
        self._lock = Lock()
        self._inside = 0
        self._waiting: deque[tuple[asyncio.AbstractEventLoop, asyncio.Future[None]]] = deque()
        self._begun: deque[float] = deque()

    async def __aenter__(self) -> None:
        await self._place()
        try:
            if (wait := self._turn()) > 0:
                await asyncio.sleep(wait)
        except BaseException:
            self._leave()
            raise

    async def __aexit__(self, *_: object) -> None:
        self._leave()

    async def _place(self) -> None:
        loop = asyncio.get_running_loop()
        with self._lock:
            if self._at_once is None or (self._inside < self._at_once and not self._waiting):
                self._inside += 1
                return

            place: asyncio.Future[None] = loop.create_future()
            self._waiting.append((loop, place))

        try:
            await place
        except asyncio.CancelledError:
            self._give_up(loop, place)
            raise

    def _give_up(self, loop: asyncio.AbstractEventLoop, place: asyncio.Future[None]) -> None:
        with self._lock:
            if (loop, place) in self._waiting:
                self._waiting.remove((loop, place))
                return

        # It was let in at the moment it gave up.
        self._leave()

    def _leave(self) -> None:
        with self._lock:
            while self._waiting:
                loop, place = self._waiting.popleft()
                try:
                    # The place goes from one to the other: nobody comes in between.
                    loop.call_soon_threadsafe(_settle, place)
                except RuntimeError:  # its event loop is closed, and nobody waits there any more
                    continue

                return

            self._inside -= 1

    def _turn(self) -> float:
        """Seconds until this call may begin."""
        if self._rate is None:
            return 0.0

        with self._lock:
            now = self._clock()
            first = self._begun[0] + self._rate.per if len(self._begun) == self._rate.calls else now
            begins = max(now, first)
            self._begun.append(begins)
            if len(self._begun) > self._rate.calls:
                self._begun.popleft()

            return begins - now


def _settle(place: asyncio.Future[None]) -> None:
    if not place.done():
        place.set_result(None)


def wait_before(failures: int, error: ToolError) -> float | None:
    """Seconds to wait before a call is made again that failed `failures` times; None where that would take too long.

    The wait doubles from half a second on, with a random half taken off ("equal jitter", M. Brooker, 2015), or is what
    the service asked for.
    """
    asked = error.retry_after if isinstance(error, RateLimited) else None
    if asked is not None:
        return asked if asked <= _LONGEST_WAIT else None

    full: float = min(_LONGEST_WAIT, _FIRST_WAIT * 2 ** (failures - 1))
    return full * (1 - random.random() / 2)  # noqa: S311 - spreads calls, no secret
