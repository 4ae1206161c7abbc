"""Sending a run's spans while it runs, and saying what became of them."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from agentflow.app import Run
from agentflow.cli.output import count
from agentflow.exceptions import JournalError, ProjectError
from agentflow.journal import Delivered
from agentflow.tracing.collector import collector_of, flush_seconds, silencers
from agentflow.tracing.content import capture_of
from agentflow.tracing.delivery import Recipient, deliver_owed, known_delivery
from agentflow.tracing.export import Exporter, step_scope

# Seconds at the end of a run: for its own spans, and then as long for those that the collector is owed of earlier ones.
FLUSH = 5.0
# Seconds after which is noted how far the spans of a run that goes on were taken.
NOTED = 5.0


class Delivering:
    """Sends the spans of one run to the collector that the environment names; a run never ends for that."""

    def __init__(self, run: Run[Any], environ: Mapping[str, str], settings: Mapping[str, Any]) -> None:
        self._run, self._journal = run, run.runner.journal
        self._notes, self._bound = silencers(environ), flush_seconds(environ, FLUSH)
        self._to = self._recipient(environ, settings)
        self._known: Delivered | None = None
        self._exporter: Exporter | None = None
        self._task: asyncio.Task[None] | None = None

    def _recipient(self, environ: Mapping[str, str], settings: Mapping[str, Any]) -> Recipient | None:
        try:
            collector = collector_of(environ)
        except ProjectError as error:
            self._notes.append(f"spans are not sent: {error}; {error.hint}")
            return None

        if collector is None:
            return None

        return Recipient(collector=collector, capture=capture_of(environ, settings), environ=environ)

    async def begin(self) -> None:
        """Export what the run commits, and let third-party spans nest under its steps."""
        if self._to is None:
            return

        self._known = await self._begun(self._to)
        self._exporter = self._to.exporter(self._known)
        # A run that is taken up: its spans go on from what happened before.
        for event in self._run.runner.history:
            self._exporter(event)

        self._run.runner.observers.append(self._exporter)
        self._run.runner.scope = step_scope(self._run.id)
        self._task = asyncio.create_task(self._keep_noting())

    async def _begun(self, to: Recipient) -> Delivered:
        try:
            return await known_delivery(self._journal, self._run.id, to)
        except JournalError as error:
            self._notes.append(f"how far spans are delivered is not kept: {error}")
            return to.noted(self._run.id, 0)

    async def _keep_noting(self) -> None:
        noted = 0
        while True:
            await asyncio.sleep(NOTED)
            if self._exporter is not None and self._exporter.upto > noted:
                noted = self._exporter.upto
                await self._note()

    async def _note(self) -> None:
        assert self._to is not None
        assert self._exporter is not None
        assert self._known is not None
        delivered = self._to.noted(self._run.id, self._exporter.upto, self._known.manner)
        with suppress(JournalError):  # what is not noted is sent again, the same
            await self._journal.note_delivery(delivered)

    async def close(self, status: str) -> str:
        """Send what is left; a line for the person of what arrived, what did not, and what a variable could not do."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task

        sent = await self._flushed(status) if self._exporter is not None else ""
        return "; ".join(filter(None, [sent, *self._notes]))

    async def _flushed(self, status: str) -> str:
        assert self._to is not None
        assert self._exporter is not None
        delivery = await asyncio.to_thread(self._exporter.flush, self._bound)
        await self._note()
        self._exporter.close()
        if delivery.failed:
            why = f"{count(delivery.failed, 'span')} were not delivered: {delivery.why}"
            return f"{why}; they are in the journal, and are sent with the next run, or by `agentflow audit export {self._run.id}`"

        # Somebody who asked to stop does not want to wait for what others left.
        owed = 0 if status == "interrupted" else await self._deliver_owed(self._to)
        said = f"{delivery.sent} spans delivered" + (f", and {owed} of earlier runs" if owed else "")
        return f"{said}; {delivery.why}" if delivery.why else said

    async def _deliver_owed(self, to: Recipient) -> int:
        with suppress(JournalError):
            return (await deliver_owed(self._journal, to, self._bound)).sent

        return 0
