"""One process at a time drives a run: it holds the run's lease, shows that it lives, and acts on what others ask of it."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress

from agentflow.app.requests import act
from agentflow.app.watch import stands_until, watching
from agentflow.engine.runner import Runner
from agentflow.exceptions import AgentflowError, JournalConflict, JournalError, RunBusy
from agentflow.journal import Journal
from agentflow.journal import Lease as Held
from agentflow.journal.owner import describe, new_owner


class Lease:
    """The right to drive one run."""

    def __init__(self, journal: Journal, run_id: str) -> None:
        self.journal, self.run_id = journal, run_id
        self.owner = new_owner()
        self._is_held = False
        self._stopping: list[int] = []

    async def take(self) -> None:
        """Make the run ours; raises `RunBusy` where another process drives it."""
        holder = await self.journal.claim(self.run_id, self.owner, stands_until())
        if holder is not None:
            raise RunBusy(
                f"run `{self.run_id}` is driven by {describe(holder.owner)}",
                hint=f"wait for it, or stop it: agentflow cancel {self.run_id}",
            )

        self._is_held = True

    async def give_back(self) -> None:
        """Let others drive the run. A journal that cannot be written keeps the lease until it runs out."""
        if self._is_held:
            self._is_held = False
            with suppress(JournalError):
                await self.journal.release(self.run_id, self.owner)

    @asynccontextmanager
    async def kept(self, runner: Runner) -> AsyncGenerator[None, None]:
        """Hold the lease while `runner` drives the run."""
        if not self._is_held:
            await self.take()

        # What was left for a run that nobody drove is done first.
        with suppress(JournalError):
            if self.run_id in await self.journal.requested():
                await self.look(runner)

        watch = watching(self.journal)
        watch.add(self, runner)
        try:
            yield
        finally:
            await watch.remove(self)
            with suppress(JournalError):
                for request in self._stopping:
                    await self.journal.take(self.run_id, request)

            await self.give_back()

    async def look(self, runner: Runner) -> None:
        """Do what others ask."""
        with suppress(JournalError):
            for request in await self.journal.requests(self.run_id):
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
                    await self.journal.take(self.run_id, request.id)

    def lost(self, runner: Runner, holder: Held) -> None:
        """Stop, as another process drives the run now."""
        self._is_held = False
        runner.give_up(
            JournalConflict(f"run `{self.run_id}` was taken over by {describe(holder.owner)}: this one stops")
        )
