"""One process at a time drives a run: it holds the run's lease, shows that it lives, and acts on what others ask of it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress

from agentflow.app.requests import act
from agentflow.engine.runner import Runner
from agentflow.exceptions import AgentflowError, JournalConflict, JournalDamaged, JournalError, RunBusy
from agentflow.journal import Journal
from agentflow.journal.owner import describe, new_owner

# Seconds: how long a lease stands without a sign of life, how often one is given, how often requests are looked for.
STANDS, BEAT, POLL = 30.0, 10.0, 0.25


class Lease:
    """The right to drive one run."""

    def __init__(self, journal: Journal, run_id: str) -> None:
        self._journal, self._run_id = journal, run_id
        self.owner = new_owner()
        self._is_held = False
        self._stopping: list[int] = []

    async def take(self) -> None:
        """Make the run ours; raises `RunBusy` where another process drives it."""
        holder = await self._journal.claim(self._run_id, self.owner, _until())
        if holder is not None:
            raise RunBusy(
                f"run `{self._run_id}` is driven by {describe(holder.owner)}",
                hint=f"wait for it, or stop it: agentflow cancel {self._run_id}",
            )

        self._is_held = True

    async def give_back(self) -> None:
        """Let others drive the run. A journal that cannot be written keeps the lease until it runs out."""
        if self._is_held:
            self._is_held = False
            with suppress(JournalError):
                await self._journal.release(self._run_id, self.owner)

    @asynccontextmanager
    async def kept(self, runner: Runner) -> AsyncGenerator[None, None]:
        """Hold the lease while `runner` drives the run."""
        if not self._is_held:
            await self.take()

        # What was left for a run that nobody drove is done first.
        await self._look(runner)
        keeping = asyncio.create_task(self._keep(runner))
        try:
            yield
        finally:
            keeping.cancel()
            await asyncio.gather(keeping, return_exceptions=True)
            with suppress(JournalError):
                for request in self._stopping:
                    await self._journal.take(self._run_id, request)

            await self.give_back()

    async def _keep(self, runner: Runner) -> None:
        beaten = time.monotonic()
        while True:
            await asyncio.sleep(POLL)
            # A journal that is full or locked for a moment is the next append's to say, or not.
            with suppress(JournalError):
                if time.monotonic() - beaten >= BEAT:
                    await self._beat(runner)
                    beaten = time.monotonic()

            await self._look(runner)

    async def _look(self, runner: Runner) -> None:
        """Do what others ask."""
        with suppress(JournalError):
            for request in await self._journal.requests(self._run_id):
                if request.id in self._stopping:
                    continue

                # What cannot be understood, as a newer version asked it, must not keep the rest from being done.
                with suppress(KeyError, TypeError, ValueError, AgentflowError):
                    act(runner, request.body)

                # It is taken away once it is on record; that the run stops is, when it has.
                if runner.is_stopping:
                    self._stopping.append(request.id)
                else:
                    await runner.commit()
                    await self._journal.take(self._run_id, request.id)

    async def _beat(self, runner: Runner) -> None:
        try:
            holder = await self._journal.claim(self._run_id, self.owner, _until())
        except JournalDamaged as error:
            runner.give_up(error)
            return

        if holder is not None:
            self._is_held = False
            runner.give_up(
                JournalConflict(
                    f"run `{self._run_id}` was taken over by {describe(holder.owner)}: this one stops"
                )
            )


def _until() -> int:
    return time.time_ns() + int(STANDS * 1e9)
