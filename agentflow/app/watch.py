"""Looks after all runs that one event loop drives with one journal: shows that they live, and has done what others ask."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from contextvars import Context, copy_context
from typing import TYPE_CHECKING

from agentflow.engine.runner import Runner
from agentflow.exceptions import JournalDamaged, JournalError
from agentflow.journal import Journal

if TYPE_CHECKING:
    from agentflow.app.lease import Lease

# Seconds: how long a lease stands without a sign of life, how often one is given, how often requests are looked for.
STANDS, BEAT, POLL = 30.0, 10.0, 0.25
# One for each loop and journal with runs that are driven, and no longer than they are.
_watches: dict[tuple[asyncio.AbstractEventLoop, int], Watch] = {}


def watching(journal: Journal) -> Watch:
    """What looks after the runs of the loop that runs now, in this journal."""
    key = asyncio.get_running_loop(), id(journal)
    known = _watches.get(key)
    if known is None:
        known = _watches[key] = Watch(journal, key[0])

    return known


def stands_until() -> int:
    """Until when a lease that is taken or renewed now stands, in nanoseconds since the epoch."""
    return time.time_ns() + int(STANDS * 1e9)


class Watch:
    """One look for all runs: ten thousand that wait cost no more of them than one does."""

    def __init__(self, journal: Journal, loop: asyncio.AbstractEventLoop) -> None:
        self._journal, self._loop = journal, loop
        # Each with the context that what is asked of it is done in.
        self._runners: dict[Lease, tuple[Runner, Context]] = {}
        self._asked: dict[Lease, asyncio.Task[None]] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._look: asyncio.Task[None] | None = None
        self._beaten = time.monotonic()

    def add(self, lease: Lease, runner: Runner) -> None:
        """Look after a run whose lease was just taken."""
        self._runners[lease] = runner, copy_context()
        if self._timer is None and self._look is None:
            self._beaten = time.monotonic()
            self._wait()

    async def remove(self, lease: Lease) -> None:
        """Look after a run no more; what is being done for it, or could renew its lease, is over then."""
        del self._runners[lease]
        under_way = [task for task in (self._look, self._asked.get(lease)) if task is not None]
        if under_way:
            await asyncio.wait(under_way)

        if not self._runners:
            self._end()

    def _end(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

        key = self._loop, id(self._journal)
        if _watches.get(key) is self:
            del _watches[key]

    def _wait(self) -> None:
        # In no run's context: what is done here is for all of them.
        self._timer = self._loop.call_later(POLL, self._begin, context=Context())

    def _begin(self) -> None:
        self._timer = None
        self._look = self._loop.create_task(self._all())
        self._look.add_done_callback(self._done)

    def _done(self, look: asyncio.Task[None]) -> None:
        self._look = None
        if not look.cancelled() and (error := look.exception()) is not None:
            what = (
                "a journal could not be asked what others want of its runs, or be told that they are driven"
            )
            self._loop.call_exception_handler({"message": what, "exception": error})

        if self._runners:
            self._wait()

    async def _all(self) -> None:
        # A journal that is full or locked for a moment is the next append's to say, or not.
        with suppress(JournalError):
            if time.monotonic() - self._beaten >= BEAT:
                await self._beat()
                self._beaten = time.monotonic()

            if asked := await self._journal.requested():
                for lease in [lease for lease in self._runners if lease.run_id in asked]:
                    self._pass_on(lease)

    async def _beat(self) -> None:
        leases = list(self._runners)
        try:
            taken = await self._journal.renew(
                [(lease.run_id, lease.owner) for lease in leases], stands_until()
            )
        except JournalDamaged as error:
            for runner, _ in list(self._runners.values()):
                runner.give_up(error)

            return

        for holder in taken:
            for lease in leases:
                if lease.run_id == holder.run and lease.owner != holder.owner and lease in self._runners:
                    lease.lost(self._runners[lease][0], holder)

    def _pass_on(self, lease: Lease) -> None:
        """Have done what is asked of a run, beside all else, unless that is under way."""
        if lease not in self._asked:
            runner, context = self._runners[lease]
            task = self._loop.create_task(lease.look(runner), context=context)
            self._asked[lease] = task
            task.add_done_callback(lambda _: self._asked.pop(lease))
