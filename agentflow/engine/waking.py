"""Who drives a run is woken when there is something to do, and stopped when the run is to end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from agentflow.events import Event, RunCancelled


class _Roomy:
    """Room for what is made when it is first asked for, beside the slots of a class."""


@dataclass(slots=True, eq=False)
class Waking(_Roomy):
    """The driver of a run, as others get at it: from steps, from timers, and from other threads."""

    broken: Exception | None = field(default=None, init=False)
    # The driver waits for this; an `asyncio.Event` of each run would be a twentieth of its memory.
    _sleep: asyncio.Future[None] | None = field(default=None, init=False)
    _is_woken: bool = field(default=False, init=False)
    _stop: tuple[type[Event], dict[str, str]] | None = field(default=None, init=False)
    _driver: asyncio.Task[Any] | None = field(default=None, init=False)
    _home: asyncio.AbstractEventLoop | None = field(default=None, init=False)
    _looping: bool = field(default=False, init=False)
    _inline: bool = field(default=False, init=False)

    def wake(self) -> None:
        """Have the driver look at what there is to do; may be called from any thread."""
        self._at_home(self._ring)

    def _ring(self) -> None:
        self._is_woken = True
        if self._sleep is not None and not self._sleep.done():
            self._sleep.set_result(None)

    async def _woken(self) -> None:
        """Wait until there may be something for the driver to do."""
        if not self._is_woken:
            self._sleep = asyncio.get_running_loop().create_future()
            try:
                await self._sleep
            finally:
                self._sleep = None

    def _at_home(self, call: Callable[[], object]) -> None:
        """Call in the loop that drives the run: now, or as soon as it can, from a thread of a plain step."""
        try:
            elsewhere = self._home is not None and asyncio.get_running_loop() is not self._home
        except RuntimeError:
            elsewhere = self._home is not None

        if elsewhere and self._home is not None:
            self._home.call_soon_threadsafe(call)
        else:
            call()

    def stop(self, kind: type[Event], reason: str, **fields: str) -> None:
        """End the drive from within the loop: `RunCancelled` for good, `RunInterrupted` to resume later."""
        before, wanted = self._stop, (kind, {"reason": reason, **fields})
        # What was to end for good is not merely to be stopped any more.
        self._stop = before if before is not None and before[0] is RunCancelled else wanted
        if before is None:
            self._cancel_driver()

    @property
    def is_stopping(self) -> bool:
        """Whether the run was asked to stop, and has not yet."""
        return self._stop is not None

    def give_up(self, error: Exception) -> None:
        """End the drive with an error of the journal: nothing may go on that cannot be recorded."""
        if self.broken is None:
            self.broken = error
            self._cancel_driver()

    def _cancel_driver(self) -> None:
        if self._driver is None or not self._looping:
            return

        if asyncio.current_task() is not self._driver:
            self._driver.cancel()
        elif self._inline:
            # Cancelled by itself, a task learns it at its next wait only: which must be one of the step's.
            asyncio.get_running_loop().call_soon(self._cancel_inline)

    def _cancel_inline(self) -> None:
        if self._inline and self._driver is not None:
            self._driver.cancel()
